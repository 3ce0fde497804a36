import type { Static } from 'typebox';
import { Type } from '../../util/schema.ts';

/** The problem details of an error. @see https://www.rfc-editor.org/rfc/rfc9457 */
export const Problem = Type.Object(
  {
    type: Type.String({ description: '`urn:dockerproxy:error:` and the code.' }),
    title: Type.String({
      description: 'The title of the error, in the language of Accept-Language if a translation exists.',
    }),
    status: Type.Integer(),
    detail: Type.String({
      description: 'A sentence about this case, in the same language if a translation exists.',
    }),
    code: Type.String({ description: 'Stable, for programs.' }),
    help: Type.String({ description: 'Advice in the same language.' }),
    retryAfter: Type.Optional(
      Type.Integer({ description: 'Seconds after which asking again makes sense, as in Retry-After.' }),
    ),
    'violated-policies': Type.Optional(
      Type.Array(Type.String(), {
        description:
          'The limits that refuse, as RateLimit-Policy names them, or `service`: that of all clients.',
      }),
    ),
    platforms: Type.Optional(
      Type.Array(Type.String(), {
        description: 'The platforms that the image has, instead of the requested one.',
      }),
    ),
    tag: Type.Optional(Type.String({ description: 'The tag that does not exist.' })),
    repository: Type.Optional(
      Type.String({ description: 'The short name of the repository, such as `nginx`.' }),
    ),
    similarTags: Type.Optional(
      Type.Array(Type.String(), {
        description: 'Similar tags that exist in the repository, the most similar first.',
      }),
    ),
    limit: Type.Optional(Type.Integer({ description: 'How much that limit allows.' })),
  },
  { $id: 'Problem', title: 'Problem', description: 'Problem details (RFC 9457).' },
);

export type Problem = Static<typeof Problem>;

/** The error responses for the schema of a route. The server must have added {@link Problem} as a schema. */
export const problemResponses = {
  default: {
    description: 'The error as problem details.',
    content: { 'application/problem+json': { schema: Type.Unsafe<Problem>({ $ref: 'Problem#' }) } },
  },
} as const;
