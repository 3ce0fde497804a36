import type { FastifyReply, FastifyRequest } from 'fastify';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { Reference } from '../../oci/reference.ts';
import type { PullRequest } from '../../pull/pull-source.ts';
import type { ImageInspector } from '../../sources/image-catalogue.ts';

export interface TagsOptions {
  readonly catalogue: Pick<ImageInspector, 'tags'>;
}

/** The query of a list of tags, as it came. */
type TagsQuery = Readonly<Partial<Record<'n' | 'last' | 'ns', unknown>>>;

/**
 * Lists the tags of a repository in ASCII order.
 *
 * @param name the repository as the URL names it
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
 */
export async function replyWithTags(
  request: FastifyRequest,
  reply: FastifyReply,
  name: string,
  repository: Reference,
  { catalogue }: TagsOptions,
  { signal, onCostly, credential }: PullRequest,
): Promise<FastifyReply> {
  const query = request.query as TagsQuery;
  const most = parseCount(query.n);
  const { tags } = await catalogue.tags(repository, signal, onCostly, credential);
  const { last } = query;
  const following = tags.filter((tag) => typeof last !== 'string' || tag > last).sort();
  const page = following.slice(0, most);
  const end = page.at(-1);
  if (most !== undefined && end !== undefined && page.length < following.length) {
    const next = new URLSearchParams({ n: `${most}`, last: end });
    if (typeof query.ns === 'string') next.set('ns', query.ns);
    reply.header('link', `</v2/${name}/tags/list?${next}>; rel="next"`);
  }
  return reply.header('cache-control', 'private, max-age=30').send({ name, tags: page });
}

function parseCount(text: unknown): number | undefined {
  if (text === undefined) return undefined;
  if (typeof text === 'string' && /^\d+$/.test(text)) return Number(text);
  throw new ServiceError('parameter-invalid', detail('tags-count', {}));
}
