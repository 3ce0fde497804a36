import { buffer } from 'node:stream/consumers';
import { isOutage, ServiceError } from '../../errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { type Digest, referrersTag } from '../../oci/digest.ts';
import { ANNOTATIONS, type ManifestLinks } from '../../oci/manifest.ts';
import type { Repository } from '../../oci/reference.ts';
import type { FetchedManifest, RegistryClient } from '../../registry/client.ts';
import { isVerdict } from '../../registry/status-error.ts';
import type { SignatureClaim } from '../../trust/signature-claim.ts';
import type { Documents } from '../documents.ts';

const SIMPLE_SIGNING_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json';
const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const SIGNED_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';
/** Entries of a list of referrers that may be signatures. */
const REFERRER_TYPES: ReadonlySet<string> = new Set([
  'application/vnd.dev.cosign.artifact.sig.v1+json',
  BUNDLE_TYPE,
]);
/**
 * An entry without a type. In a registry without the list, cosign 3.0 keeps one under a tag. It has the empty config
 * type of its bundles and lacks annotations. Only the manifest identifies it.
 *
 * @see https://github.com/sigstore/cosign/issues/4641
 */
const EMPTY_TYPE = 'application/vnd.oci.empty.v1+json';
/** Any pusher can add entries there, so only this number is read. */
const SIGNATURES_MAX = 50;
const REFERRERS_MAX = 10;
/** Maximum bytes of a signature object. A payload has some 250, a bundle of a key some 2,000. */
const SIMPLE_SIGNING_LIMIT = 64 * 1024;
const BUNDLE_LIMIT = 256 * 1024;
/** Bytes of base64: an RSA key of 16 384 bits makes no more. */
const SIGNATURE_LIMIT = 4096;
/** Timeout in milliseconds for a HEAD request that only saves other requests. */
const PATIENCE_MS = 5_000;

/**
 * Iterates over the signatures of a manifest that a repository offers: first those under cosign's tag, then the
 * referrers. A caller that stops early causes no further requests.
 *
 * A missing tag costs no pull at Docker Hub, because a HEAD comes first.
 *
 * @throws ServiceError if the registry does not answer
 * @see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
 */
export async function* findSignatures(
  client: RegistryClient,
  documents: Documents,
  repository: Repository,
  digest: Digest,
  signal: AbortSignal,
): AsyncGenerator<SignatureClaim, void> {
  const base = digest.replace(':', '-');
  let left = SIGNATURES_MAX;
  const under = async function* (manifest: FetchedManifest): AsyncGenerator<SignatureClaim, void> {
    const layers = layersOf(documents, manifest);
    if (layers === undefined) yield { kind: 'unusable' };
    for (const layer of layers ?? []) {
      if (left-- <= 0) return;
      yield await readClaim(client, repository, layer, signal);
    }
  };

  const listedIn = async function* (list: FetchedManifest | undefined): AsyncGenerator<SignatureClaim, void> {
    for (const referrer of referrersOf(documents, list)) {
      const manifest = await unlessMissing(client.manifest(repository, referrer.digest, signal));
      if (manifest === undefined) yield { kind: 'unusable' };
      else yield* under(manifest);
    }
  };

  const tagged = await fetchIfThere(client, repository, `${base}.sig`, signal);
  if (tagged !== undefined) yield* under(tagged);
  const listed =
    (await client.referrers(repository, digest, signal)) ??
    (await fetchIfThere(client, repository, referrersTag(digest), signal));
  yield* listedIn(listed);

  if (tagged !== undefined && listed !== undefined) return;
  if (await answersHead(client, repository, digest, signal)) return;
  // A registry that refuses HEAD for a manifest that it has may also have these, so they are requested by GET.
  if (tagged === undefined) {
    const hidden = await unlessMissing(client.manifest(repository, `${base}.sig`, signal));
    if (hidden !== undefined) yield* under(hidden);
  }
  if (listed === undefined)
    yield* listedIn(await unlessMissing(client.manifest(repository, referrersTag(digest), signal)));
}

/** Tells whether HEAD finds a manifest that is known to exist. */
async function answersHead(
  client: RegistryClient,
  repository: Repository,
  digest: Digest,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await client.head(repository, digest, AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]));
    return true;
  } catch (error) {
    signal.throwIfAborted();
    return isVerdict(error);
  }
}

/** A HEAD detects a missing tag. The manifest is requested by tag, whose last digest outlives an outage. */
async function fetchIfThere(
  client: RegistryClient,
  repository: Repository,
  tag: string,
  signal: AbortSignal,
): Promise<FetchedManifest | undefined> {
  try {
    await client.head(repository, tag, AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]));
  } catch (error) {
    if (isMissing(error)) return undefined;
    signal.throwIfAborted();
  }
  return unlessMissing(client.manifest(repository, tag, signal));
}

async function unlessMissing(work: Promise<FetchedManifest>): Promise<FetchedManifest | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof ServiceError && error.code === 'image-not-found';
}

function referrersOf(documents: Documents, listed: FetchedManifest | undefined): readonly Descriptor[] {
  const links = listed && linksOf(documents, listed);
  if (links?.kind !== 'index') return [];
  // An attestation is not a signature, and is skipped if its entry says so.
  const signatures = links.manifests.filter(
    ({ annotations }) =>
      (annotations?.[ANNOTATIONS.bundlePredicate] ?? SIGNED_PREDICATE) === SIGNED_PREDICATE,
  );
  const stated = signatures.filter(({ artifactType = '' }) => REFERRER_TYPES.has(artifactType));
  const unstated = signatures.filter(({ artifactType = EMPTY_TYPE }) => artifactType === EMPTY_TYPE);
  return [...stated, ...unstated].slice(0, REFERRERS_MAX);
}

/** Returns the layers that are signatures; undefined if the manifest cannot be parsed. */
function layersOf(documents: Documents, manifest: FetchedManifest): readonly Descriptor[] | undefined {
  const links = linksOf(documents, manifest);
  if (links?.kind !== 'manifest') return undefined;
  return links.layers.filter(
    ({ mediaType }) => mediaType === SIMPLE_SIGNING_TYPE || mediaType === BUNDLE_TYPE,
  );
}

function linksOf(documents: Documents, manifest: FetchedManifest): ManifestLinks | undefined {
  try {
    return documents.links(manifest);
  } catch (error) {
    if (error instanceof ServiceError) return undefined;
    throw error;
  }
}

async function readClaim(
  client: RegistryClient,
  repository: Repository,
  layer: Descriptor,
  signal: AbortSignal,
): Promise<SignatureClaim> {
  const isBundle = layer.mediaType === BUNDLE_TYPE;
  const signature = layer.annotations?.[ANNOTATIONS.cosignSignature] ?? '';
  const isUsable = isBundle
    ? layer.size <= BUNDLE_LIMIT
    : layer.size <= SIMPLE_SIGNING_LIMIT && signature !== '' && signature.length <= SIGNATURE_LIMIT;
  if (!isUsable) return { kind: 'unusable' };
  try {
    const bytes = await buffer(await client.blobs(repository).read(layer, undefined, signal));
    return isBundle ? { kind: 'bundle', bytes } : { kind: 'simple-signing', payload: bytes, signature };
  } catch (error) {
    if (!(error instanceof ServiceError) || isOutage(error)) throw error;
    return { kind: 'unusable' };
  }
}
