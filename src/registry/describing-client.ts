import { isGenericType } from '../oci/manifest.ts';
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
      if (head?.size !== undefined && !isGenericType(head.contentType)) return { ...head, size: head.size };
      return described(await client.manifest(repository, reference, signal));
    },
  };
}

/** Describes a manifest that was fetched. */
export function described({ bytes, ...rest }: FetchedManifest): DescribedManifest {
  return { ...rest, size: bytes.length };
}
