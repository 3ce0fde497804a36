import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { compareTags, indexAfter, sortTags } from '../../src/oci/tag-order.ts';

const orders: [what: string, tags: string][] = [
  ['latest is on top', 'latest 99.0 1 alpine'],
  ['the newest version comes first, by number', '1.10 1.9 1.8.12 1.8.2'],
  ['what moves stands before what it may point at', '2 2.1 2.1.1 2.1.0 1 1.27 1.27.3 1.27.2'],
  [
    'pre-releases follow the release of their version',
    '1.27.0 1.27.0-alpine 1.27.0-rc2 1.27.0-rc1 1.27.0-beta3 1.27.0-alpha1 1.26.9',
  ],
  ['a pre-release of a short version is of its first release', '1.27.1 1.27.0 1.27-rc.1 1.26'],
  ["Python's pre-releases are known", '3.13.0 3.13.0rc2 3.13.0b4 3.13.0a1 3.12.7'],
  ['a v makes no difference', 'v2.0.0 1.9.0 v1.8.0'],
  [
    'variants follow their version, the newest base first',
    '1.27 1.27-alpine 1.27-alpine3.20 1.27-alpine3.19',
  ],
  ['snapshots by date follow versions', '3.20 3.19.4 20240923 20240606'],
  ['names come last, in the order of the alphabet', '1.0 alpine alpine3.20 alpine3.9 bookworm stable'],
  ['the newest build of a name comes first', 'noble noble-20240429 noble-20240225'],
  ['a commit is a name', '1.0 sha-0f1e2d 1a2b3c4d5e6f'],
  ['underscores separate as dots do', '2.4.58_2 2.4.58_1 2.4.57'],
];

const tag = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}$/),
  fc.stringMatching(/^v?[0-9]{1,2}(?:\.[0-9]{1,2}){0,3}(?:-?(?:rc|beta|alpine|a)[0-9]{0,2})?$/),
  fc.stringMatching(/^(?:1[.]){15,30}[01]{0,3}(?:-(?:a1){0,20})?$/),
  fc.constant('latest'),
);

suite('the order of tags', () => {
  for (const [what, text] of orders) {
    test(what, () => {
      const tags = text.split(' ');
      assert.deepEqual(tags.toReversed().sort(compareTags), tags);
      assert.deepEqual(tags.toSorted().sort(compareTags), tags);
    });
  }

  test('any tags have one order, however they come', () => {
    fc.assert(
      fc.property(tag, tag, tag, (a, b, c) => {
        assert.equal(Math.sign(compareTags(a, b)), -Math.sign(compareTags(b, a)) + 0);
        assert.equal(compareTags(a, b) === 0, a === b);
        if (compareTags(a, b) <= 0 && compareTags(b, c) <= 0)
          assert.ok(compareTags(a, c) <= 0, `${a} ${b} ${c}`);
      }),
      { numRuns: 5000 },
    );
  });

  test('a list is sorted in the same order as pairs', () => {
    fc.assert(
      fc.property(fc.array(tag, { maxLength: 30 }), (tags) =>
        assert.deepEqual(sortTags(tags), tags.toSorted(compareTags)),
      ),
    );
  });

  test('the place after a tag is that of the first one that comes later', () => {
    fc.assert(
      fc.property(fc.array(tag, { maxLength: 30 }), tag, (tags, wanted) => {
        const sorted = sortTags(tags);
        const place = sorted.findIndex((other) => compareTags(wanted, other) < 0);
        assert.equal(indexAfter(sorted, wanted), place === -1 ? sorted.length : place);
      }),
    );
  });

  test('the place after a tag takes few comparisons in a long list', () => {
    const sorted = sortTags(Array.from({ length: 20_000 }, (_, at) => `${'1.'.repeat(60)}${at}`));
    let reads = 0;
    const counted = new Proxy(sorted, {
      get(target, key, receiver) {
        if (typeof key === 'string' && /^\d+$/.test(key)) reads += 1;
        return Reflect.get(target, key, receiver);
      },
    });
    assert.equal(indexAfter(counted, sorted[12_345] ?? ''), 12_346);
    assert.ok(reads <= 16, `${reads} tags of ${sorted.length} are read`);
  });

  const costly: [kind: string, tagAt: (at: number) => string][] = [
    ['dots', (at) => `${'1.'.repeat(60)}${at}`],
    ['runs of digits', (at) => `${'a1'.repeat(60)}b${at}`],
    ['one number', (at) => `${'9'.repeat(120)}${at}`],
    ['zeros', (at) => `${'0'.repeat(120)}${at}`],
    ['stages', (at) => `1.2.3-${'rc1-'.repeat(28)}${at}`],
    ['dates', (at) => `20240101${'.20240101'.repeat(12)}.${at}`],
    ['separators', (at) => `a${'-.'.repeat(60)}${at}`],
    ['characters outside ASCII', (at) => `1.${'\u00e9'.repeat(100)}${at}`],
    ['100,000 characters each', (at) => `${'1'.repeat(100_000)}${at}`],
  ];
  for (const [kind, tagAt] of costly) {
    test(`each tag of a long list is parsed once, with many ${kind}`, (context) => {
      const count = kind.startsWith('100,000') ? 20 : 4_000;
      const tags = Array.from({ length: count }, (_, at) => tagAt(at));
      // Each parse converts to lower case, some once for each stage of a version.
      const lowered = context.mock.method(String.prototype, 'toLowerCase');
      const sorted = sortTags(tags);
      assert.ok(lowered.mock.callCount() <= 6 * count, `${lowered.mock.callCount()} for ${count} tags`);
      context.mock.restoreAll();
      assert.equal(new Set(sorted).size, count);
      assert.equal(indexAfter(sorted, sorted[count / 2] ?? ''), count / 2 + 1);
    });
  }

  test('the release with the higher number comes first', () => {
    const numbers = fc.array(fc.nat({ max: 999 }), { minLength: 3, maxLength: 3 });
    fc.assert(
      fc.property(numbers, numbers, fc.nat({ max: 2 }), (one, other, at) => {
        const raised = other.with(at, (other[at] ?? 0) + 1);
        assert.ok(compareTags(raised.join('.'), other.join('.')) < 0);
        assert.ok(compareTags(`${one.join('.')}`, `${one.join('.')}-rc.1`) < 0);
        assert.ok(compareTags('latest', one.join('.')) < 0);
      }),
    );
  });

  test('numbers that no machine word holds are compared, too', () => {
    assert.ok(compareTags('1.99999999999999999999999', '1.99999999999999999999998') < 0);
  });
});
