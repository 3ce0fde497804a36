import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { pino } from 'pino';
import { createDrain } from '../../src/http/listener/drain.ts';
import { createRedirectServer } from '../../src/http/listener/redirect-server.ts';
import { createReadiness } from '../../src/telemetry/readiness.ts';
import { NO_CONNECTION_LIMITS, requestHead, speak, startServer } from '../http/samples.ts';
import { hostileText, mutated } from './arbitraries.ts';
import { runs } from './budget.ts';

const PARTS = [' ', ...'dl .example :443 : @ [::1] 127.0.0.1 / ? # " < > %2f ,'.split(' ')];
/** The characters that a header can contain. */
const host = fc
  .oneof(hostileText(PARTS, 5), mutated(fc.constantFrom('dl.example', '[::1]:8080', '192.0.2.1:80'), PARTS))
  .map((text) => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, ''));
const ORIGIN = /^https?:\/\/(?:[a-z0-9_][a-z0-9_.-]*|\[[0-9a-f:.]+\])(?::\d{1,5})?$/;

async function startRedirects(domains: readonly string[]): Promise<{ port: number } & AsyncDisposable> {
  const app = await createRedirectServer({
    logger: pino({ level: 'silent' }),
    drain: createDrain(),
    connections: NO_CONNECTION_LIMITS,
    domains,
    httpsPort: () => 8443,
    challenge: async () => undefined,
    readiness: createReadiness({}),
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as { port: number };
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      app.server.closeAllConnections();
      await app.close();
    },
  };
}

suite('arbitrary hosts', { timeout: 600_000 }, () => {
  test('HTTPS redirects keep a valid host and the requested path, or are refused', async () => {
    for (const domains of [[], ['dl.example.org']]) {
      await using server = await startRedirects(domains);
      await fc.assert(
        fc.asyncProperty(host, async (said) => {
          const answer = await speak(server.port, requestHead('GET', '/dl?a=b', { host: said }));
          const location = answer.header('location');
          if (location === undefined) {
            assert.equal(answer.status, 400, answer.head);
            return;
          }
          assert.equal(answer.status, 308);
          assert.ok(location.endsWith(':8443/dl?a=b'), location);
          const { origin, username, password } = new URL(location);
          assert.equal(`${origin}/dl?a=b`, location);
          assert.match(origin, ORIGIN);
          assert.equal(`${username}${password}`, '');
          if (domains.length > 0) assert.equal(origin, 'https://dl.example.org:8443');
        }),
        runs('hosts'),
      );
    }
  });

  test('a metalink names the archive at a host, or no place of this service', async () => {
    for (const domains of [[], ['dl.example.org']]) {
      await using server = await startServer({ addresses: { replicas: [], domains } });
      let named = 0;
      await fc.assert(
        fc.asyncProperty(host, async (said) => {
          const { status, head, body } = await server.get('/dl?myimage=busybox&metalink=1', { host: said });
          if (status !== 200) {
            assert.equal(status, 400, head);
            return;
          }
          for (const [, url = ''] of body.toString().matchAll(/<url[^>]*>([^<]*)<\/url>/g)) {
            named += 1;
            const { origin } = new URL(url);
            assert.match(origin, ORIGIN);
            assert.ok(url.startsWith(`${origin}/dl`), url);
            if (domains.length > 0) assert.equal(origin, 'https://dl.example.org');
          }
        }),
        runs('hosts'),
      );
      assert.ok(named > 12, `${named} addresses`);
    }
  });
});
