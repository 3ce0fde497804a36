import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { similarTags } from '../../src/oci/similar-tags.ts';
import { sortTags } from '../../src/oci/tag-order.ts';

const TAGS = sortTags([
  ...['latest', '3', '3.12', '3.13', '3.12.1', '3.12-slim', '3.13-slim', '3.12-slim-bookworm', '3.12-alpine'],
  ...['slim', 'bookworm', '1.25-alpine3.19', '20.04', '22.04', 'v1.2.3', `sha256-${'a'.repeat(64)}.sig`],
]);

suite('similar tags', () => {
  const table: [wanted: string, why: string, first: string | undefined][] = [
    ['3.12-slimm', 'a letter too many', '3.12-slim'],
    ['3.12-slm', 'a letter too few', '3.12-slim'],
    ['3.12-silm', 'two letters swapped', '3.12-slim'],
    ['3.12_slim', 'another separator', '3.12-slim'],
    ['LATEST', 'another case', 'latest'],
    ['1.2.3', 'a v too few', 'v1.2.3'],
    ['20.4', 'a zero too few', '20.04'],
    ['bookwrm', 'a name', 'bookworm'],
    ['alpine3.19', 'a beginning too few', '1.25-alpine3.19'],
    ['3.12.99', 'a version that is too new', '3.12.1'],
    ['3.12-slim-bullseye', 'another end', '3.12-slim'],
    ['something-else', 'nothing like it', undefined],
  ];
  for (const [wanted, why, first] of table) {
    test(`${wanted}, ${why}, is similar to ${first}`, () => {
      assert.equal(similarTags(wanted, TAGS)[0], first);
    });
  }

  test('a mistyped tag is found among the most that a repository may list', () => {
    const tags = Array.from({ length: 20_000 }, (_, at) => `1.${at % 100}.${at}-alpine`);
    assert.equal(similarTags('1.45.12345-aplnie', tags)[0], '1.45.12345-alpine');
  });

  test('equally similar tags keep their order, up to a maximum number', () => {
    const tags = Array.from({ length: 100 }, (_, at) => `1.${at}`);
    assert.deepEqual(similarTags('1.x', tags), tags.slice(0, 8));
  });

  test('the newest tags stand for latest if no tag is similar', () => {
    assert.deepEqual(similarTags('latest', ['v2', 'v1']), ['v2', 'v1']);
    assert.deepEqual(similarTags('lately', ['v2', 'v1']), []);
    assert.deepEqual(similarTags('latest', ['v2', 'latest-alpine']), ['latest-alpine']);
  });

  test('tags of signatures are not offered', () => {
    assert.deepEqual(similarTags(`sha256-${'a'.repeat(63)}b.sig`, TAGS), []);
  });

  test('a longer tag with one typing mistake is always similar', () => {
    const text = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{3,40}$/);
    fc.assert(
      fc.property(text, fc.nat(), fc.constantFrom('', 'x', 'xy'), (tag, place, inserted) => {
        const at = place % tag.length;
        const mistaken = tag.slice(0, at) + inserted + tag.slice(at + 1);
        assert.deepEqual(similarTags(mistaken, [tag]), [tag]);
      }),
    );
  });
});
