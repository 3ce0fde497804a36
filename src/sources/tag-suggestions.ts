import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import { familiarName } from '../oci/reference.ts';
import { similarTags } from '../oci/similar-tags.ts';
import { UnknownTagError } from '../registry/status-error.ts';
import type { DetailsRequest, ImageInspector } from './image-catalogue.ts';
import type { Archive, ImageSource, LiveArchive } from './image-source.ts';

/** Maximum milliseconds for a list of tags, because the error that it explains is ready to send. */
const LIST_TIMEOUT_MS = 5_000;
/** Maximum number of tags in the reason phrase, which is all that wget shows. */
const TAGS_IN_REASON = 3;

/**
 * Wraps a source so that its error for a missing tag lists similar tags.
 *
 * @param tags lists the tags of a repository; it should cache them briefly
 */
export function suggestingSource<Kind extends Archive | LiveArchive>(
  source: ImageSource<Kind>,
  tags: ImageInspector['tags'],
): ImageSource<Kind> {
  return {
    ...source,
    open: (request, signal) =>
      source.open(request, signal).catch((error) => explain(error, tags, signal, request.onCostly)),
  };
}

/** Wraps a catalogue so that its error for a missing tag lists similar tags, from its own lists. */
export function suggestingInspector({ describe, tags }: ImageInspector): ImageInspector {
  return {
    describe: (request, signal) =>
      describe(request, signal).catch((error) => explain(error, tags, signal, request.onCostly)),
    tags,
  };
}

/** Throws an error that suggests similar tags, or the original error if the tags cannot be listed. */
async function explain(
  error: unknown,
  tags: ImageInspector['tags'],
  signal: AbortSignal,
  onCostly: DetailsRequest['onCostly'],
): Promise<never> {
  if (!(error instanceof UnknownTagError)) throw error;
  const { repository, tag } = error;
  const soon = AbortSignal.any([signal, AbortSignal.timeout(LIST_TIMEOUT_MS)]);
  const list = await tags(repository, soon, onCostly).catch(() => undefined);
  // If the registry lists the tag, the tag exists, so the original error is the right one.
  if (list === undefined || list.tags.includes(tag)) throw error;
  const similar = similarTags(tag, list.tags);
  const name = familiarName(repository);
  const some = similar.length === 0 ? [] : [detail('tags-similar', { tags: similar.join(', ') })];
  const few = similar.length === 0 ? '' : `; similar: ${similar.slice(0, TAGS_IN_REASON).join(', ')}`;
  throw new ServiceError('tag-not-found', [detail('tag-missing', { repository: name, tag }), ...some], {
    reason: `No tag ${tag}${few}`,
    members: { repository: name, tag, similarTags: similar },
    cause: error,
  });
}
