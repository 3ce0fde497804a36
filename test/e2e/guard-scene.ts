/**
 * Runs in its own network namespace, where 9.9.9.9 and 10.0.0.1 belong to this machine. It has a public registry
 * without a listing, an internal one that the operator lists, and an internal one without a listing. DockerProxy runs
 * in another namespace, at 9.9.9.8. Prints the outcomes as JSON.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { answering, challenging, redirecting, startHostileRegistry } from '../support/hostile-registry.ts';
import { byReference, outcome, withLayer } from './hostile-bed.ts';

export const PUBLIC = '9.9.9.9';
export const INSIDE = '10.0.0.1';
const OWN = '9.9.9.8';
const HOSTS = '/etc/hosts';

const [folder = '', network = ''] = process.argv.slice(2);
const certificate = join(folder, 'cert.pem');
const tls = { cert: await readFile(certificate), key: await readFile(join(folder, 'key.pem')) };

const names = (rebound: string): string =>
  [
    `${PUBLIC} public.test both.test`,
    `${INSIDE} inside.test both.test`,
    `${rebound} rebound.test`,
    `${OWN} own.test`,
    '127.0.0.1 localhost',
    '',
  ].join('\n');

await writeFile(HOSTS, names(PUBLIC));
await using stranger = await startHostileRegistry({ address: PUBLIC, tls });
await using hidden = await startHostileRegistry({ address: INSIDE, tls });
await using listed = await startHostileRegistry({ address: INSIDE });
await using proxy = await startDockerProxy({
  via: ['nsenter', `--net=${network}`],
  env: {
    DOCKERPROXY_HOST: '192.0.2.2',
    DOCKERPROXY_TLS: 'off',
    DOCKERPROXY_ALLOW: '**',
    DOCKERPROXY_INSECURE_REGISTRIES: listed.host,
    NODE_EXTRA_CA_CERTS: certificate,
  },
});

const [port, hiddenPort] = [stranger, hidden].map(({ url }) => new URL(url).port);
const target = `${listed.url}/v2/good/manifests/latest`;
stranger.misbehave('evil/redirect', { manifest: redirecting(target) });
stranger.misbehave('evil/realm', { manifest: challenging(target) });
stranger.misbehave('evil/hidden', { manifest: redirecting(`https://inside.test:${hiddenPort}/`) });
stranger.misbehave('evil/foreign', {
  manifest: withLayer(stranger.honest('evil/foreign'), {
    mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    urls: [target, `https://inside.test:${hiddenPort}/`],
  }),
  layer: (_request, response) => void response.writeHead(404).end(),
});
// Each request over a connection of its own, so that each time the name is looked up.
const { bytes, descriptor, config, layers } = stranger.honest('rebound');
const once = { connection: 'close' };
stranger.misbehave('rebound', {
  manifest: answering(bytes, { ...once, 'content-type': descriptor.mediaType }),
  blob: byReference(
    Object.fromEntries([config, ...layers].map((one) => [one.descriptor.digest, one.content as Uint8Array])),
    once,
  ),
});

const download = async (reference: string): Promise<string> => {
  const result = await outcome(`${proxy.url}/dl?myimage=${reference}`);
  return 'end' in result ? result.end : result.code;
};
const outcomes: Record<string, string> = {
  'a public registry, by its name': await download(`public.test:${port}/good/a`),
  'a public registry, by its address': await download(`${PUBLIC}:${port}/good/b`),
  'a registry inside, by its name': await download(`inside.test:${hiddenPort}/good/a`),
  'a registry inside, by its address': await download(`${INSIDE}:${hiddenPort}/good/b`),
  'a name for both': await download(`both.test:${port}/good/c`),
  'this machine itself, by its name': await download(`own.test:${port}/good/e`),
  'this machine itself, by its public address': await download(`${OWN}:${port}/good/f`),
  'a redirect to the inside': await download(`public.test:${port}/evil/hidden`),
  'a redirect to a listed registry': await download(`public.test:${port}/evil/redirect`),
  'a realm at a listed registry': await download(`public.test:${port}/evil/realm`),
  'a foreign layer at a listed registry': await download(`public.test:${port}/evil/foreign`),
  'a name that is public at first': await download(`rebound.test:${port}/rebound`),
};
await writeFile(HOSTS, names(INSIDE));
outcomes['and inside afterwards'] = await download(`rebound.test:${port}/rebound`);
const visits = listed.requests().length + hidden.requests().length;
outcomes['the listed registry itself'] = await download(`${listed.host}/good/d`);
process.stdout.write(JSON.stringify({ outcomes, visits }));
