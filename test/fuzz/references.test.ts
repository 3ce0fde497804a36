import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { archiveFilename } from '../../src/archive/filename.ts';
import { CatalogueError } from '../../src/errors.ts';
import { parseArchivePath, parseArchiveQuery } from '../../src/http/archive-query.ts';
import { formatPlatform, parsePlatform } from '../../src/oci/platform.ts';
import { formatReference, parseReference, type Reference } from '../../src/oci/reference.ts';
import { registryOrigin } from '../../src/registry/client.ts';
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

/** What the parser says, which is either an answer or a refusal fit for headers, logs and terminals. */
function orRefused<T>(parse: () => T, status: number): T | undefined {
  try {
    return parse();
  } catch (error) {
    assert.ok(error instanceof CatalogueError, `${error}`);
    assert.equal(error.status, status);
    assert.match(error.message, /^[\x20-\x7e]+$/);
    assert.ok(error.message.length < 600);
    return undefined;
  }
}

/** A reference leads to the API of its own registry and to no other path of it. */
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
  assert.match(archiveFilename([reference], undefined), /^(?!\.)[\w.+-]{1,250}\.tar$/);
}

suite('whatever is typed', { concurrency: true }, () => {
  test('as a reference is refused, or leads to its registry’s own API', () => {
    fc.assert(
      fc.property(text, (typed) => {
        const reference = orRefused(() => parseReference(typed), 400);
        if (reference !== undefined) assertHarmless(reference);
      }),
      runs('references'),
    );
  });

  test('as a query is refused, or asks for at most ten harmless images', () => {
    const name = fc.oneof(
      fc.constantFrom('myimage', 'platform', 'format', 'stream', '__proto__', 'constructor'),
      hostileText(['myimage'], 3),
    );
    const value = fc.oneof(text, fc.constantFrom('linux/arm64', 'oci', 'docker', '0', '1', ''));
    const query = fc.dictionary(name, fc.oneof(value, fc.array(value, { maxLength: 12 })), { maxKeys: 4 });
    fc.assert(
      fc.property(query, text, (typed, file) => {
        const parsed = orRefused(() => parseArchiveQuery(typed), 400);
        assert.ok(parsed === undefined || (parsed.references.length > 0 && parsed.references.length <= 10));
        parsed?.references.forEach(assertHarmless);
        if (file.endsWith('.tar')) {
          orRefused(() => parseArchivePath(file, typed), 400)?.references.forEach(assertHarmless);
        }
      }),
      runs('queries'),
    );
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
