import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCertificate } from '../../bench/certificate.ts';
import { httpCall } from './http-request.ts';
import { spawnUntil } from './process.ts';
import { reservePort } from './reserve-port.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** HAProxy with a certificate of its own; each response names its server in `X-Server`. */
export interface Haproxy extends AsyncDisposable {
  readonly url: string;
  /** The PEM of the authority to trust. */
  readonly ca: Buffer;
  /** The path of a file with that PEM. */
  readonly caFile: string;
}

const FILE = join(import.meta.dirname, '..', '..', 'deploy', 'haproxy', 'haproxy.cfg');
const NAMES = ['one', 'two', 'three'];

/** Starts HAProxy by the file of deploy/, in front of up to three services: `one`, `two`, `three`. */
export async function startHaproxy(services: readonly string[]): Promise<Haproxy> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const { certificate, key } = await makeCertificate(folder.path);
  const both = Buffer.concat([await readFile(certificate), await readFile(key)]);
  const pem = join(folder.path, 'both.pem');
  await writeFile(pem, both);
  const port = await reservePort();
  const servers = services.map((url, at) => `    server ${NAMES[at]} ${new URL(url).host}\n`);
  const settings = (await readFile(FILE, 'utf8'))
    // Uses the descriptor limit of the tests, and small buffers, so that a test sees which side disconnects.
    .replace('maxconn 20000', 'maxconn 200\n    tune.rcvbuf.server 65536\n    tune.sndbuf.client 65536')
    .replace('/run/haproxy/admin.sock', join(folder.path, 'admin.sock'))
    .replace('bind :443', `bind 127.0.0.1:${port}`)
    .replace('/etc/ssl/dl.example.org.pem', pem)
    .replace(/( +server \w+ \S+\n)+/, servers.join(''))
    // So that a test sees which of them answers.
    .replace('    balance uri', '    http-response set-header x-server %s\n    balance uri');
  const file = join(folder.path, 'haproxy.cfg');
  await writeFile(file, settings);
  const url = `https://127.0.0.1:${port}`;
  const answers = () =>
    httpCall(`${url}/healthz`).then(
      ({ status }) => status === 200,
      () => false,
    );
  stack.use(await spawnUntil('haproxy', ['-db', '-f', file], answers));
  const held = stack.move();
  return {
    url,
    ca: await readFile(certificate),
    caFile: certificate,
    [Symbol.asyncDispose]: () => held[Symbol.asyncDispose](),
  };
}
