import type { Detail } from '../errors/details.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';
import { type Digest, sha256 } from '../oci/digest.ts';
import {
  filterIndex,
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  type ManifestLinks,
  parseImageConfig,
  parseManifest,
  parseManifestLinks,
} from '../oci/manifest.ts';
import type { FetchedManifest } from '../registry/client.ts';
import type { MemoryCaches } from '../util/memory-caches.ts';

/** A manifest or an index as its registry served it, its digest verified. */
export type Served = Pick<FetchedManifest, 'bytes' | 'digest' | 'contentType'>;

/** Parses manifests, indexes, and configs. Each method throws what the parser of the same name in `oci` throws. */
export interface Documents {
  manifest(served: Served): ImageManifest | ImageIndex;
  links(served: Served): ManifestLinks;
  config(digest: Digest, bytes: Uint8Array): ImageConfig;
  /** Rewrites an index with only the entries of the given digests and their attestations. */
  filtered(index: Served, kept: ReadonlySet<string>): Served;
}

/** Parses documents without caching. */
export const parsing: Documents = {
  manifest: ({ bytes, contentType }) => parseManifest(bytes, contentType),
  links: ({ bytes, contentType }) => parseManifestLinks(bytes, contentType),
  config: (_digest, bytes) => parseImageConfig(bytes),
  filtered({ bytes, contentType }, kept) {
    const filtered = filterIndex(bytes, kept);
    return { bytes: filtered, digest: sha256(filtered), contentType };
  },
};

/** Maximum bytes for each kind of result. Most manifests take 5 kB, and the largest real ones about 500 kB. */
const LIMIT = 8 * 2 ** 20;

type Outcome<T> = { readonly value: T } | { readonly code: ErrorCode; readonly sentences: readonly Detail[] };

/**
 * Caches the parsed content of each document, or its error, by digest. For cached documents, parsing is the largest cost
 * of a request, and a small hostile document can make it large.
 */
export function rememberingDocuments(caches: MemoryCaches, parse = parsing): Documents {
  const remembering = <T extends object>(): ((key: string, work: () => T) => T) => {
    const known = caches.open<Outcome<T>>({ name: 'parsed-documents', limit: LIMIT });
    return (key, work) => {
      const before = known.get(key);
      const outcome = before ?? outcomeOf(work);
      // Weighing a large document takes longer than the rest of a request.
      if (before === undefined) known.set(key, outcome);
      if ('value' in outcome) return outcome.value;
      throw new ServiceError(outcome.code, outcome.sentences);
    };
  };
  const manifests = remembering<ImageManifest | ImageIndex>();
  const links = remembering<ManifestLinks>();
  const configs = remembering<ImageConfig>();
  const filtered = remembering<Served>();
  // The key contains the media type of the response, which applies if the document states none.
  const keyOf = ({ digest, contentType }: Served): string => `${digest} ${contentType}`;

  return {
    manifest: (served) => manifests(keyOf(served), () => parse.manifest(served)),
    links: (served) => links(keyOf(served), () => parse.links(served)),
    config: (digest, bytes) => configs(digest, () => parse.config(digest, bytes)),
    filtered: (index, kept) =>
      filtered([keyOf(index), ...[...kept].sort()].join(' '), () => parse.filtered(index, kept)),
  };
}

function outcomeOf<T>(work: () => T): Outcome<T> {
  try {
    return { value: work() };
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return { code: error.code, sentences: error.sentences };
  }
}
