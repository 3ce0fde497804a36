import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Static } from 'typebox';
import { ServiceError } from '../../errors.ts';
import type { Reference } from '../../oci/reference.ts';
import type { Allowlist } from '../../policy/allowlist.ts';
import type { RepositorySearch } from '../../registry/hub-search.ts';
import { Type } from '../../util/schema.ts';
import { problemResponses } from '../problems/problem-schema.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';

const SearchQuery = Type.Object(
  {
    q: Type.String({
      minLength: 2,
      maxLength: 100,
      description: 'A part of a name, or words.',
      examples: ['nginx'],
    }),
  },
  { additionalProperties: false },
);

/** Repositories of Docker Hub that match a search. */
export const SearchResults = Type.Object(
  {
    available: Type.Boolean({ description: 'False if the search is disabled or temporarily unavailable.' }),
    results: Type.Array(
      Type.Object({
        repository: Type.String({ description: 'In full: `docker.io/library/nginx`.' }),
        name: Type.String({ description: 'As people write it: `nginx`.' }),
        description: Type.String(),
        stars: Type.Integer({ minimum: 0 }),
        official: Type.Boolean({ description: 'True if Docker itself publishes it.' }),
      }),
      { description: 'Only what may be fetched here.' },
    ),
  },
  { title: 'SearchResults' },
);

export type SearchResults = Static<typeof SearchResults>;

export interface SearchOptions {
  readonly search: RepositorySearch | undefined;
  readonly allowlist: Allowlist;
}

/** `GET /api/v1/search?q=WORDS`: repositories that match; empty if the search is unavailable. */
export const searchRoutes: FastifyPluginAsyncTypebox<SearchOptions> = async (app, { search, allowlist }) => {
  app.get(
    '/api/v1/search',
    {
      config: { counts: 'requests' },
      schema: {
        operationId: 'searchRepositories',
        summary: 'Repositories of Docker Hub, by name or words',
        description: 'An unavailable search returns no results instead of an error.',
        tags: ['API'],
        querystring: SearchQuery,
        response: { 200: SearchResults, ...problemResponses },
      },
    },
    async ({ query: { q } }, reply) => {
      const found = await search?.(q, abortOnDisconnect(reply));
      const results = (found ?? [])
        .filter(({ reference }) => isAllowed(allowlist, reference))
        .map(({ reference, name, description, stars, official }) => ({
          ...{ repository: reference.name, name, description, stars, official },
        }));
      return reply
        .header('cache-control', found === undefined ? 'no-store' : 'private, max-age=300')
        .send({ available: found !== undefined, results });
    },
  );
};

function isAllowed(allowlist: Allowlist, reference: Reference): boolean {
  try {
    allowlist.check(reference);
    return true;
  } catch (error) {
    if (error instanceof ServiceError) return false;
    throw error;
  }
}
