import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { ServiceError } from '../../src/errors.ts';
import { type NamePattern, parseNamePattern } from '../../src/oci/name-pattern.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { createAllowlist } from '../../src/policy/allowlist.ts';
import { PUBLIC_REGISTRIES } from '../../src/policy/public-registries.ts';

function isAllowed(
  image: string,
  { allow = ['**'], deny = [] }: { allow?: readonly (string | NamePattern)[]; deny?: readonly string[] },
): boolean {
  try {
    createAllowlist({ allow: allow.map(patternOf), deny: deny.map(parseNamePattern) }).check(
      parseReference(image),
    );
    return true;
  } catch (error) {
    assert.ok(error instanceof ServiceError && error.code === 'image-not-allowed', String(error));
    return false;
  }
}

function patternOf(pattern: string | NamePattern): NamePattern {
  return typeof pattern === 'string' ? parseNamePattern(pattern) : pattern;
}

suite('allowlist', () => {
  const globs: [string, string[], string[]][] = [
    [
      'docker.io/library/busybox',
      ['busybox', 'busybox:1.36'],
      ['alpine', 'busybox/x', 'quay.io/library/busybox'],
    ],
    ['docker.io/library/*', ['busybox', 'alpine'], ['grafana/grafana', 'docker.io/library/a/b']],
    ['docker.io/*', ['busybox', 'docker.io/library/alpine'], ['grafana/grafana', 'ghcr.io/busybox']],
    ['docker.io/ngin*', ['nginx'], ['alpine', 'nginx/nginx', 'nginxinc/nginx']],
    ['docker.io/{nginx,redis}', ['nginx', 'redis'], ['alpine', 'redis/redis']],
    ['docker.io/{nginx,grafana/*}', ['nginx', 'grafana/grafana'], ['alpine', 'grafana']],
    ['registry.hub.docker.com/*', ['busybox'], ['grafana/grafana']],
    ['library/*', ['busybox'], ['grafana/grafana', 'ghcr.io/library/busybox', 'docker.io/library/a/b']],
    ['library/**', ['busybox', 'docker.io/library/a/b'], ['grafana/grafana', 'ghcr.io/library/busybox']],
    ['docker.io/**', ['busybox', 'grafana/grafana'], ['ghcr.io/a']],
    ['docker.io/*/*', ['busybox', 'grafana/grafana'], ['docker.io/a/b/c']],
    ['ghcr.io/**', ['ghcr.io/a', 'ghcr.io/a/b/c/d'], ['ghcr.io.evil.example/a', 'evil.example/ghcr.io/a']],
    ['ghcr.io/*/app', ['ghcr.io/org/app'], ['ghcr.io/app', 'ghcr.io/org/sub/app', 'ghcr.io/org/app2']],
    ['ghcr.io/**/app', ['ghcr.io/app', 'ghcr.io/org/sub/app'], ['ghcr.io/org/app/x']],
    ['ghcr.io/org/team-*', ['ghcr.io/org/team-a'], ['ghcr.io/org/team', 'ghcr.io/org/team-a/b']],
    ['*.gcr.io/**', ['eu.gcr.io/p/i'], ['gcr.io/p/i', 'a.b.example/eu.gcr.io/i', 'eu.gcr.io.evil.example/i']],
    ['registry.lan:5000/**', ['registry.lan:5000/a'], ['registry.lan/a', 'registry.lan:5001/a']],
    [
      'registry.lan/**',
      ['registry.lan/a', 'registry.lan:443/a'],
      ['registry.lan:5000/a', 'registry.lan:80/a'],
    ],
    ['registry.lan:*/**', ['registry.lan:5000/a'], ['registry.lanx:5000/a']],
    ['ghcr.io/{a,b}/**', ['ghcr.io/a/x', 'ghcr.io/b/x'], ['ghcr.io/c/x']],
    ['**', ['busybox', 'any.example:1/a/b/c'], []],
  ];
  for (const [glob, inside, outside] of globs) {
    test(`${glob} lets in what it says and nothing else`, () => {
      for (const image of inside) assert.equal(isAllowed(image, { allow: [glob] }), true, image);
      for (const image of outside) assert.equal(isAllowed(image, { allow: [glob] }), false, image);
    });
  }

  const written: [string, string][] = [
    ['GHCR.io/**', 'ghcr.io/a'],
    ['ghcr.io/Some-Org/**', 'ghcr.io/some-org/a'],
    ['ghcr.io:443/**', 'ghcr.io/a'],
    ['*.GCR.io:443/**', 'eu.gcr.io/p/i'],
    ['index.docker.io/library/*', 'busybox'],
    ['docker.io/busybox', 'busybox'],
    ['grafana/grafana', 'docker.io/grafana/grafana'],
    ['[::1]:5000/a', '[::1]:5000/a'],
  ];
  for (const [glob, image] of written) {
    test(`${glob} lets ${image} in`, () => assert.equal(isAllowed(image, { allow: [glob] }), true));
  }

  for (const glob of ['', 'busybox', 'a b/**', '/x', 'ghcr.io/a:1', 'grafana/*', 'https://ghcr.io/**']) {
    test(`${JSON.stringify(glob)} is not a pattern`, () => {
      assert.throws(() => parseNamePattern(glob), /must be a glob over registry\/repository/);
    });
  }

  test('nothing is allowed by no pattern', () => assert.equal(isAllowed('busybox', { allow: [] }), false));

  test('deny wins, however narrow the allowing pattern is', () => {
    const rules = { allow: ['ghcr.io/org/app', 'ghcr.io/**'], deny: ['ghcr.io/org/**'] };
    assert.equal(isAllowed('ghcr.io/org/app', rules), false);
    assert.equal(isAllowed('ghcr.io/other/app', rules), true);
  });

  test('a tag or a digest changes nothing', () => {
    const rules = { deny: ['ghcr.io/org/**'] };
    assert.equal(isAllowed(`ghcr.io/org/app:1@sha256:${'0'.repeat(64)}`, rules), false);
  });

  test('the refusal names the image and its registry', () => {
    assert.throws(
      () => createAllowlist({ allow: [], deny: [] }).check(parseReference('evil.example:81/a/b:c')),
      {
        code: 'image-not-allowed',
        status: 403,
        message: /"evil\.example:81\/a\/b"/,
        reason: 'Images from evil.example:81 are not allowed here',
      },
    );
  });

  test('the public registries let in the familiar ones and no private host', () => {
    for (const image of ['busybox', 'ghcr.io/a/b', 'quay.io/a/b', 'europe-docker.pkg.dev/p/r/i']) {
      assert.equal(isAllowed(image, { allow: PUBLIC_REGISTRIES }), true, image);
    }
    for (const image of [
      'localhost/a',
      '127.0.0.1:5000/a',
      'registry.lan/a',
      'ghcr.io:8080/a',
      'x.y.gcr.io.lan/a',
    ]) {
      assert.equal(isAllowed(image, { allow: PUBLIC_REGISTRIES }), false, image);
    }
  });
});

suite('one registry under other spellings', () => {
  const denied: [string, string][] = [
    ['ghcr.io/**', 'GHCR.io/a'],
    ['ghcr.io/**', 'ghcr.io:443/a'],
    ['ghcr.io/**', 'GhCr.Io:443/a'],
    ['Registry/**', 'Registry/a'],
    ['ghcr.io/**', 'ghcr.io:0443/a'],
    ['registry.lan:5000/**', 'registry.lan:05000/a'],
    ['docker.io/library/**', 'registry-1.docker.io:443/library/busybox'],
    ['docker.io/library/**', 'docker.io:443/busybox'],
    ['docker.io/*', 'busybox'],
    ['docker.io/busy*', 'docker.io:443/busybox'],
    ['index.docker.io/busy*', 'library/busybox'],
    ['library/*', 'registry-1.docker.io/busybox'],
    ['203.0.113.1/**', '203.0.28929/a'],
    ['[::1]:5000/**', '[::1]:5000/a'],
    ['[::1]:5000/**', '[0:0::1]:5000/a'],
    ['docker.io/library/**', 'index.docker.io/busybox'],
    ['docker.io/library/**', 'registry-1.docker.io/library/busybox'],
    ['docker.io/library/**', 'Registry.Hub.Docker.com/library/busybox'],
  ];
  for (const [deny, image] of denied) {
    test(`${image} does not slip past deny ${deny}`, () =>
      assert.equal(isAllowed(image, { deny: [deny] }), false));
  }

  const label = fc.stringMatching(/^[a-z]{1,4}$/);
  const spelling = fc
    .tuple(
      fc.array(label, { minLength: 2, maxLength: 3 }),
      fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }),
      fc.boolean(),
    )
    .map(([labels, isUpper, withPort]) => {
      const host = labels.join('.');
      const typed = [...host].map((sign, at) => (isUpper[at] ? sign.toUpperCase() : sign)).join('');
      return { host, typed: withPort ? `${typed}:443` : typed };
    });

  test('case and the port 443 change neither what is allowed nor what is denied', () => {
    fc.assert(
      fc.property(spelling, ({ host, typed }) => {
        assert.equal(isAllowed(`${typed}/a/b`, { deny: [`${host}/**`] }), false);
        assert.equal(isAllowed(`${typed}/a/b`, { allow: [`${host}/**`] }), true);
        assert.equal(isAllowed(`${typed}/a/b`, { allow: [`x${host}/**`] }), false);
      }),
    );
  });
});

suite('globs against an independent reading', () => {
  const segment = fc.stringMatching(/^[ab]{1,3}$/);
  const patternSegment = fc.oneof(segment, fc.stringMatching(/^[ab*]{1,3}$/).map(oneStar), fc.constant('**'));
  const pattern = fc
    .tuple(
      fc.constantFrom('a.io', 'b.io', '*.io', '**'),
      fc.array(patternSegment, { minLength: 1, maxLength: 3 }),
    )
    .map(([host, segments]) => [host, ...segments].join('/'));
  const name = fc
    .tuple(fc.constantFrom('a.io', 'b.io', 'c.net'), fc.array(segment, { minLength: 1, maxLength: 4 }))
    .map(([host, segments]) => [host, ...segments].join('/'));
  const patterns = fc.array(pattern, { maxLength: 3 });

  test('a name outside all patterns is never allowed, one inside is unless it is denied', () => {
    fc.assert(
      fc.property(patterns, patterns, name, (allow, deny, image) => {
        const expected = allow.some((glob) => fits(glob, image)) && !deny.some((glob) => fits(glob, image));
        assert.equal(isAllowed(image, { allow, deny }), expected);
      }),
      { numRuns: 5000 },
    );
  });

  /** Two stars side by side within a segment have no meaning of their own. */
  function oneStar(text: string): string {
    return text.replace(/\*+/g, '*');
  }

  function fits(glob: string, image: string): boolean {
    return fitsSegments(glob.split('/'), image.split('/'));
  }

  function fitsSegments([first, ...later]: string[], segments: string[]): boolean {
    if (first === undefined) return segments.length === 0;
    if (first !== '**') {
      const part = new RegExp(`^${first.replaceAll('.', '\\.').replaceAll('*', '.*')}$`);
      return segments.length > 0 && part.test(segments[0] ?? '') && fitsSegments(later, segments.slice(1));
    }
    if (later.length === 0) return segments.length > 0;
    return segments.some((_, taken) => fitsSegments(later, segments.slice(taken)));
  }
});
