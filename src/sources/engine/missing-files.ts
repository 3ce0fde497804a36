import { CatalogueError } from '../../errors.ts';
import { normalisePlatform, type StatedPlatform, samePlatform, selectPlatform } from '../../oci/platform.ts';
import type { IndexEntry, SavedContents } from './saved-contents.ts';

/** An image that an engine was asked to save. */
export interface AskedImage {
  /** Digests by which the engine knows it: of its config, its manifest, or its index. */
  readonly ids: readonly string[];
  readonly platform: StatedPlatform;
}

/**
 * Lists the files that a saved archive names and does not have. Of an index, the images count that were asked for: the
 * containerd store of Docker saves an index as its registry has it, with the blobs of those platforms that were pulled.
 *
 * @throws CatalogueError `engine-failed` where the archive does not name as many images as were asked for
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
    throw new CatalogueError('engine-failed', `The engine saved ${images} of ${wanted} images.`);
  const named = [...files, ...roots.flatMap((root) => rootFiles(contents, root, asked))];
  return [...new Set(named)].filter((file) => !contents.has(file));
}

/** The files that an entry of index.json needs. */
function rootFiles(contents: SavedContents, root: IndexEntry, asked: readonly AskedImage[]): string[] {
  if (contents.listAt(root.path)?.kind !== 'index') return imageFiles(contents, root);
  const own = asked.filter(({ ids }) => ids.includes(root.digest));
  const images = leavesOf(contents, root, new Set());
  // Saved for one platform, an index has another digest than the image that was asked for.
  const choices = (own.length > 0 ? own : asked).map((image) => choiceFiles(contents, images, image));
  const chosen = own.length > 0 ? choices : [fewestMissing(contents, choices)];
  return [root.path, ...chosen.flat()];
}

/** The files that the image for a platform needs; where an index has several of them, one is enough. */
function choiceFiles(
  contents: SavedContents,
  images: readonly IndexEntry[],
  { ids, platform }: AskedImage,
): string[] {
  if (images.length === 0)
    throw new CatalogueError('engine-failed', 'The engine saved an index that names no images.');
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

/** The images of an index, and of the indexes within it, without attestations. */
function leavesOf(contents: SavedContents, { path }: IndexEntry, seen: Set<string>): IndexEntry[] {
  const list = contents.listAt(path);
  // No digest was verified, so that an index may seem to contain itself.
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
    throw new CatalogueError('engine-failed', `The engine saved ${path}, but that is not a manifest.`);
  return [path];
}

function fewestMissing(contents: SavedContents, choices: readonly string[][]): string[] {
  const missing = (files: readonly string[]): number => files.filter((file) => !contents.has(file)).length;
  const [first = []] = [...choices].sort((a, b) => missing(a) - missing(b));
  return first;
}
