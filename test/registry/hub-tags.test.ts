import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseReference } from '../../src/oci/reference.ts';
import { createTagDescriber, type DescribeTags } from '../../src/registry/hub-tags.ts';
import { type SearchServer, startSearch } from '../support/search-server.ts';
import { createStack } from './stack.ts';

const never = new AbortController().signal;
const NGINX = parseReference('nginx');

interface Bed extends AsyncDisposable {
  server: SearchServer;
  describe: DescribeTags;
  clock: { now: number };
}

async function startBed(): Promise<Bed> {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await startSearch([]));
  const { http } = stack.use(createStack({ hosts: [], trusted: [server.url] }));
  const clock = { now: 1_000_000 };
  const describe = createTagDescriber({ http, url: new URL(server.url), now: () => clock.now });
  return { server, describe, clock, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

suite('details of tags on Docker Hub', { timeout: 600_000 }, () => {
  test('are sizes, times, and platforms without attestations, and one request for the same text', async () => {
    await using bed = await startBed();
    const images = [
      { os: 'linux', architecture: 'amd64', variant: null },
      { os: 'linux', architecture: 'arm', variant: 'v7' },
      { os: 'unknown', architecture: 'unknown' },
    ];
    const results = [{ name: '1.27', full_size: 72_000_000, last_updated: '2026-11-03T10:00:00Z', images }];
    bed.server.answer(JSON.stringify({ results }));
    for (let time = 0; time < 2; time++) {
      const found = await bed.describe(NGINX, '1.2', never);
      assert.deepEqual(found.get('1.27'), {
        size: 72_000_000,
        pushed: new Date('2026-11-03T10:00:00Z'),
        platforms: ['linux/amd64', 'linux/arm/v7'],
      });
    }
    assert.deepEqual(bed.server.paths, [
      '/v2/namespaces/library/repositories/nginx/tags?page_size=100&name=1.2',
    ]);
  });

  test('are absent for other registries, without a request', async () => {
    await using bed = await startBed();
    for (const name of ['ghcr.io/org/app', 'localhost:5000/a', 'a/b/c'])
      assert.equal((await bed.describe(parseReference(name), '', never)).size, 0);
    assert.deepEqual(bed.server.paths, []);
  });

  test('are absent while Docker Hub fails, which is not an error, and requested later', async () => {
    await using bed = await startBed();
    bed.server.answer('<html>', 500);
    assert.equal((await bed.describe(NGINX, '', never)).size, 0);
    assert.equal((await bed.describe(NGINX, 'a', never)).size, 0);
    assert.equal(bed.server.paths.length, 1);
    bed.server.answer('{"results":[{"name":"a"}]}');
    bed.clock.now += 60_000;
    assert.equal((await bed.describe(NGINX, '', never)).size, 1);
  });

  test('keep nothing that is not a size, a time, or a platform', async () => {
    await using bed = await startBed();
    const images = [null, 7, { os: '<b>', architecture: 'amd64' }, { os: 'linux', architecture: {} }];
    const odd = [null, { name: 5 }, { name: 'x', full_size: -1, last_updated: 'never', images }];
    bed.server.answer(JSON.stringify({ results: odd }));
    assert.deepEqual(
      [...(await bed.describe(NGINX, '', never))],
      [['x', { size: undefined, pushed: undefined, platforms: [] }]],
    );
    bed.clock.now += 60_000;
    bed.server.answer('[]');
    assert.equal((await bed.describe(NGINX, 'b', never)).size, 0);
  });
});
