import { isDigest } from '../oci/digest.ts';
import { isGenericType, manifestMediaType } from '../oci/manifest.ts';
import type { DescribedManifest, DescribingClient, FetchedManifest, RegistryClient } from './client.ts';
import { isVerdict } from './status-error.ts';

/** Describes manifests by HEAD, or by GET if the registry refuses HEAD or does not state all. */
export function describing(client: RegistryClient): DescribingClient {
  return {
    ...client,
    async describe(repository, reference, signal) {
      const head = await client.head(repository, reference, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        if (isVerdict(error)) throw error;
        return undefined;
      });
      // A GET checks the bytes if the registry states the digest of another manifest.
      const isOther = isDigest(reference) && head?.digest !== reference;
      if (head?.size === undefined || isOther || isGenericType(head.contentType))
        return described(await client.manifest(repository, reference, signal));
      const { digest, size, contentType } = head;
      return { digest, size, mediaType: manifestMediaType(new Uint8Array(), contentType) };
    },
  };
}

/** Describes a manifest that was fetched. */
export function described({ bytes, digest, contentType, staleSince }: FetchedManifest): DescribedManifest {
  const mediaType = manifestMediaType(bytes, contentType);
  return { digest, size: bytes.length, mediaType, ...(staleSince !== undefined && { staleSince }) };
}
