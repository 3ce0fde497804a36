import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createRepositorySearch, type RepositorySearch } from '../../src/registry/hub-search.ts';
import { type SearchServer, startSearch } from '../support/search-server.ts';
import { createStack, type Stack } from './stack.ts';

const never = new AbortController().signal;

interface Bed extends AsyncDisposable {
  server: SearchServer;
  search: RepositorySearch;
  clock: { now: number };
}

async function startBed(...names: unknown[]): Promise<Bed> {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await startSearch(names.map((repo_name) => ({ repo_name }))));
  const { http }: Stack = stack.use(createStack({ hosts: [], trusted: [server.url] }));
  const clock = { now: 1_000_000 };
  const search = createRepositorySearch({ http, url: new URL(server.url), now: () => clock.now });
  return { server, search, clock, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

suite('the search for repositories', { timeout: 600_000 }, () => {
  test('finds what Docker Hub does, by the names that people write', async () => {
    await using bed = await startBed('nginx', 'bitnami/nginx', 'redis');
    const found = await bed.search(' NGINX ', never);
    assert.deepEqual(
      found?.map(({ name, reference }) => [name, reference.name]),
      [
        ['nginx', 'docker.io/library/nginx'],
        ['bitnami/nginx', 'docker.io/bitnami/nginx'],
      ],
    );
    assert.deepEqual(bed.server.queries, ['nginx']);
  });

  test('the same words are searched for once', async () => {
    await using bed = await startBed('nginx');
    await Promise.all([bed.search('nginx', never), bed.search('nginx', never)]);
    await bed.search('nginx', never);
    assert.equal(bed.server.queries.length, 1);
    bed.clock.now += 11 * 60_000;
    await bed.search('nginx', never);
    assert.equal(bed.server.queries.length, 2);
  });

  test('repositories outside Docker Hub are omitted, and texts are made harmless', async () => {
    await using bed = await startBed();
    const description = `One\nline \u202etwo\u0000 ${'x'.repeat(500)}`;
    const bad = ['evil.example/x', 'nginx:1', 'UPPER', '<b>', '', 7, null, `a@sha256:${'0'.repeat(64)}`];
    const results = [
      ...bad.map((repo_name) => ({ repo_name })),
      null,
      { repo_name: 'nginx', short_description: description, star_count: -5, is_official: 'yes' },
      { repo_name: 'redis', short_description: null, star_count: 13, is_official: true },
    ];
    bed.server.answer(JSON.stringify({ results }));
    const [nginx, redis, ...others] = (await bed.search('anything', never)) ?? [];
    assert.deepEqual(others, []);
    assert.match(nginx?.description ?? '', /^One line two x+…$/);
    assert.ok((nginx?.description.length ?? 0) <= 160);
    assert.deepEqual([nginx?.stars, nginx?.official], [0, false]);
    assert.deepEqual([redis?.description, redis?.stars, redis?.official], ['', 13, true]);
  });

  for (const [what, body, status] of [
    ['an error', '{}', 500],
    ['something else', '<html>', 200],
    ['too much', ' '.repeat(300_000), 200],
  ] as const) {
    test(`if the answer is ${what}, the result is empty, and the search pauses for a while`, async () => {
      await using bed = await startBed('nginx');
      bed.server.answer(body, status);
      assert.equal(await bed.search('nginx', never), undefined);
      assert.equal(await bed.search('redis', never), undefined);
      assert.equal(bed.server.queries.length, 1);
      bed.clock.now += 21_000;
      await bed.search('redis', never);
      assert.equal(bed.server.queries.length, 2);
    });
  }

  test('a rate limit is honored for as long as Retry-After says', async () => {
    await using bed = await startBed();
    bed.server.answer('', 429, { 'retry-after': '2m' });
    assert.equal(await bed.search('one', never), undefined);
    bed.clock.now += 119_000;
    assert.equal(await bed.search('two', never), undefined);
    assert.deepEqual(bed.server.queries, ['one']);
    bed.clock.now += 2_000;
    await bed.search('three', never);
    assert.deepEqual(bed.server.queries, ['one', 'three']);
  });

  test('a disconnect does not count as a failure', async () => {
    await using bed = await startBed('nginx');
    bed.server.answer(undefined);
    const leaving = new AbortController();
    const left = bed.search('nginx', leaving.signal);
    leaving.abort();
    await assert.rejects(left, { name: 'AbortError' });
    bed.server.answer('{"results":[]}');
    assert.deepEqual(await bed.search('nginx', never), []);
  });
});
