import { createServer } from 'node:http';
import { listen } from './listen.ts';

export interface SearchServer extends AsyncDisposable {
  url: string;
  /** The received queries, in order. */
  queries: string[];
  /** The received paths and queries, in order. */
  paths: string[];
  /** Replaces the answer from the next request on; undefined leaves requests without one. */
  answer(body: string | undefined, status?: number, headers?: Record<string, string>): void;
}

/** One result as Docker Hub gives it. */
export interface HubResult {
  repo_name: unknown;
  short_description?: unknown;
  star_count?: unknown;
  is_official?: unknown;
}

/**
 * Starts a stand-in for Docker Hub's search, which is not available as a program. It finds the `repositories` whose
 * names contain the query.
 */
export async function startSearch(repositories: HubResult[]): Promise<SearchServer> {
  const queries: string[] = [];
  const paths: string[] = [];
  let fixed: { body: string | undefined; status: number; headers: Record<string, string> } | undefined;
  const server = createServer((request, response) => {
    const query = new URL(request.url ?? '', 'http://search').searchParams.get('query') ?? '';
    paths.push(request.url ?? '');
    queries.push(query);
    const results = repositories.filter(({ repo_name }) => `${repo_name}`.includes(query));
    const { body, status, headers } = fixed ?? {
      status: 200,
      headers: {},
      body: JSON.stringify({ count: results.length, results }),
    };
    if (body === undefined) return;
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
  });
  const listening = await listen(server);
  return {
    ...listening,
    url: `http://${listening.host}/v2/search/repositories/`,
    queries,
    paths,
    answer: (body, status = 200, headers = {}) => {
      fixed = { body, status, headers };
    },
  };
}
