import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';
import type { BlobReader } from '../oci/blob-reader.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isForeignLayer } from '../oci/manifest.ts';
import type { Repository } from '../oci/reference.ts';
import type { RegistryClient } from './client.ts';

/**
 * Wraps a reader that may hold blobs of others. It asks the registry by HEAD before the first read of each blob. Thus, a
 * client reads only what its own credentials open. The request is the same whether the blob is held or not.
 *
 * @param direct asks the registry; must not cache answers
 * @param source reads foreign layers, whose bytes come from other hosts
 */
export function checkedBlobs(
  holder: BlobReader,
  source: BlobReader,
  repository: Repository,
  direct: Pick<RegistryClient, 'findBlob'>,
): BlobReader {
  const checked = new Set<string>();
  const check = async ({ digest }: Descriptor, signal: AbortSignal): Promise<void> => {
    if (checked.has(digest)) return;
    const found = await direct.findBlob(repository, digest, signal);
    if (found === undefined) throw missing(repository, digest);
    checked.add(digest);
  };
  return {
    async read(blob, range, signal, onFetched) {
      if (isForeignLayer(blob)) return source.read(blob, range, signal, onFetched);
      await check(blob, signal);
      return holder.read(blob, range, signal, onFetched);
    },
    ...(source.readPart && { readPart: source.readPart }),
  };
}

function missing({ domain, path }: Repository, digest: string): ServiceError {
  return new ServiceError(
    'layer-unavailable',
    detail('repository-lacks-blob', { repository: `${domain}/${path}`, digest }),
  );
}
