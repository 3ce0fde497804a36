import type { Readable } from 'node:stream';
import { rewriteTar } from '../../archive/rewrite-tar.ts';
import { isJsonObject, type JsonObject } from '../../oci/json.ts';
import { streamFrom } from '../../util/streams.ts';

/** An image that was saved by its digest, and the tag that was asked for beside it. */
export interface ImageName {
  /** The digests by which the archive may identify it: of its config, or of its manifest. */
  readonly id: string;
  /** In full: `docker.io/library/busybox:1.36`. */
  readonly name: string;
}

const CONTAINERD_NAME = 'io.containerd.image.name';
const OCI_NAME = 'org.opencontainers.image.ref.name';
/**
 * Marks an attestation of another image in the same list.
 *
 * @see https://github.com/containerd/containerd/blob/main/core/images/annotations.go
 */
const SUBJECT = 'io.containerd.manifest.subject';

/**
 * Adds names to the images of a saved archive, because engines save an image without a name if its digest is
 * requested. A temporary tag would be wrong: other users of the engine would see it. Removing the last tag of an image
 * removes the image from dockerd.
 *
 * Docker 29 lists the attestations of an image beside it when it saves one platform. Apptainer and skopeo refuse an
 * index.json with several entries, so it keeps the images alone.
 */
export function nameImages(saved: Readable, names: readonly ImageName[], signal: AbortSignal): Readable {
  const rewrite = (file: string, content: Buffer): Uint8Array | undefined => {
    const json = parse(content);
    if (file === 'manifest.json' && Array.isArray(json) && names.length > 0)
      return write(nameEntries(json, names, dockerEntry));
    if (file !== 'index.json' || !isJsonObject(json) || !Array.isArray(json.manifests)) return undefined;
    const images: unknown[] = json.manifests.filter((entry) => !isAttestation(entry));
    if (names.length === 0 && images.length === json.manifests.length) return undefined;
    return write({ ...json, manifests: nameEntries(images, names, ociEntry) });
  };
  const files = new Set(['manifest.json', 'index.json']);
  const stream = streamFrom(() => rewriteTar(saved, files, rewrite), signal);
  return stream.once('close', () => saved.destroy());
}

/** Adds a name to an entry of a list of images. */
interface Entry {
  /** Returns true if the entry is the image with this ID. */
  is(entry: JsonObject, id: string): boolean;
  hasName(entry: JsonObject): boolean;
  named(entry: JsonObject, name: string): JsonObject;
}

const dockerEntry: Entry = {
  is: ({ Config }, id) => typeof Config === 'string' && Config.includes(digitsOf(id)),
  hasName: ({ RepoTags }) => Array.isArray(RepoTags) && RepoTags.length > 0,
  named: (entry, name) => {
    const tags: unknown[] = Array.isArray(entry.RepoTags) ? entry.RepoTags : [];
    return { ...entry, RepoTags: tags.includes(name) ? tags : [...tags, name] };
  },
};

const ociEntry: Entry = {
  is: ({ digest }, id) => digest === id,
  hasName: ({ annotations }) => isJsonObject(annotations) && CONTAINERD_NAME in annotations,
  named: (entry, name) => {
    // One entry has one name.
    if (ociEntry.hasName(entry)) return entry;
    const others = isJsonObject(entry.annotations) ? entry.annotations : {};
    const tag = name.slice(name.lastIndexOf(':') + 1);
    return { ...entry, annotations: { ...others, [CONTAINERD_NAME]: name, [OCI_NAME]: tag } };
  },
};

function nameEntries(
  entries: readonly unknown[],
  names: readonly ImageName[],
  { is, hasName, named }: Entry,
): unknown[] {
  const nameless = entries.filter((entry) => isJsonObject(entry) && !hasName(entry));
  return entries.map((entry) => {
    if (!isJsonObject(entry)) return entry;
    const own = names.filter(({ id }) => is(entry, id));
    // If the entry has a different ID, it must be the only requested image.
    const isOnly = own.length === 0 && names.length === 1 && nameless.length === 1 && nameless[0] === entry;
    return (isOnly ? names : own).reduce((known, { name }) => named(known, name), entry);
  });
}

function isAttestation(entry: unknown): boolean {
  return isJsonObject(entry) && isJsonObject(entry.annotations) && SUBJECT in entry.annotations;
}

function digitsOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}

function parse(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString());
  } catch {
    return undefined;
  }
}

function write(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
