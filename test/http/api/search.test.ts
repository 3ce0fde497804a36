import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Value } from 'typebox/value';
import { SearchResults } from '../../../src/http/api/search.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import type { FoundRepository, RepositorySearch } from '../../../src/registry/hub-search.ts';
import { problemOf, type ServerSetup, sharedServer, startServer } from '../samples.ts';

const found = (name: string): FoundRepository => ({
  ...{ reference: parseReference(name), name, description: 'A server.', stars: 3, official: false },
});

async function resultsOf(setup: ServerSetup): Promise<SearchResults> {
  await using server = await startServer(setup);
  const answer = await server.get('/api/v1/search?q=ngin');
  assert.equal(answer.status, 200);
  const body: unknown = JSON.parse(answer.body.toString());
  assert.ok(Value.Check(SearchResults, body));
  return body;
}

suite('GET /api/v1/search', { timeout: 600_000 }, () => {
  test('gives what the search finds', async () => {
    const asked: string[] = [];
    const search: RepositorySearch = async (query) => {
      asked.push(query);
      return [found('nginx')];
    };
    const { available, results } = await resultsOf({ search });
    assert.deepEqual(asked, ['ngin']);
    assert.equal(available, true);
    const repository = 'docker.io/library/nginx';
    assert.deepEqual(results, [
      { repository, name: 'nginx', description: 'A server.', stars: 3, official: false },
    ]);
  });

  test('refused repositories are not suggested', async () => {
    const search: RepositorySearch = async () => [found('nginx'), found('grafana/grafana')];
    const { results } = await resultsOf({ search, deny: ['docker.io/grafana/*'] });
    assert.deepEqual(
      results.map(({ name }) => name),
      ['nginx'],
    );
  });

  test('without a search, or while it is down, the result is empty without an error', async () => {
    assert.deepEqual(await resultsOf({}), { available: false, results: [] });
    assert.deepEqual(await resultsOf({ search: async () => undefined }), { available: false, results: [] });
  });

  for (const query of ['', '?q=a', `?q=${'a'.repeat(101)}`, '?q=ab&q=cd']) {
    test(`/api/v1/search${query.slice(0, 20)} is refused`, async () => {
      await using server = await sharedServer();
      assert.equal(problemOf(await server.get(`/api/v1/search${query}`)).code, 'parameter-invalid');
    });
  }
});
