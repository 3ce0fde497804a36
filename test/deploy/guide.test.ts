import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { appendFile, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { makeCertificate } from '../../bench/certificate.ts';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { spawnUntil } from '../support/process.ts';
import { reservePort } from '../support/reserve-port.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '..', '..');
const guide = readFileSync(join(root, 'deploy', 'README.md'), 'utf8');
/** Not the proxy's own address, which is trusted. */
const CLIENT = '127.0.0.2';
const CLAIMED = '198.51.100.7';

/** Returns the example in this language. */
function example(language: string): string {
  return (
    new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(guide)?.[1] ?? assert.fail(language)
  );
}

suite('the guide', { timeout: 600_000 }, () => {
  test('the messages that it explains are some that there are', () => {
    const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' });
    const texts = files
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(join(root, 'src', file), 'utf8'));
    const blank = (text: string): string => text.replace(/\$\{[^}]*\}|…|\b80\b/g, '*');
    const source = blank(texts.join('\n')).replaceAll('$*', '*');
    const rows = guide.slice(guide.indexOf('## Troubleshooting')).matchAll(/^\| (`.*?) \|/gm);
    const messages = [...rows].flatMap(([, cell = '']) =>
      [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text),
    );
    const ofSystemd = /^(?:Socket service|Failed at step|Failed to create listening socket)/;
    assert.ok(messages.length > 10);
    for (const message of messages.filter((text) => !ofSystemd.test(text))) {
      const parts = blank(message)
        .replace(/^\[|\]$/g, '')
        .split('*')
        .map((part) => part.trim());
      for (const part of parts) assert.ok(source.includes(part), `${message}: ${part}`);
    }
  });
});

suite('the proxies of the guide', { timeout: 600_000 }, () => {
  /** Makes a file of settings from an example, for a free port and a certificate of a day. */
  async function start(
    command: string,
    adapt: (at: { port: number; pem: string; upstream: string; folder: string }) => string,
    args: (file: string) => string[],
  ) {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await temporaryFolder());
    const { certificate, key } = await makeCertificate(folder.path);
    const pem = join(folder.path, 'dl.example.org.pem');
    for (const part of [certificate, key]) await appendFile(pem, readFileSync(part));
    const proxy = stack.use(
      await startDockerProxy({
        env: { DOCKERPROXY_TRUST_PROXY: '127.0.0.1', DOCKERPROXY_RATE_LIMIT: '9/hour' },
      }),
    );
    const port = await reservePort();
    const file = join(folder.path, 'settings');
    await writeFile(file, adapt({ port, pem, upstream: new URL(proxy.url).host, folder: folder.path }));
    const url = `https://127.0.0.1:${port}`;
    const answers = () =>
      httpCall(`${url}/healthz`).then(
        ({ status }) => status === 200,
        () => false,
      );
    const env = {
      ...process.env,
      HOME: folder.path,
      XDG_DATA_HOME: folder.path,
      XDG_CONFIG_HOME: folder.path,
    };
    stack.use(await spawnUntil(command, args(file), answers, { env }));
    const held = stack.move();
    return { url, [Symbol.asyncDispose]: () => held[Symbol.asyncDispose]() };
  }

  /** The service ignores the address that a client claims, and uses the one that the proxy states. */
  async function isTold(url: string): Promise<void> {
    const asked = get(`${url}/api/v1/limits`, {
      ...{ agent: false, rejectUnauthorized: false, localAddress: CLIENT },
      headers: { 'x-forwarded-for': CLAIMED },
    });
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    const { client } = (await json(response)) as { client: string };
    assert.equal(client, CLIENT);
    const { status, headers } = await httpCall(`${url}/dl?myimage=evil.example/a`);
    assert.equal(status, 403);
    assert.match(headers['content-type'] ?? '', /problem\+json/);
  }

  test('nginx', { skip: skipUnless('nginx', 'openssl') }, async () => {
    await using proxy = await start(
      'nginx',
      ({ port, pem, upstream, folder }) => {
        const server = example('nginx')
          .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
          .replace(/\/etc\/ssl\/dl\.example\.org\.\w+/g, pem)
          .replace('127.0.0.1:8080', upstream);
        const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
          (name) => `${name}_temp_path ${folder}/${name};`,
        );
        return `daemon off; pid ${folder}/pid; events {} http { access_log off; ${paths.join(' ')} ${server} }`;
      },
      (file) => ['-c', file, '-e', 'stderr'],
    );
    await isTold(proxy.url);
  });

  test('Caddy', { skip: skipUnless('caddy', 'openssl') }, async () => {
    await using proxy = await start(
      'caddy',
      ({ port, pem, upstream }) => {
        const site = example('caddyfile')
          .replace('dl.example.org {', `https://127.0.0.1:${port} {\n    tls ${pem} ${pem}`)
          .replace('127.0.0.1:8080', upstream);
        return `{\n    admin off\n    auto_https disable_redirects\n}\n${site}`;
      },
      (file) => ['run', '--adapter', 'caddyfile', '--config', file],
    );
    await isTold(proxy.url);
  });

  test('HAProxy', { skip: skipUnless('haproxy', 'openssl') }, async () => {
    await using proxy = await start(
      'haproxy',
      ({ port, pem, upstream }) =>
        example('haproxy')
          .replace('bind :443', `bind 127.0.0.1:${port}`)
          .replace('/etc/ssl/dl.example.org.pem', pem)
          .replace('127.0.0.1:8080', upstream),
      (file) => ['-db', '-f', file],
    );
    await isTold(proxy.url);
  });
});
