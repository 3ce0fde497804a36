import { ServiceError } from '../../errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { isVagueConfig } from '../../oci/manifest.ts';
import type { Reference } from '../../oci/reference.ts';
import type { RegistryClient } from '../../registry/client.ts';
import type { Documents, Served } from '../documents.ts';
import { readConfig } from './image-resolver.ts';

/** The means to read manifests below a reference. */
export interface ManifestSearch {
  readonly client: RegistryClient;
  readonly documents: Documents;
  readonly reference: Reference;
  readonly signal: AbortSignal;
}

/**
 * The content of a manifest or index. `damaged` means an image whose config does not describe one, or an index without
 * entries.
 */
export type ContentKind = 'image' | 'artifact' | 'damaged';

/** Maximum entries of an index that are read. The entries of an index of artifacts are alike. */
const ENTRIES_MAX = 8;
/** Maximum levels of nested indexes. */
const DEPTH_MAX = 4;

/**
 * Finds out if a manifest is of an image. An index is of the first kind in it that is not an artifact.
 *
 * @throws ServiceError as the resolution of an image does, except for `not-an-image`
 */
export async function contentKind(search: ManifestSearch, served: Served, depth = 1): Promise<ContentKind> {
  const { client, documents, reference, signal } = search;
  const manifest = unlessNoImage(() => documents.manifest(served));
  if (manifest === undefined) return 'artifact';
  if (manifest.kind === 'image') return imageKind(search, manifest.config);
  if (manifest.manifests.length === 0 || depth === DEPTH_MAX) return 'damaged';
  for (const { digest } of manifest.manifests.slice(0, ENTRIES_MAX)) {
    const kind = await contentKind(search, await client.manifest(reference, digest, signal), depth + 1);
    if (kind !== 'artifact') return kind;
  }
  return 'artifact';
}

async function imageKind(search: ManifestSearch, config: Descriptor): Promise<ContentKind> {
  const { client, documents, reference, signal } = search;
  const bytes = await readConfig(client, reference, config, signal);
  const parsed = unlessNoImage(() => documents.config(config.digest, bytes));
  if (parsed !== undefined) return 'image';
  return isVagueConfig(config) ? 'artifact' : 'damaged';
}

function unlessNoImage<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'not-an-image') return undefined;
    throw error;
  }
}
