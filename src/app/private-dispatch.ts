import type { PullRequest, PullSource } from '../pull/pull-source.ts';
import type { ClientCredential } from '../registry/client-credential.ts';
import type { FilesRequest, ImageFiles } from '../sources/contents/image-files.ts';
import type { FindReferrersOf, ImageInspector } from '../sources/image-catalogue.ts';
import type { ImageSource } from '../sources/image-source.ts';

/** The ways in which requests reach images. */
export interface ImageFaces {
  readonly source: ImageSource;
  /** Undefined if the source cannot read layers. */
  readonly files: ImageFiles | undefined;
  /** Caches its answers briefly. */
  readonly catalogue: ImageInspector;
  /** Lists signatures, SBOMs, and other referrers. */
  readonly referrers: FindReferrersOf;
  /** For the registry API. */
  readonly pulls: PullSource;
}

/** Finds the images as credentials open them, until the signal of the request aborts. */
export type FindView = (credential: ClientCredential, signal: AbortSignal) => ImageFaces;

/** Sends requests with credentials to their own view. A request without credentials never reaches one. */
export function withPrivateViews(anonymous: ImageFaces, find: FindView): ImageFaces {
  const of = (credential: ClientCredential | undefined, signal: AbortSignal): ImageFaces =>
    credential === undefined ? anonymous : find(credential, signal);
  const filesOf = ({ credential }: FilesRequest, signal: AbortSignal): ImageFiles => {
    const { files = anonymous.files } = of(credential, signal);
    if (files === undefined) throw new RangeError('The source cannot read layers');
    return files;
  };
  const pullsOf = ({ credential, signal }: PullRequest): PullSource => of(credential, signal).pulls;
  return {
    source: {
      ...anonymous.source,
      open: (request, signal) => of(request.credential, signal).source.open(request, signal),
    },
    files: anonymous.files && {
      open: async (request, signal) => filesOf(request, signal).open(request, signal),
      list: async (request, signal) => filesOf(request, signal).list(request, signal),
    },
    catalogue: {
      describe: (request, signal) => of(request.credential, signal).catalogue.describe(request, signal),
      tags: (repository, signal, onCostly, credential) =>
        of(credential, signal).catalogue.tags(repository, signal, onCostly),
    },
    referrers: (request, signal) => of(request.credential, signal).referrers(request, signal),
    pulls: {
      describe: (reference, request) => pullsOf(request).describe(reference, request),
      manifest: (reference, request) => pullsOf(request).manifest(reference, request),
      blob: (repository, digest, request) => pullsOf(request).blob(repository, digest, request),
      referrers: (repository, digest, type, request) =>
        pullsOf(request).referrers(repository, digest, type, request),
    },
  };
}
