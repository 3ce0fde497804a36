import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { Static } from 'typebox';
import { DEFAULT_FORMAT } from '../../archive/format.ts';
import { detail } from '../../errors/details.ts';
import { quote, ServiceError } from '../../errors.ts';
import { parseReference, type Reference } from '../../oci/reference.ts';
import { indexAfter } from '../../oci/tag-order.ts';
import type { DescribeTags, TagDetails } from '../../registry/hub-tags.ts';
import { Type } from '../../util/schema.ts';
import { downloadLimits } from '../download/limits.ts';
import { credentialFor } from '../plugins/credentials.ts';
import { problemResponses } from '../problems/problem-schema.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';
import type { CatalogueOptions } from './image.ts';

const PAGE_SIZE = 50;

const TagsQuery = Type.Object(
  {
    repository: Type.String({
      minLength: 1,
      description: 'Without a tag: `nginx`, `ghcr.io/org/app`.',
      examples: ['nginx'],
    }),
    after: Type.Optional(
      Type.String({ maxLength: 128, description: 'The value of `next` on the previous page.' }),
    ),
    filter: Type.Optional(
      Type.String({
        maxLength: 128,
        description: 'A text that each tag must contain, in any case. Tags that begin with it come first.',
      }),
    ),
  },
  { additionalProperties: false },
);

/** A page of the tags of a repository. */
export const TagPage = Type.Object(
  {
    repository: Type.String({ description: 'In full: `docker.io/library/nginx`.' }),
    tags: Type.Array(Type.String(), {
      description:
        '`latest`, then versions, newest first, with pre-releases after their release, then names.',
    }),
    details: Type.Array(
      Type.Object({
        tag: Type.String(),
        size: Type.Union([Type.Integer({ minimum: 1 }), Type.Null()], {
          description: 'Bytes of the layers for one platform; null if unknown.',
        }),
        pushed: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], {
          description: 'Time of the last push; null if unknown.',
        }),
        platforms: Type.Array(Type.String(), { examples: [['linux/amd64', 'linux/arm64']] }),
      }),
      { description: 'The details of those tags for which the registry lists them. Only Docker Hub does.' },
    ),
    next: Type.Union([Type.String(), Type.Null()], {
      description: 'The value of `after` for the next page; null on the last page.',
    }),
    total: Type.Integer({ minimum: 0, description: 'The number of tags that match the filter.' }),
    complete: Type.Boolean({ description: 'False if the registry has more tags than this service reads.' }),
  },
  { title: 'TagPage' },
);

export type TagPage = Static<typeof TagPage>;

export interface TagsOptions extends CatalogueOptions {
  /** Undefined if no registry may be asked for details. */
  readonly describeTags?: DescribeTags | undefined;
}

/** `GET /api/v1/tags?repository=NAME`: the tags of a repository, the newest version first. */
export const tagsRoutes: FastifyPluginAsyncTypebox<TagsOptions> = async (
  app,
  { catalogue, allowlist, limits, describeTags = async () => new Map() },
) => {
  app.get(
    '/api/v1/tags',
    {
      config: { counts: 'requests' },
      schema: {
        operationId: 'listTags',
        summary: 'The tags of a repository, the newest version first',
        description: `Pages of ${PAGE_SIZE}.`,
        tags: ['API'],
        querystring: TagsQuery,
        response: { 200: TagPage, ...problemResponses },
      },
    },
    async (request, reply) => {
      const { repository: text, after, filter = '' } = request.query;
      const repository = parseRepository(text);
      allowlist.check(repository);
      const gone = abortOnDisconnect(reply);
      const allowance = downloadLimits(limits, request, gone);
      const slot = {
        references: [repository],
        platform: undefined,
        format: DEFAULT_FORMAT,
        have: undefined,
      } as const;
      const onCostly = () => allowance.takeSlot(slot);
      const credential = await credentialFor(request, [repository]);
      const [{ tags, isComplete }, described] = await Promise.all([
        catalogue.tags(repository, gone, onCostly, credential),
        credential === undefined ? describeTags(repository, filter, gone) : new Map<string, TagDetails>(),
      ]);
      const { fitting, indexOf } = filterTags(tags, filter);
      const from = after === undefined ? 0 : indexOf(after);
      const page = fitting.slice(from, from + PAGE_SIZE);
      const isLast = from + PAGE_SIZE >= fitting.length;
      return reply.header('cache-control', 'private, max-age=30').send({
        repository: repository.name,
        tags: page,
        details: page.flatMap((tag) => {
          const details = described.get(tag);
          if (details === undefined) return [];
          const { size = null, pushed, platforms } = details;
          return [{ tag, size, pushed: pushed?.toISOString() ?? null, platforms: [...platforms] }];
        }),
        next: isLast ? null : (page.at(-1) ?? null),
        total: fitting.length,
        complete: isComplete,
      });
    },
  );
};

/**
 * Selects the tags that contain a text in any case, those that begin with it first: `3.12-sl` is for `3.12-slim` rather
 * than for `3.13.12-slim`.
 *
 * @param tags in the order of `sortTags`
 */
function filterTags(tags: readonly string[], text: string) {
  const wanted = text.toLowerCase();
  const begins = (tag: string): boolean => tag.toLowerCase().startsWith(wanted);
  const first = tags.filter(begins);
  const rest = tags.filter((tag) => !begins(tag) && tag.toLowerCase().includes(wanted));
  return {
    fitting: [...first, ...rest],
    /** Finds the place after a tag, which may have been deleted since. */
    indexOf: (after: string): number =>
      begins(after) ? indexAfter(first, after) : first.length + indexAfter(rest, after),
  };
}

function parseRepository(text: string): Reference {
  const reference = parseReference(text);
  if (!reference.tagGiven && reference.digest === undefined) return reference;
  throw new ServiceError('parameter-invalid', detail('repository-alone', { text: quote(text) }));
}
