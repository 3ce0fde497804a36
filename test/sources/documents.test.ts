import assert from 'node:assert/strict';
import { mock, suite, test } from 'node:test';
import { sha256 } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { parsing, rememberingDocuments, type Served } from '../../src/sources/documents.ts';
import { createMemoryCaches } from '../../src/util/memory-caches.ts';
import { image, index } from '../support/images.ts';

const servedOf = (bytes: Uint8Array, contentType?: string): Served => ({
  ...{ bytes, digest: sha256(bytes), contentType },
});
const jsonOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

/** Creates parsers that count their calls for each document. */
function counting() {
  const parse = {
    manifest: mock.fn(parsing.manifest),
    links: mock.fn(parsing.links),
    config: mock.fn(parsing.config),
    filtered: mock.fn(parsing.filtered),
  };
  const caches = createMemoryCaches(() => 0);
  return { parse, caches, documents: rememberingDocuments(caches, parse) };
}

const amd64 = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [] });
const arm64 = image({ platform: { os: 'linux', architecture: 'arm64' }, layers: [] });
const both = index([amd64, arm64], { attestations: true });

suite('documents of registries', () => {
  test('are parsed once, and each caller gets the same result', () => {
    const { parse, documents } = counting();
    const served = servedOf(amd64.bytes);
    const config = amd64.config.content as Uint8Array;
    const kept = new Set([amd64.descriptor.digest]);
    const all = Array.from({ length: 3 }, () => [
      documents.manifest(served),
      documents.links(served),
      documents.config(sha256(config), config),
      documents.filtered(servedOf(both.bytes), kept),
    ]);
    for (const { mock: calls } of Object.values(parse)) assert.equal(calls.callCount(), 1);
    for (const results of all) assert.deepEqual(results, all[0]);
    assert.deepEqual(all[0]?.[0], parsing.manifest(served));
  });

  test('are refused repeatedly after one parse', () => {
    const { parse, documents } = counting();
    const bombs = [
      jsonOf({ manifests: Array(1001).fill({}) }),
      jsonOf({ layers: Array(1001).fill({}), config: amd64.config.descriptor }),
      Buffer.from(`{"a":[${'{},'.repeat(500_000)}{}]}`),
      Buffer.from('['.repeat(100_000)),
    ];
    for (const bytes of bombs) {
      const served = servedOf(bytes, MEDIA_TYPES.ociIndex);
      const refusals = Array.from({ length: 3 }, () => {
        try {
          return documents.manifest(served);
        } catch (error) {
          const { code, message, status } = error as { code: string; message: string; status: number };
          return { code, message, status };
        }
      });
      assert.ok(refusals[0] && 'code' in refusals[0], 'The first is refused');
      assert.deepEqual(refusals[1], refusals[0]);
      assert.deepEqual(refusals[2], refusals[0]);
    }
    assert.equal(parse.manifest.mock.callCount(), bombs.length);
  });

  test('are distinguished by their media types and by the kept images', () => {
    const { documents } = counting();
    const bytes = jsonOf({ manifests: [] });
    assert.equal(documents.manifest(servedOf(bytes, MEDIA_TYPES.ociIndex)).kind, 'index');
    assert.throws(() => documents.manifest(servedOf(bytes, MEDIA_TYPES.ociManifest)), {
      code: 'registry-failed',
    });
    const filtered = [amd64, arm64].map(({ descriptor }) =>
      documents.filtered(servedOf(both.bytes), new Set([descriptor.digest])),
    );
    assert.notEqual(filtered[0]?.digest, filtered[1]?.digest);
  });

  test('use a cache in the list, within its limit', () => {
    const { caches, documents } = counting();
    for (let at = 0; at < 200; at += 1) {
      const layers = Array.from({ length: 1000 }, (_, layer) => ({
        ...{ mediaType: 'application/vnd.oci.image.layer.v1.tar', size: 1 },
        digest: sha256(Buffer.from(`${at} ${layer}`)),
      }));
      const body = { schemaVersion: 2, config: amd64.config.descriptor, layers };
      documents.links(servedOf(jsonOf(body), MEDIA_TYPES.ociManifest));
    }
    const [use] = caches.uses();
    assert.equal(use?.name, 'parsed-documents');
    assert.ok(use.bytes > 2 ** 20 && use.bytes <= use.limit, `${use.bytes} bytes`);
    assert.ok(use.limit <= 32 * 2 ** 20, `${use.limit} bytes`);
  });
});
