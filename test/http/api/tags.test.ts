import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Value } from 'typebox/value';
import { TagPage } from '../../../src/http/api/tags.ts';
import { compareTags } from '../../../src/oci/tag-order.ts';
import { problemOf, type RunningServer, sampleTags, startServer } from '../samples.ts';

const TAGS = '/api/v1/tags?repository=nginx';
const MANY = Array.from({ length: 120 }, (_, at) => `1.${at}`).toSorted(compareTags);

async function pageAt(server: RunningServer, path: string): Promise<TagPage> {
  const answer = await server.get(path);
  assert.equal(answer.status, 200, answer.body.toString());
  const body: unknown = JSON.parse(answer.body.toString());
  assert.ok(Value.Check(TagPage, body));
  return body;
}

suite('GET /api/v1/tags', { timeout: 600_000 }, () => {
  test('gives page after page, each tag once', async () => {
    await using server = await startServer({ catalogue: { tags: async () => sampleTags(MANY) } });
    const seen: string[] = [];
    for (let path: string | undefined = TAGS; path !== undefined; ) {
      const { tags, next, total, repository } = await pageAt(server, path);
      assert.deepEqual([total, repository], [120, 'docker.io/library/nginx']);
      seen.push(...tags);
      path = next === null ? undefined : `${TAGS}&after=${next}`;
    }
    assert.deepEqual(seen, MANY);
  });

  test('a page begins behind a tag that has gone meanwhile', async () => {
    await using server = await startServer({ catalogue: { tags: async () => sampleTags(['3', '1']) } });
    assert.deepEqual((await pageAt(server, `${TAGS}&after=2`)).tags, ['1']);
    assert.deepEqual((await pageAt(server, `${TAGS}&after=0.1`)).tags, []);
  });

  test('keeps what has the filter in it', async () => {
    const tags = ['latest', '1.27', '1.27-Alpine', 'alpine'];
    await using server = await startServer({ catalogue: { tags: async () => sampleTags(tags) } });
    const page = await pageAt(server, `${TAGS}&filter=alpine`);
    assert.deepEqual([page.tags, page.total, page.next], [['alpine', '1.27-Alpine'], 2, null]);
  });

  test('lists tags that begin with the filter first, on all pages', async () => {
    const named = ['3.13.12-slim', '3.12-slim', '3.12-slim-bookworm', '3.13-slim'].toSorted(compareTags);
    const many = Array.from({ length: 60 }, (_, at) => `3.12-slim-${at}`);
    const sorted = [...named, ...many].toSorted(compareTags);
    await using server = await startServer({ catalogue: { tags: async () => sampleTags(sorted) } });
    const first = await pageAt(server, `${TAGS}&filter=3.12-SL`);
    assert.equal(first.tags[0], '3.12-slim');
    assert.ok(!first.tags.includes('3.13.12-slim'));
    const second = await pageAt(server, `${TAGS}&filter=3.12-SL&after=${first.next}`);
    assert.equal(second.tags.at(-1), '3.13.12-slim');
    assert.equal(first.tags.length + second.tags.length, first.total);
    assert.equal(new Set([...first.tags, ...second.tags]).size, 63);
    assert.deepEqual((await pageAt(server, `${TAGS}&filter=3.12-SL&after=3.13.12-slim`)).tags, []);
  });

  test('says where a registry has more than was read', async () => {
    const tags = async () => ({ tags: ['1'], isComplete: false });
    await using server = await startServer({ catalogue: { tags } });
    assert.equal((await pageAt(server, TAGS)).complete, false);
  });

  const refused: [query: string, code: string][] = [
    ['', 'parameter-invalid'],
    ['?repository=nginx:1', 'parameter-invalid'],
    ['?repository=Nginx', 'reference-invalid'],
    ['?repository=evil.example/a', 'image-not-allowed'],
    ['?repository=nginx&page=2', 'parameter-unknown'],
    [`?repository=nginx&filter=${'a'.repeat(129)}`, 'parameter-invalid'],
  ];
  for (const [query, code] of refused) {
    test(`/api/v1/tags${query.slice(0, 40)} is refused: ${code}`, async () => {
      await using server = await startServer({ allow: ['docker.io/**'] });
      assert.equal(problemOf(await server.get(`/api/v1/tags${query}`)).code, code);
    });
  }
});
