import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { archiveFilename } from '../../src/archive/archive-name.ts';
import {
  type ArchiveQuery,
  namedImages,
  parseArchivePath,
  parseArchiveQuery,
} from '../../src/download/query.ts';
import { ServiceError } from '../../src/errors.ts';
import { formatPlatform, parsePlatform } from '../../src/oci/platform.ts';
import { isSeveral } from '../../src/oci/platform-choice.ts';
import { formatReference, parseReference, type Reference } from '../../src/oci/reference.ts';
import { registryOrigin } from '../../src/oci/registry-host.ts';
import { hostileText, mutated } from './arbitraries.ts';
import { runs } from './budget.ts';

const HEX = '0123456789abcdef'.repeat(4);
const PARTS = [
  ...[
    'busybox',
    'library/',
    'docker.io/',
    'ghcr.io/org/app',
    'localhost:5000/',
    '[::1]:5000/',
    '127.0.0.1/',
    'xn--a.example/',
  ],
  ...[':1.36', ':latest', `@sha256:${HEX}`, 'sha512:', 'https://', 'user:pass@', '.tar', '__', '--'],
];
const text = fc.oneof(
  hostileText(PARTS, 8),
  mutated(fc.constantFrom(...PARTS, 'ghcr.io/a/b:1', `a/b@sha256:${HEX}`), PARTS),
);

/** Returns the parser's result. A refusal must be safe for headers, logs and terminals. */
function orRefused<T>(parse: () => T, status: number): T | undefined {
  try {
    return parse();
  } catch (error) {
    assert.ok(error instanceof ServiceError, `${error}`);
    assert.equal(error.status, status);
    assert.match(error.message, /^[\x20-\x7e]+$/);
    assert.ok(error.message.length < 600);
    return undefined;
  }
}

/** Asserts that a reference stays within the API of its own registry. */
function assertHarmless(reference: Reference): void {
  const { domain, path, tag, digest } = reference;
  const written = formatReference(reference);
  assert.match(written, /^[!-~]+$/);
  assert.equal(formatReference(parseReference(written)), written, 'the normal form is a fixed point');
  const origin = registryOrigin(domain, new Set());
  const wanted = `/v2/${path}/manifests/${digest ?? tag}`;
  const url = new URL(`${origin}${wanted}`);
  assert.equal(url.pathname, wanted);
  assert.equal(`${url.search}${url.hash}${url.username}${url.password}`, '');
  assert.equal(url.origin, origin);
  assert.match(
    archiveFilename({ references: [reference], format: 'docker', platform: undefined }),
    /^(?!\.)[\w.+-]{1,250}\.tar$/,
  );
}

/** Asserts that an accepted query requests a limited number of valid images and parts. */
function assertAsked(query: ArchiveQuery): void {
  const { references, have, parts, platform, format, referrers, compress, squash, name } = query;
  assert.ok(references.length > 0 && references.length <= 10);
  assert.ok((have?.references.length ?? 0) <= 10);
  namedImages(query).forEach(assertHarmless);
  for (const layer of have?.layers ?? []) assert.match(layer, /^sha(?:256|384|512):[0-9a-f]{64,128}$/);
  if (isSeveral(platform)) assert.equal(format, 'oci');
  if (referrers) assert.equal(format, 'oci');
  if (compress !== undefined) assert.equal(format, 'rootfs');
  if (squash) assert.equal(format, 'docker-classic');
  if (name !== undefined) {
    assertHarmless(name);
    assert.deepEqual([references.length, name.digest], [1, undefined]);
  }
  if (parts === undefined) return;
  assert.ok(Number.isSafeInteger(parts.limit) && parts.limit >= 2 ** 20, `${parts.limit}`);
  const { number = 1 } = parts;
  assert.ok(Number.isSafeInteger(number) && number >= 1 && number < 1e6, `${number}`);
}

suite('arbitrary typed text', { concurrency: true }, () => {
  test('as a reference is refused, or stays within its registry’s own API', () => {
    fc.assert(
      fc.property(text, (typed) => {
        const reference = orRefused(() => parseReference(typed), 400);
        if (reference !== undefined) assertHarmless(reference);
      }),
      runs('references'),
    );
  });

  test('as a query is refused, or asks for at most ten harmless images', () => {
    const names = [
      ...['myimage', 'platform', 'format', 'stream', 'have', 'parts', 'part', 'referrers'],
      ...['checksum', 'metalink', 'redirect', 'compress', 'squash', 'name'],
    ];
    const name = fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom(...names) },
      { weight: 1, arbitrary: fc.constantFrom('__proto__', 'constructor') },
      { weight: 1, arbitrary: hostileText(['myimage'], 3) },
    );
    const size = hostileText(['4', 'GiB', '25MB', '1MiB', '0', '1e9', '-', '.5'], 3);
    const value = fc.oneof(
      text,
      size,
      fc.constantFrom('linux/arm64', 'linux/amd64,linux/arm64', 'all', 'oci', 'docker', '0', '1', '2', ''),
    );
    const query = fc.oneof(
      fc.dictionary(name, fc.oneof(value, fc.array(value, { maxLength: 12 })), { maxKeys: 4 }),
      // The possible values of each part, so that many of them pass together.
      fc.record(
        {
          myimage: fc.oneof(fc.constant('busybox'), text),
          platform: fc.constantFrom('all', 'linux/arm64', 'linux/amd64,linux/arm64'),
          format: fc.constantFrom('oci', 'docker'),
          have: fc.array(fc.oneof(fc.constantFrom('busybox:1.35', `sha256:${HEX}`), text), { maxLength: 12 }),
          parts: fc.oneof(fc.constantFrom('4GiB', '1MiB'), size),
          part: fc.constantFrom('1', '999999', '0', '1000000', '01', '1.5'),
          name: fc.oneof(fc.constantFrom('mine:1', 'busybox', `a@sha256:${HEX}`), text),
          stream: fc.constantFrom('0', '1'),
          referrers: fc.constantFrom('0', '1', '2'),
          checksum: fc.constantFrom('0', '1'),
          metalink: fc.constantFrom('0', '1'),
          redirect: fc.constantFrom('0', '1'),
        },
        { requiredKeys: ['myimage'] },
      ),
      // Most other parameters exclude compression.
      fc.record({
        myimage: fc.oneof(fc.constant('busybox'), text),
        format: fc.constantFrom('rootfs', 'docker'),
        compress: fc.constantFrom('gzip', 'zstd', 'xz'),
      }),
      fc.record({
        myimage: fc.oneof(fc.constant('busybox'), text),
        format: fc.constantFrom('docker-classic', 'rootfs'),
        squash: fc.constantFrom('0', '1', '2'),
      }),
    );
    const taken = new Set<string>();
    fc.assert(
      fc.property(
        query,
        text,
        fc.constantFrom('.tar', '.tar.sha256', '.tar.meta4'),
        (typed, file, ending) => {
          const parsed = orRefused(() => parseArchiveQuery(typed), 400);
          if (parsed !== undefined) {
            assertAsked(parsed);
            for (const key of Object.keys(typed)) taken.add(key);
          }
          const { myimage: _, ...others } = typed;
          const byPath = orRefused(() => parseArchivePath(`${file}${ending}`, others), 400);
          if (byPath === undefined) return;
          assertAsked(byPath);
          const kind = byPath.kind === 'redirect' ? byPath.target : byPath.kind;
          if (ending !== '.tar') assert.ok(kind === 'checksum' || kind === 'metalink', kind);
        },
      ),
      runs('queries'),
    );
    for (const known of names) assert.ok(taken.has(known), `${known} was never taken`);
  });

  test('as a platform is refused, or is written as it is read', () => {
    const parts = ['linux', 'windows', 'arm64', 'amd64', 'v7', 'v8', '/', 'x86_64', '__proto__'];
    fc.assert(
      fc.property(fc.oneof(hostileText(parts, 6), mutated(fc.constant('linux/arm/v7'), parts)), (typed) => {
        const platform = orRefused(() => parsePlatform(typed), 400);
        if (platform === undefined) return;
        const written = formatPlatform(platform);
        assert.match(written, /^[\w.-]+\/[\w-]+(?:\/[\w.-]+)?$/);
        assert.equal(formatPlatform(parsePlatform(written)), written);
      }),
      runs('platforms'),
    );
  });
});
