import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc, { type Arbitrary } from 'fast-check';
import { FORMATS } from '../../src/archive/format.ts';
import { layoutArchive } from '../../src/archive/layout.ts';
import { type ErrorCode, ServiceError } from '../../src/errors.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { isDigest, sha256 } from '../../src/oci/digest.ts';
import {
  filterIndex,
  type ImageManifest,
  MEDIA_TYPES,
  parseImageConfig,
  parseManifest,
  parseManifestLinks,
} from '../../src/oci/manifest.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { bytesOf, mutatedJson } from './arbitraries.ts';
import { runs } from './budget.ts';

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;
const LAYER = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digest('2'), size: 2000 };
const IMAGE = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociManifest,
  config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest('1'), size: 100 },
  layers: [LAYER, { ...LAYER, digest: digest('3'), urls: ['https://vendor.example/layer'] }],
};
const platform = { os: 'linux', architecture: 'arm', variant: 'v7' };
const ENTRY = { mediaType: MEDIA_TYPES.ociManifest, digest: digest('4'), size: 500 };
const INDEX = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.ociIndex,
  manifests: [
    { ...ENTRY, platform },
    { ...ENTRY, annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } },
  ],
};
const CONFIG = {
  ...platform,
  created: '2026-01-01T00:00:00Z',
  config: { Entrypoint: ['/bin/sh'], Cmd: ['-c'], ExposedPorts: { '80/tcp': {} }, User: 'root' },
  rootfs: { type: 'layers', diff_ids: [digest('5'), digest('6')] },
};
/** The codes with which a manifest can be refused. */
const REFUSALS: ErrorCode[] = ['registry-failed', 'not-an-image', 'manifest-outdated', 'too-many-layers'];
const REFERENCE = parseReference('registry.example/a/b:1');

const contentType = fc.constantFrom(
  undefined,
  '',
  'application/json',
  ...Object.values(MEDIA_TYPES),
  ';',
  'a/b; c="d"',
);

/** Returns the parsed value; undefined if it was refused correctly. */
function orRefused<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    assert.ok(error instanceof ServiceError, `${error}`);
    assert.ok(REFUSALS.includes(error.code), error.code);
    assert.match(error.message, /^[\x20-\x7e]{1,400}$/);
    return undefined;
  }
}

function assertSound({ digest, size, urls = [], platform }: Descriptor): void {
  assert.ok(isDigest(digest));
  assert.ok(Number.isSafeInteger(size) && size >= 0);
  assert.ok(urls.length <= 3 && urls.every((url) => typeof url === 'string'));
  for (const word of Object.values(platform ?? {})) assert.match(`${word}`, /^[\w.+-]{1,64}$/);
}

/** An archive is laid out without gaps, or two sizes of one blob are found out. */
function assertLaidOut({ mediaType, config, layers }: ImageManifest, manifestBytes: Uint8Array): void {
  const manifest = { mediaType, digest: sha256(manifestBytes), size: manifestBytes.length };
  try {
    const image = { reference: REFERENCE, manifest, manifestBytes, config, layers, configPlatform: {} };
    const { size, slices } = layoutArchive(FORMATS.docker.entries([image]));
    if (!Number.isSafeInteger(size)) return;
    assert.equal(size % 512, 0);
    assert.equal(slices[0]?.offset, 0);
  } catch (error) {
    assert.ok(error instanceof ServiceError && error.code === 'content-mismatch', `${error}`);
  }
}

function assertParsed(bytes: Uint8Array, type: string | undefined): void {
  const parsed = orRefused(() => parseManifest(bytes, type));
  if (parsed?.kind === 'index') parsed.manifests.forEach(assertSound);
  if (parsed?.kind !== 'image') return;
  assert.ok(parsed.layers.length <= 1000);
  [parsed.config, ...parsed.layers].forEach(assertSound);
  assertLaidOut(parsed, bytes);
}

/** A document with some of its bytes changed, cut or repeated. */
function damaged(value: unknown): Arbitrary<Uint8Array> {
  const whole = bytesOf(value);
  const change = fc.tuple(fc.nat(whole.length - 1), fc.nat(255));
  return fc
    .tuple(fc.array(change, { maxLength: 5 }), fc.nat(whole.length), fc.boolean())
    .map(([changes, cut, isCut]) => {
      const bytes = whole.slice(0, isCut ? cut : whole.length);
      for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
      return bytes;
    });
}

suite('arbitrary manifests', { concurrency: true }, () => {
  test('for a manifest is refused, or an archive can be laid out of it', () => {
    fc.assert(
      fc.property(mutatedJson(IMAGE), contentType, (body, type) => assertParsed(bytesOf(body), type)),
      runs('manifests'),
    );
  });

  test('for an index is refused, or a list of sound descriptors', () => {
    fc.assert(
      fc.property(mutatedJson(INDEX), contentType, (body, type) => assertParsed(bytesOf(body), type)),
      runs('indexes'),
    );
  });

  test('for a config is refused, or tells a platform and a number of layers', () => {
    fc.assert(
      fc.property(mutatedJson(CONFIG), (body) => {
        const config = orRefused(() => parseImageConfig(bytesOf(body)));
        if (config === undefined) return;
        const { diffIds, created, summary } = config;
        assert.ok(Array.isArray(diffIds));
        assert.ok(created === undefined || !Number.isNaN(created.getTime()));
        for (const text of [...(summary.entrypoint ?? []), ...summary.exposedPorts])
          assert.equal(typeof text, 'string');
      }),
      runs('configs'),
    );
  });

  test('as bytes, even without JSON, are refused or read', () => {
    const bytes = fc.oneof(...[IMAGE, INDEX, CONFIG].map(damaged), fc.uint8Array({ maxLength: 200 }));
    fc.assert(
      fc.property(bytes, contentType, (body, type) => {
        assertParsed(body, type);
        orRefused(() => parseManifestLinks(body, type));
        orRefused(() => filterIndex(body, new Set()));
        orRefused(() => parseImageConfig(body));
      }),
      runs('bytes'),
    );
  });
});
