import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { nextPage } from '../../src/registry/next-page.ts';

const REPOSITORY = { domain: 'reg.test', path: 'test/pages' };
const LIST = '/v2/test/pages/tags/list';
const BASE = new URL(`https://reg.test${LIST}?n=1000`);

const nextOf = (link: string | undefined, base = BASE): string | undefined =>
  nextPage(link, REPOSITORY, 'tags/list', base);

suite('the link to the next page', () => {
  const table: [link: string | undefined, expected: string | undefined][] = [
    [undefined, undefined],
    ['', undefined],
    [`<${LIST}?last=a>; rel="next"`, '?last=a'],
    [`<${LIST}?last=a>; rel=next`, '?last=a'],
    [`<${LIST}?last=a>;rel = "NEXT"`, '?last=a'],
    [`<${LIST}?last=a> ; title="b; rel=prev, <x>" ; Rel=Next`, '?last=a'],
    [`<${LIST}?last=a>; rel="prev next"`, '?last=a'],
    [`<${LIST}?last=a,b;c>; rel="next"`, '?last=a,b;c'],
    [`<${LIST}?last=0>; rel="prev", <${LIST}?last=a>; rel="next"`, '?last=a'],
    [`<${LIST}?last=a>; rel="next", <${LIST}?last=0>; rel="prev"`, '?last=a'],
    [`<${LIST}?last=0>; rel=first; rel=next, <${LIST}?last=a>; rel="next"`, '?last=a'],
    [`<https://reg.test/x>; rel="describedby"`, undefined],
    [`<${LIST}?last=a>; rel="prev"`, undefined],
    [`<${LIST}?last=a>; title="rel=next"; rel="last"`, undefined],
    [`<${LIST}?last=a>`, '?last=a'],
    [`${LIST}?last=a; rel="next"`, '?last=a'],
    [`<${LIST}>; rel="next"`, ''],
    [`<list?last=a>; rel="next"`, '?last=a'],
    [`<?last=a>; rel="next"`, '?last=a'],
    [`<http://reg.test${LIST}?last=a>; rel="next"`, '?last=a'],
    [`<http://registry.internal:5000${LIST}?last=a>; rel="next"`, '?last=a'],
    [`<//127.0.0.1:9${LIST}?last=a>; rel="next"`, '?last=a'],
    [`</v2/test%2Fpages/tags/list?last=a>; rel="next"`, '?last=a'],
    [`</artifactory/api${LIST}?last=a>; rel="next"`, '?last=a'],
    ['</v2/test/other/tags/list?last=a>; rel="next"', 'astray'],
    [`<${LIST}/../../manifests/latest?last=a>; rel="next"`, 'astray'],
    ['</v2/best/pages/tags/list?last=a>; rel="next"', 'astray'],
    ['<http://[>; rel="next"', 'astray'],
    ['<never closed; rel="next"', 'astray'],
    [`<${LIST}?last=a>; rel="next`, 'astray'],
  ];
  for (const [link, expected] of table) {
    test(`${link} gives ${expected}`, () => assert.equal(nextOf(link), expected));
  }

  test('a registry behind a redirect may link to its own list', () => {
    const base = new URL('https://other.test/v2/there/tags/list?n=1000');
    assert.equal(nextOf('</v2/there/tags/list?last=a>; rel="next"', base), '?last=a');
    assert.equal(nextOf(`<${LIST}?last=a>; rel="next"`, base), '?last=a');
  });

  for (const pump of [
    '<',
    ';',
    ' ',
    '; ',
    ' ;a',
    ';a ',
    ';a=',
    ';a="',
    ';a="b"',
    ';a="\\',
    '<a>,',
    '<a>;',
    ', ',
  ]) {
    test(`16 KiB of ${JSON.stringify(pump)} are read in linear time`, () => {
      const text = pump.repeat(Math.ceil(16_384 / pump.length));
      for (const link of [text, `<a>${text}`, `<a>${text}!"`]) nextOf(link);
    });
  }

  test('any text gives a query, or none', () => {
    const noise = fc.constantFrom(...' <>;,="\\a/?é\t'.split(''), LIST, 'rel', 'next', '; rel="next"');
    fc.assert(
      fc.property(fc.array(noise, { maxLength: 40 }), (parts) => {
        const next = nextOf(parts.join(''));
        assert.ok(next === undefined || next === 'astray' || next === '' || next.startsWith('?'));
      }),
      { numRuns: 5_000 },
    );
  });
});
