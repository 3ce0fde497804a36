import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { normalisePlatform, type StatedPlatform, samePlatform, selectPlatform } from '../../oci/platform.ts';
import type { IndexEntry, SavedContents } from './saved-contents.ts';

/** An image that an engine was asked to save. */
export interface AskedImage {
  /** Digests by which the engine knows the image: of its config, manifest, or index. */
  readonly ids: readonly string[];
  readonly platform: StatedPlatform;
}

/**
 * Lists the files that a saved archive names but does not contain. Only the requested images of an index count.
 * Docker's containerd store saves the index of the registry unchanged, with the blobs of only the pulled platforms.
 *
 * @throws ServiceError `engine-failed` if the archive names fewer images than were requested
 * @see https://github.com/containerd/containerd/blob/main/core/images/archive/exporter.go (WithSkipMissing)
 */
export function missingFiles(contents: SavedContents, asked: readonly AskedImage[]): readonly string[] {
  const docker = contents.listAt('manifest.json');
  const index = contents.listAt('index.json');
  const roots = index?.kind === 'index' ? index.entries : [];
  const files = docker?.kind === 'docker' ? docker.files : [];
  const images = Math.max(roots.length, docker?.kind === 'docker' ? docker.images : 0);
  const wanted = new Set(asked.map(({ ids }) => ids[0])).size;
  if (images < wanted)
    throw new ServiceError('engine-failed', detail('engine-images-missing', { count: images, wanted }));
  const named = [...files, ...roots.flatMap((root) => rootFiles(contents, root, asked))];
  return [...new Set(named)].filter((file) => !contents.has(file));
}

/** Lists the files that an entry of index.json needs. */
function rootFiles(contents: SavedContents, root: IndexEntry, asked: readonly AskedImage[]): string[] {
  if (contents.listAt(root.path)?.kind !== 'index') return imageFiles(contents, root);
  const own = asked.filter(({ ids }) => ids.includes(root.digest));
  const images = leavesOf(contents, root, new Set());
  // An index that was saved for one platform has a different digest from the requested image.
  const choices = (own.length > 0 ? own : asked).map((image) => choiceFiles(contents, images, image));
  const chosen = own.length > 0 ? choices : [fewestMissing(contents, choices)];
  return [root.path, ...chosen.flat()];
}

/** Lists the files that the image for a platform needs. If an index has several such images, one is enough. */
function choiceFiles(
  contents: SavedContents,
  images: readonly IndexEntry[],
  { ids, platform }: AskedImage,
): string[] {
  if (images.length === 0) throw new ServiceError('engine-failed', detail('engine-index-empty', {}));
  const exact = images.find(({ digest }) => ids.includes(digest));
  if (exact !== undefined) return imageFiles(contents, exact);
  const best = selectPlatform(normalisePlatform(platform), images, (entry) => entry.platform)?.platform;
  const fitting = images.filter(
    (entry) => entry.platform === undefined || (best !== undefined && samePlatform(best, entry.platform)),
  );
  const candidates = fitting.length > 0 ? fitting : images;
  return fewestMissing(
    contents,
    candidates.map((entry) => imageFiles(contents, entry)),
  );
}

/** Lists the images of an index and its nested indexes, without attestations. */
function leavesOf(contents: SavedContents, { path }: IndexEntry, seen: Set<string>): IndexEntry[] {
  const list = contents.listAt(path);
  // Digests are not verified here, so an index may seem to contain itself.
  if (list?.kind !== 'index' || seen.has(path)) return [];
  seen.add(path);
  return list.entries.flatMap((entry) => {
    if (contents.listAt(entry.path)?.kind === 'index') return leavesOf(contents, entry, seen);
    return entry.platform?.os === 'unknown' ? [] : [entry];
  });
}

function imageFiles(contents: SavedContents, { path }: IndexEntry): string[] {
  const list = contents.listAt(path);
  if (list?.kind === 'manifest') return [path, ...list.files];
  if (contents.has(path))
    throw new ServiceError('engine-failed', detail('engine-manifest-missing', { path }));
  return [path];
}

function fewestMissing(contents: SavedContents, choices: readonly string[][]): string[] {
  const missing = (files: readonly string[]): number => files.filter((file) => !contents.has(file)).length;
  const [first = []] = [...choices].sort((a, b) => missing(a) - missing(b));
  return first;
}
