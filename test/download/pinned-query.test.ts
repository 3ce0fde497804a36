import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { digestQuery, pinnedQuery } from '../../src/download/pinned-query.ts';
import { type ArchiveQuery, parseArchiveQuery } from '../../src/download/query.ts';
import type { QueryString } from '../../src/download/read-parameters.ts';
import { type DownloadQuery, downloadUrl } from '../../src/download/url.ts';
import { type Digest, isDigest, sha256 } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { parsePlatform } from '../../src/oci/platform.ts';
import { familiarName } from '../../src/oci/reference.ts';
import type { RegistryClient } from '../../src/registry/client.ts';
import type { Archive } from '../../src/sources/image-source.ts';
import { createRegistrySource } from '../../src/sources/registry/source.ts';
import { type ImageSignatures, NOT_CHECKED } from '../../src/sources/signatures/image-signatures.ts';
import { memoryClient } from '../sources/memory-client.ts';

const never = new AbortController().signal;
const ARCHITECTURES = ['amd64', 'arm64'] as const;
const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const digestOf = (text: string): Digest => sha256(Buffer.from(text));

/** An image: a letter for each layer, for each architecture. Without an index, the image exists for the first one only. */
interface Sample {
  readonly chains: readonly [amd64: string, arm64: string];
  readonly isIndex: boolean;
}

/** A registry in memory, and the names of what is in it: `app:0`, `app:1` … */
function registryOf(samples: readonly Sample[]): { client: RegistryClient; manifests: Map<string, Buffer> } {
  const manifests = new Map<string, Buffer>();
  const blobs = new Map<string, Buffer>();
  const add = <T extends object>(mediaType: string, body: T) => {
    const bytes = bytesOf({ schemaVersion: 2, mediaType, ...body });
    manifests.set(sha256(bytes), bytes);
    return { mediaType, digest: sha256(bytes), size: bytes.length };
  };
  for (const [tag, { chains, isIndex }] of samples.entries()) {
    const entries = ARCHITECTURES.map((architecture, at) => {
      const letters = [...(chains[at] ?? '')];
      const diffIds = letters.map((letter) => digestOf(`${letter} unpacked`));
      const config = bytesOf({
        os: 'linux',
        architecture,
        tag,
        rootfs: { type: 'layers', diff_ids: diffIds },
      });
      blobs.set(sha256(config), config);
      return {
        ...add(MEDIA_TYPES.ociManifest, {
          config: {
            mediaType: 'application/vnd.oci.image.config.v1+json',
            digest: sha256(config),
            size: config.length,
          },
          layers: letters.map((letter) => ({
            mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
            digest: digestOf(letter),
            size: 1000,
          })),
        }),
        platform: { os: 'linux', architecture },
      };
    });
    const root = isIndex ? add(MEDIA_TYPES.ociIndex, { manifests: entries }) : entries[0];
    manifests.set(`${tag}`, manifests.get(root?.digest ?? '') ?? assert.fail());
  }
  return { client: memoryClient(manifests, blobs), manifests };
}

/** Like a registry in which only the indexes are signed. */
const indexSigned: ImageSignatures = {
  require: async (_reference, [digest]) => digest,
  describe: async () => NOT_CHECKED,
};
const unsigned: ImageSignatures = { ...indexSigned, require: async () => undefined };

const chain = fc.string({ unit: fc.constantFrom(...'aaabcde'), maxLength: 6 });
const sample: fc.Arbitrary<Sample> = fc.record({ chains: fc.tuple(chain, chain), isIndex: fc.boolean() });
const named = fc.constantFrom(...'abcx').map(digestOf);
const unpacked = fc.constantFrom(...'abcx').map((letter) => digestOf(`${letter} unpacked`));
const asked = fc.record({
  wanted: fc.array(sample, { minLength: 1, maxLength: 3 }),
  held: fc.array(sample, { maxLength: 3 }),
  layers: fc.array(fc.oneof(named, unpacked), { maxLength: 3 }),
  format: fc.constantFrom('docker', 'oci'),
  platform: fc.constantFrom(undefined, 'linux/amd64', 'all'),
  isSigned: fc.boolean(),
  heldBy: fc.constantFrom('tag', 'digest', 'both'),
});

const readQuery = (query: DownloadQuery): ArchiveQuery => {
  const parameters = new URLSearchParams(downloadUrl(query).split('?')[1]);
  const entries = [...new Set(parameters.keys())].map((name) => [name, parameters.getAll(name)] as const);
  return parseArchiveQuery(
    Object.fromEntries(
      entries.map(([name, values]) => [name, values.length === 1 ? values[0] : values]),
    ) as QueryString,
  );
};
const leftOut = ({ omitted }: Archive): string[] => omitted?.layers.map(({ digest }) => digest) ?? [];

suite('the URL of an archive by digests', () => {
  test('is of the same bytes at every service, whatever is omitted of them', () =>
    fc.assert(
      fc.asyncProperty(asked, async ({ wanted, held, layers, format, platform, isSigned, heldBy }) => {
        const { client, manifests } = registryOf([...wanted, ...held]);
        const heldAs = (tag: number): string => {
          const digest = `@${sha256(manifests.get(`${tag}`) ?? assert.fail())}`;
          return `app${heldBy === 'digest' ? '' : `:${tag}`}${heldBy === 'tag' ? '' : digest}`;
        };
        const at = (architecture: string) =>
          createRegistrySource({
            client,
            defaultPlatform: parsePlatform(`linux/${architecture}`),
            maxSize: Number.MAX_SAFE_INTEGER,
            signatures: isSigned ? indexSigned : unsigned,
            now: Date.now,
          });
        const [here, there] = ARCHITECTURES.map(at);
        assert.ok(here && there);
        const query = readQuery({
          myimage: wanted.map((_, tag) => `app:${tag}`),
          have: [...held.map((_, tag) => heldAs(wanted.length + tag)), ...layers],
          platform: platform === 'all' && format !== 'oci' ? undefined : platform,
          format,
        });
        const direct = await here.open(query, never);
        const pinned = await there.open(readQuery(pinnedQuery(query, direct)), never);
        assert.deepEqual([pinned.etag, pinned.size], [direct.etag, direct.size]);
        assert.deepEqual(leftOut(pinned), leftOut(direct));
        const short = readQuery(digestQuery(query, direct, familiarName));
        // Its bytes lack the tags.
        assert.deepEqual(leftOut(await there.open(short, never)), leftOut(direct));
        for (const { digest } of [...short.references, ...(short.have?.references ?? [])])
          assert.ok(isDigest(digest));
      }),
      { numRuns: 500 },
    ));
});
