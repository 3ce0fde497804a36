import { ServiceError } from '../errors.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { isJsonObject, parseJsonObject } from '../oci/json.ts';
import type { ManifestLinks } from '../oci/manifest.ts';
import type { Reference, Repository } from '../oci/reference.ts';
import type { FetchedManifest, RegistryClient } from '../registry/client.ts';
import type { Documents, Served } from '../sources/documents.ts';
import type { ImageSignatures } from '../sources/signatures/image-signatures.ts';
import type { TrustPolicy } from '../trust/trust-policy.ts';
import { isUnambiguous } from './go-json.ts';
import type { Place, RepositoryContents } from './repository-contents.ts';
import { isRunnable } from './runnable.ts';

/** The reason why a manifest may pass: no signature is required, it is signed, or it belongs to a signed one. */
export type Passage = 'open' | 'signed' | 'companion';

/** Lets only those manifests pass that the signature policy allows. */
export interface ManifestGate {
  /** Returns the key of a repository under the current policy, by which its contents are remembered. */
  placeOf(repository: Repository): Place;
  /**
   * Checks a manifest.
   *
   * @param load fetches the manifest, if its digest alone is not enough
   * @throws ServiceError `signature-required`, `signature-invalid`, or an error of the upstream
   */
  check(
    reference: Reference,
    digest: Digest,
    load: () => Promise<FetchedManifest>,
    signal: AbortSignal,
  ): Promise<Passage>;
}

export interface ManifestGateOptions {
  readonly client: RegistryClient;
  readonly policy: TrustPolicy;
  readonly signatures: ImageSignatures;
  readonly contents: RepositoryContents;
  readonly documents: Documents;
}

/**
 * Matches the tags for referrers of a manifest: cosign's, and the fallback tag of the specification.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
 */
const COMPANION_TAG = /^(sha(?:256|384|512))-([0-9a-f]+)(?:\.(?:sig|att|sbom))?$/;

/**
 * In a repository whose images must be signed, allows a signed manifest, an entry of a signed index, and a referrer of
 * these. A referrer names its subject or has a tag for it. Anyone who may push can create one, so it must be something
 * that no engine can run.
 */
export function createManifestGate({
  client,
  policy,
  signatures,
  contents,
  documents,
}: ManifestGateOptions): ManifestGate {
  const placeOf = (repository: Repository): Place => {
    const rule = policy.ruleFor(repository);
    const signers = rule?.isRequired ? rule.keys.map(({ fingerprint }) => fingerprint).join(' ') : '';
    return { repository, signers };
  };

  const isSigned = async (reference: Reference, digest: Digest, signal: AbortSignal): Promise<boolean> => {
    try {
      await signatures.require(reference, [digest], signal);
      return true;
    } catch (error) {
      if (isUnsigned(error)) return false;
      throw error;
    }
  };

  const isCompanion = async (
    reference: Reference,
    place: Place,
    manifest: FetchedManifest,
    signal: AbortSignal,
  ): Promise<boolean> => {
    const links = linksOf(documents, manifest);
    if (links === undefined || !isUnambiguous(manifest.bytes)) return false;
    for (const subject of subjectsOf(reference.tag, manifest)) {
      const isKnown =
        (await contents.find(place, 'manifest', subject)) ??
        (await contents.find(place, 'companion', subject));
      if (isKnown === undefined && !(await isSigned(reference, subject, signal))) continue;
      return links.kind === 'index' || !(await isRunnable(links, client.blobs(reference), signal));
    }
    return false;
  };

  return {
    placeOf,
    async check(reference, digest, load, signal) {
      if (!policy.ruleFor(reference)?.isRequired) return 'open';
      const place = placeOf(reference);
      if ((await contents.find(place, 'manifest', digest)) !== undefined) return 'signed';
      if ((await contents.find(place, 'companion', digest)) !== undefined) return 'companion';
      try {
        await signatures.require(reference, [digest], signal);
        return 'signed';
      } catch (error) {
        if (!isUnsigned(error)) throw error;
        const manifest = await load();
        if (!(await isCompanion(reference, place, manifest, signal))) throw error;
        await contents.add(place, 'companion', [{ digest, size: manifest.bytes.length, mediaType: '' }]);
        return 'companion';
      }
    },
  };
}

/** Reads the descriptors in a manifest; undefined for an unknown kind of manifest. */
export function linksOf(documents: Documents, manifest: Served): ManifestLinks | undefined {
  try {
    return documents.links(manifest);
  } catch (error) {
    if (error instanceof ServiceError) return undefined;
    throw error;
  }
}

function subjectsOf(tag: string | undefined, { bytes }: FetchedManifest): Digest[] {
  const [, algorithm, hex] = COMPANION_TAG.exec(tag ?? '') ?? [];
  const subject = parseJsonObject(bytes)?.subject;
  return [`${algorithm}:${hex}`, isJsonObject(subject) ? subject.digest : undefined].filter(isDigest);
}

function isUnsigned(error: unknown): boolean {
  return (
    error instanceof ServiceError &&
    (error.code === 'signature-required' || error.code === 'signature-invalid')
  );
}
