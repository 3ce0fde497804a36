import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type Answer, type RunningServer, sampleTags, startServer } from './samples.ts';

/** Headers that differ between requests. */
const MOVING = new Set(['date', 'ratelimit', 'ratelimit-remaining', 'ratelimit-reset']);
/** Headers that a response to HEAD may omit (RFC 9110, section 9.3.2). */
const OPTIONAL = new Set(['transfer-encoding']);

function headersOf({ head }: Answer): Map<string, string> {
  const lines = head.split('\r\n').slice(1);
  return new Map(
    lines.map((line) => [line.replace(/:.*/s, '').toLowerCase(), line.replace(/^[^:]*: ?/, '')]),
  );
}

suite('HEAD', { timeout: 120_000 }, () => {
  let server: RunningServer;

  before(async () => {
    const rate = { limit: 10_000, window: 60_000 };
    server = await startServer({
      deny: ['docker.io/secret/**'],
      search: async () => [],
      catalogue: { tags: async () => sampleTags(['latest', '1.27']) },
      limits: {
        ...{ rateLimit: rate, pageRateLimit: rate, downloadsPerIp: 4, dailyBytes: 1e9 },
        ...{ bandwidthPerIp: 1e9, connectionsPerDownload: 4 },
      },
    });
  });
  after(() => server[Symbol.asyncDispose]());

  const paths = [
    ...['/', '/?lang=de', '/?lang=es', '/?image=nginx', '/api', '/openapi.json', '/healthz', '/readyz'],
    ...['/delta.sh', '/robots.txt', '/nothing', '/assets/nothing', '/%', '//evil.example'],
    ...['/dl', '/dl/', '/dl/nothing', '/dl?myimage=UPPER', '/dl?myimage=secret/a', '/dl?myimage=a&platform='],
    ...['/dl?myimage=a', '/dl/a.tar', '/dl?myimage=a&redirect=1', '/dl?myimage=a&parts=1MiB&part=1'],
    ...['/dl?myimage=a&checksum=1', '/dl/a.tar.sha256', '/dl?myimage=a&metalink=1', '/dl/a.tar.meta4'],
    ...['/dl/status', '/dl/status?myimage=a', '/dl/status?myimage=UPPER', '/dl/status?myimage=secret/a'],
    ...['/api/v1/info', '/api/v1/limits', '/api/v1/nothing', '/api/v1/image', '/api/v1/image?myimage=a'],
    ...['/api/v1/tags', '/api/v1/tags?repository=a', '/api/v1/search?q=a', '/api/v1/search?q=words'],
    ...['/api/v1/delta', '/api/v1/delta?myimage=a&have=b'],
  ];
  const kinds: Record<string, string>[] = [
    {},
    { accept: 'text/html', 'accept-language': 'es', 'accept-encoding': 'br', 'if-none-match': '"other"' },
    { 'if-none-match': '*' },
    { 'if-match': '"other"' },
  ];
  for (const path of paths) {
    test(`${path} has the status and headers of GET`, async () => {
      for (const headers of kinds) {
        const [get, head] = [await server.get(path, headers), await server.send('HEAD', path, headers)];
        assert.equal(head.status, get.status, path);
        assert.equal(head.body.length, 0);
        const [expected, actual] = [headersOf(get), headersOf(head)];
        for (const name of [...MOVING, ...OPTIONAL]) {
          if (!OPTIONAL.has(name)) assert.equal(actual.has(name), expected.has(name), name);
          expected.delete(name);
          actual.delete(name);
        }
        assert.deepEqual([...actual].sort(), [...expected].sort());
      }
    });
  }
});
