import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { sharedServer } from '../http/samples.ts';
import { hostileText, mutated } from './arbitraries.ts';
import { runs } from './budget.ts';

const PARTS = (
  '/dl /dl/ /dl/status /api/v1/image /api/v1/tags /api/v1/delta /api/v1/search .tar.sha256 ' +
  '.tar.meta4 /api/v1/limits /healthz / .tar ? myimage= busybox & = platform= ' +
  'platform=all&format=oci have= parts=1MiB part=1 referrers=1 checksum=1 metalink=1 redirect=1 ' +
  'linux/arm64 ghcr.io/a/b % %0d%0a .. %2e%2e \\'
).split(' ');
/** The characters that a request line can contain unescaped, so that they reach the parser. */
const path = fc
  .oneof(hostileText(PARTS, 8), mutated(fc.constant('/dl?myimage=busybox:1.36&platform=linux/arm64'), PARTS))
  .map(
    (text) =>
      `/${[...text].map((sign) => (/[!-~]/.test(sign) ? sign : encodeURIComponent(sign.toWellFormed()))).join('')}`,
  );
const value = hostileText(['bytes=0-', '"1-file"', '*', 'text/html', '127.0.0.1', ', '], 6).map((text) =>
  text.replace(/[^\t\x20-\x7e\x80-\xff]/g, ''),
);
const headers = fc.dictionary(
  fc.constantFrom(
    'range',
    'if-range',
    'if-match',
    'if-none-match',
    'accept',
    'user-agent',
    'x-forwarded-for',
    'cookie',
    'origin',
    'host',
  ),
  value,
  { maxKeys: 4 },
);

interface Answer {
  status: number;
  headers: Record<string, unknown>;
}

suite('arbitrary requests', { timeout: 600_000 }, () => {
  test('is answered, in order, by no mistake of ours', async () => {
    await using server = await sharedServer();
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    const ask = (method: string, path: string, headers: Record<string, string>): Promise<Answer> =>
      new Promise((resolve, reject) => {
        const call = request({ port: server.port, host: '127.0.0.1', agent, method, path, headers });
        call.once('error', reject).once('response', (response) => {
          response
            .once('error', reject)
            .once('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers }));
          response.resume();
        });
        call.end();
      });
    try {
      await fc.assert(
        fc.asyncProperty(fc.constantFrom('GET', 'HEAD'), path, headers, async (method, asked, given) => {
          // Progress events continue for as long as the client listens.
          const { status, headers: answered } = await ask(method, asked, given);
          assert.ok(status >= 200 && status < 500, `${status}`);
          assert.equal(answered['set-cookie'], undefined);
          for (const text of Object.values(answered)) assert.match(`${text}`, /^[\x20-\x7e]*$/);
        }),
        runs('requests'),
      );
      assert.deepEqual(
        server.log.filter(({ level }) => level >= 50),
        [],
      );
    } finally {
      agent.destroy();
    }
  });
});
