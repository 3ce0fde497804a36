import {
  answering,
  challenging,
  type HostileRegistry,
  raw,
  redirecting,
} from '../test/support/hostile-registry.ts';
import { type createCaller, type Kind, sendAndLeave, sendRaw } from './traffic.ts';

export interface KindsOptions {
  origin: URL;
  registry: HostileRegistry;
  /** The path of a large archive, by digest. */
  archive: string;
  caller: ReturnType<typeof createCaller>;
}

/**
 * The mixture of requests that a public service receives in one second: from people, mistakes, scanners and attackers.
 */
export function hostileKinds({ origin, registry, archive, caller: { call } }: KindsOptions): Kind[] {
  const evil = {
    redirect: redirecting('http://169.254.169.254/latest/meta-data'),
    realm: challenging('http://127.0.0.1:9/token'),
    noise: answering('{"schemaVersion":2,"layers":[{"size":-1}]}'),
    silence: raw(''),
  };
  for (const [name, manifest] of Object.entries(evil)) registry.misbehave(`evil/${name}`, { manifest });
  const image = (name: string): string => `/dl?myimage=${registry.host}/${name}`;
  const head = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: load.test\r\n\r\n`;

  return [
    {
      name: 'a part of an archive',
      share: 25,
      send: (count) => {
        const start = (count * 65_536) % 30_000_000;
        return call('GET', archive, { range: `bytes=${start}-${start + 65_535}` });
      },
      right: [206],
    },
    { name: 'HEAD of an archive', share: 15, send: () => call('HEAD', archive), right: [200] },
    { name: 'the page', share: 5, send: () => call('GET', '/'), right: [200] },
    { name: 'health', share: 5, send: () => call('GET', '/healthz'), right: [200] },
    { name: 'the settings of the service', share: 10, send: () => call('GET', '/api/v1/info'), right: [200] },
    {
      name: 'a small image',
      share: 3,
      send: (count) => call('GET', image(`small/${count % 20}`)),
      right: [200],
    },
    {
      name: 'an unknown path',
      share: 5,
      send: (count) => call('GET', `/wp-login.php?${count}`),
      right: [404],
    },
    {
      name: 'an invalid reference',
      share: 5,
      send: () => call('GET', '/dl?myimage=..%2f..%2fetc%2fpasswd'),
      right: [400],
    },
    {
      name: 'a private address',
      share: 5,
      send: () => call('GET', '/dl?myimage=169.254.169.254/a/b'),
      right: [403],
    },
    { name: 'another method', share: 4, send: () => call('POST', '/dl'), right: [405] },
    {
      name: 'a long URL',
      share: 2,
      send: () => call('GET', `/dl?myimage=${'a'.repeat(9000)}`),
      right: [414],
    },
    {
      name: 'a registry that redirects to a private address',
      share: 2,
      send: (count) => call('GET', image(`evil/${count % 2 === 0 ? 'redirect' : 'realm'}`)),
      right: [403],
    },
    {
      name: 'a registry that lies',
      share: 2,
      send: (count) => call('GET', image(`evil/${count % 2 === 0 ? 'noise' : 'silence'}`)),
      right: [502],
    },
    {
      name: 'a request within a request',
      share: 3,
      send: () =>
        sendRaw(
          origin,
          `${head('/').trimEnd()}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
        ),
      right: [400, undefined],
    },
    { name: 'noise', share: 3, send: () => sendRaw(origin, '\x16\x03\x01\x00\xff\r\n\r\n'), right: [400] },
    {
      name: 'a client that leaves',
      share: 4,
      send: () => sendAndLeave(origin, head(archive), 5_000),
      right: [undefined],
    },
    {
      name: 'half a request',
      share: 2,
      send: () => sendAndLeave(origin, 'GET / HTTP/1.1\r\nhost: load.test\r\nx: ', 3_000),
      right: [undefined],
    },
  ];
}
