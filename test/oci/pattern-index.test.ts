import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { parseGlob } from '../../src/oci/glob.ts';
import { canonicalName, type NamePattern, parseNamePattern } from '../../src/oci/name-pattern.ts';
import { indexPatterns } from '../../src/oci/pattern-index.ts';
import { parseReference, type Repository } from '../../src/oci/reference.ts';
import { runInterruptibly } from '../support/interruptible.ts';

/** Finds the expected result with Node's own glob matching, one pattern after the other. */
function findOneByOne(patterns: readonly NamePattern[], repository: Repository): number | undefined {
  const name = canonicalName(repository);
  const place = patterns.findIndex(({ glob }) => posix.matchesGlob(name, glob));
  return place === -1 ? undefined : place;
}

suite('an index of patterns', () => {
  const oneOf = (parts: readonly string[], maxLength: number) =>
    fc.array(fc.constantFrom(...parts), { minLength: 1, maxLength }).map((chosen) => chosen.join(''));
  const plain = oneOf(['a', 'b', '1', '-a', '.b'], 3).map((text) => text.replace(/^\W+/, ''));
  const segment = plain.map((text) => text || 'a');
  const wild = oneOf(['a', 'b', '1', '-', '*', '*', '?', '[ab]', '[!a]', '[a-b]', '{a,b}', '{,a/b}'], 5);
  const odd = oneOf(
    [
      ...['a', 'b', '*', '**', '{', '}', ',', '[', ']', '(', ')', '|', '!', '+', '@', '?', '-', '..', '.'],
      '/',
    ],
    7,
  );
  const pattern = fc
    .tuple(
      fc.constantFrom('a.io', 'b.io', '*.io', '?.io', '{a,b}.io', '**', '[::1]:5000', '*'),
      fc.array(
        fc.oneof(
          { weight: 3, arbitrary: segment },
          { weight: 3, arbitrary: wild },
          { weight: 2, arbitrary: fc.constant('**') },
          { weight: 1, arbitrary: odd },
        ),
        { minLength: 1, maxLength: 4 },
      ),
    )
    .map(([host, segments]) => [host, ...segments].join('/'));
  const patterns = fc.array(pattern, { minLength: 1, maxLength: 6 }).map((texts) =>
    texts.flatMap((text) => {
      try {
        return parseNamePattern(text);
      } catch {
        return [];
      }
    }),
  );
  const repository = fc
    .tuple(
      fc.constantFrom('a.io', 'b.io', 'c.io:5000', '[::1]:5000'),
      fc.array(segment, { minLength: 1, maxLength: 4 }),
    )
    .map(([host, segments]) => parseReference([host, ...segments].join('/')));

  test('finds what Node finds by one glob after the other, and the first of it', () => {
    let found = 0;
    let taken = 0;
    fc.assert(
      fc.property(patterns, fc.array(repository, { minLength: 1, maxLength: 8 }), (list, repositories) => {
        const find = indexPatterns(list);
        taken += list.filter(({ glob }) => parseGlob(glob) !== undefined).length;
        for (const one of repositories) {
          const expected = findOneByOne(list, one);
          assert.equal(find(one), expected, `${one.name} in ${list.map(({ glob }) => glob).join(' ')}`);
          if (expected !== undefined) found += 1;
        }
      }),
      { numRuns: 4000 },
    );
    assert.ok(found > 1000 && taken > 4000, `${found} found, ${taken} globs taken apart`);
  });

  test('knows globs of every sort', () => {
    const cases: [string, string[], string[]][] = [
      ['a.io/+(a|b)/x', ['a.io/ab/x'], ['a.io/c/x']],
      ['a.io/!(a)/x', ['a.io/b/x'], ['a.io/a/x']],
      ['a.io/v{1..3}', ['a.io/v2'], ['a.io/v4']],
      ['a.io/{a,{b,c}/d}', ['a.io/a', 'a.io/c/d'], ['a.io/b', 'a.io/a/d']],
      ['a.io/[a-c]?', ['a.io/bz'], ['a.io/dz', 'a.io/b']],
      ['a.io/[!a-c]*', ['a.io/dz', 'a.io/d'], ['a.io/bz']],
      ['a.io/a*b*c', ['a.io/abc', 'a.io/axbxbc'], ['a.io/acb', 'a.io/ac']],
      ['a.io/**/b/**/c', ['a.io/b/c', 'a.io/x/b/b/y/c'], ['a.io/c/b', 'a.io/b/x']],
    ];
    for (const [glob, inside, outside] of cases) {
      const find = indexPatterns([parseNamePattern(glob)]);
      for (const image of inside) assert.equal(find(parseReference(image)), 0, `${image} in ${glob}`);
      for (const image of outside)
        assert.equal(find(parseReference(image)), undefined, `${image} in ${glob}`);
    }
  });

  // Matching each glob in turn took 114 ms for each name, so a request with twenty names delayed all others.
  const lists: [pattern: string, matches: number][] = [
    ['docker.io/org#/app', 0],
    ['org#.example/**', 0],
    ['quay.io/org#/*', 0],
    ['*.io/org#/app', 1],
    ['registry.lan/?*/org#', 1],
    // The index must match each of these separately, with a regular expression.
    ['registry.lan/*-org#/app', 10_000],
  ];
  for (const [written, matches] of lists) {
    test(`needs ${matches} matches for a name among 10,000 patterns such as ${written}`, (context: TestContext) => {
      const list = Array.from({ length: 10_000 }, (_, at) => parseNamePattern(written.replace('#', `${at}`)));
      const find = indexPatterns(list);
      const name = parseReference('registry.lan/team/app');
      const globs = context.mock.method(posix, 'matchesGlob').mock;
      const tests = context.mock.method(RegExp.prototype, 'test').mock;
      assert.equal(find(name), undefined);
      assert.deepEqual([globs.callCount(), tests.callCount()], [0, matches]);
      const last = written.replace('#', '9999').replace('**', 'a').replace('?*', 'a').replace('*', 'a');
      assert.equal(find(parseReference(last)), 9999, last);
    });
  }

  test('is fast for a name that almost matches', () => {
    const globs = [
      `a.io/${'*a'.repeat(30)}b`,
      `a.io/${'{a,*a}'.repeat(8)}b`,
      `a.io/${'**/a/'.repeat(20)}b`,
      `**/${'*/**/'.repeat(20)}b`,
    ];
    const names = [`a.io/${'a'.repeat(245)}`, `a.io/${'a/'.repeat(120)}a`];
    const find = indexPatterns(globs.map(parseNamePattern));
    for (const name of names) {
      const repository = parseReference(name);
      assert.equal(
        runInterruptibly(() => find(repository)),
        undefined,
      );
    }
  });
});
