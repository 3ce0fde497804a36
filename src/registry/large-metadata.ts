import type { LargeDocuments } from '../util/large-documents.ts';
import type { RegistryClient } from './client.ts';

/** Keeps the place of large metadata until it is verified and, for lists, until all pages are combined. */
export function placingLargeMetadata(client: RegistryClient, large: LargeDocuments): RegistryClient {
  return {
    ...client,
    manifest: (repository, reference, signal) =>
      large.run(() => client.manifest(repository, reference, signal), signal),
    tags: (repository, signal) => large.run(() => client.tags(repository, signal), signal),
    referrers: (repository, digest, signal) =>
      large.run(() => client.referrers(repository, digest, signal), signal),
  };
}
