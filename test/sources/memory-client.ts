import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { sha256 } from '../../src/oci/digest.ts';
import type { RegistryClient } from '../../src/registry/client.ts';

type Contents = ReadonlyMap<string, Buffer>;

/** A client of a registry in memory: manifests by tag and digest, and blobs by digest. */
export function memoryClient(manifests: Contents, blobs: Contents): RegistryClient {
  return {
    async manifest(_repository, reference) {
      const bytes = manifests.get(reference) ?? assert.fail(reference);
      return { bytes, digest: sha256(bytes), contentType: undefined };
    },
    head: async () => undefined,
    tags: async () => ({ tags: [], isComplete: true }),
    findBlob: async () => ({ size: 0 }),
    checkSizes: async () => {},
    referrers: async () => undefined,
    blobs: () => ({
      read: async ({ digest }) => Readable.from([blobs.get(digest) ?? assert.fail(digest)]),
    }),
  };
}
