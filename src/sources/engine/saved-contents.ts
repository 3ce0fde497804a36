import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { splitDigest } from '../../oci/digest.ts';
import { isJsonObject, type JsonObject } from '../../oci/json.ts';
import type { StatedPlatform } from '../../oci/platform.ts';

/** The files of a saved archive, and the files that its own lists name. */
export interface SavedContents {
  /** Tells whether the archive contains a file, or a link to a file, at a path. */
  has(path: string): boolean;
  /** Returns the list in the JSON file at a path; undefined if it is not a list. */
  listAt(path: string): SavedList | undefined;
}

export type SavedList =
  /** Docker's manifest.json: the files of all images. */
  | { readonly kind: 'docker'; readonly images: number; readonly files: readonly string[] }
  /** An OCI index or a Docker manifest list. */
  | { readonly kind: 'index'; readonly entries: readonly IndexEntry[] }
  /** A manifest: its config and its layers. */
  | { readonly kind: 'manifest'; readonly files: readonly string[] };

export interface IndexEntry {
  readonly digest: string;
  /** The path of the blob in the archive. */
  readonly path: string;
  readonly platform: StatedPlatform | undefined;
}

/** Collects the contents of an archive while it passes through. */
export interface Inventory extends SavedContents {
  addFile(path: string): void;
  addLink(path: string, target: string): void;
  /** Adds a JSON file. @throws ServiceError `engine-failed` if it is one of {@link ROOT_LISTS} and cannot be read */
  addList(path: string, content: Buffer): void;
}

/** The files that loaders read first. */
export const ROOT_LISTS: ReadonlySet<string> = new Set(['index.json', 'manifest.json']);

/** Maximum characters of all names in total. A bundle of 100 images with 127 layers each has about 4 million. */
const NAMES_MAX = 32 * 1024 * 1024;
/** Memory overhead that each name counts for, in characters. */
const NAME_COST = 64;
/** Maximum length of a chain of links. dockerd up to 24 and Podman write chains of one. */
const LINKS_MAX = 8;

export function createInventory(): Inventory {
  const files = new Set<string>();
  const links = new Map<string, string>();
  const lists = new Map<string, SavedList>();
  let left = NAMES_MAX;

  const charge = (names: readonly string[]): void => {
    for (const name of names) left -= name.length + NAME_COST;
    if (left < 0) throw new ServiceError('engine-failed', detail('engine-files-exceeded', {}));
  };

  return {
    addFile(path) {
      charge([path]);
      files.add(path);
    },
    addLink(path, target) {
      charge([path, target]);
      links.set(path, target);
    },
    addList(path, content) {
      const list = readList(path, content);
      if (list === undefined) {
        if (ROOT_LISTS.has(path))
          throw new ServiceError('engine-failed', detail('engine-file-unreadable', { path }));
        return;
      }
      charge(list.kind === 'index' ? list.entries.map((entry) => entry.path) : list.files);
      lists.set(path, list);
    },
    has(path) {
      let at = path;
      for (let hops = 0; hops <= LINKS_MAX; hops++) {
        if (files.has(at)) return true;
        const target = links.get(at);
        if (target === undefined) return false;
        at = target;
      }
      return false;
    },
    listAt: (path) => lists.get(path),
  };
}

function readList(path: string, content: Buffer): SavedList | undefined {
  const json = parse(content);
  if (path === 'manifest.json') return Array.isArray(json) ? readDockerManifest(json) : undefined;
  if (!isJsonObject(json)) return undefined;
  if (Array.isArray(json.manifests)) return { kind: 'index', entries: json.manifests.map(readEntry) };
  // Go writes an empty list as null.
  if (path === 'index.json') return json.manifests == null ? { kind: 'index', entries: [] } : undefined;
  const { config, layers } = json;
  // An image config also has a member named config, but without a digest.
  if (!isJsonObject(config) || typeof config.digest !== 'string' || !Array.isArray(layers)) return undefined;
  return { kind: 'manifest', files: [config, ...layers].map((blob) => readEntry(blob).path) };
}

function readDockerManifest(images: readonly unknown[]): SavedList {
  const files = images.flatMap((image) => {
    const { Config, Layers }: JsonObject = isJsonObject(image) ? image : {};
    return [Config, ...(Array.isArray(Layers) ? Layers : [])].map((file) => `${file}`);
  });
  return { kind: 'docker', images: images.length, files };
}

function readEntry(value: unknown): IndexEntry {
  const entry: JsonObject = isJsonObject(value) ? value : {};
  const digest = `${entry.digest}`;
  const { algorithm, hex } = splitDigest(digest);
  return { digest, path: `blobs/${algorithm}/${hex}`, platform: readPlatform(entry.platform) };
}

function readPlatform(value: unknown): StatedPlatform | undefined {
  if (!isJsonObject(value)) return undefined;
  const { os, architecture, variant } = value;
  if (typeof os !== 'string' || typeof architecture !== 'string') return undefined;
  return { os, architecture, ...(typeof variant === 'string' && { variant }) };
}

function parse(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString());
  } catch {
    return undefined;
  }
}
