import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { evaluatePreconditions, isRangeValid } from '../../src/http/protocol/preconditions.ts';
import { parseRange } from '../../src/http/protocol/range.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { parseChallenges } from '../../src/registry/challenge.ts';
import { statusError } from '../../src/registry/status-error.ts';
import { listTags } from '../../src/registry/tag-list.ts';
import { hostileText, mutated } from './arbitraries.ts';
import { runs } from './budget.ts';
import { responseWith } from './response.ts';

const ETAG = '"1-file"';
/** https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2 */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

suite('arbitrary headers', { concurrency: true }, () => {
  test('Range: is a range within the file, unsatisfiable, or the whole file', () => {
    const parts = [
      'bytes=',
      'bytes',
      '0-',
      '-1',
      '5-9',
      '-',
      ',',
      '0-0',
      '9007199254740993',
      '-0',
      '1e3',
      '0x10',
      ' ',
    ];
    fc.assert(
      fc.property(
        fc.oneof(hostileText(parts, 8), mutated(fc.constant('bytes=0-99'), parts)),
        fc.maxSafeNat(),
        (header, size) => {
          const range = parseRange(header, size);
          if (range === undefined || range === 'unsatisfiable') return;
          const { start, end } = range;
          assert.ok(Number.isSafeInteger(start) && Number.isSafeInteger(end), `${start}-${end}`);
          assert.ok(0 <= start && start < end && end <= size, `${start}-${end} of ${size}`);
        },
      ),
      runs('ranges'),
    );
  });

  test('If-Match, If-None-Match, If-Range: one of three verdicts, and no other file is taken for this one', () => {
    const parts = ['"1-file"', 'W/', '"', ',', '*', '"other"', ' '];
    const header = fc.option(hostileText(parts, 8), { nil: undefined });
    fc.assert(
      fc.property(header, header, header, (ifMatch, ifNoneMatch, ifRange) => {
        const verdict = evaluatePreconditions({ ifMatch, ifNoneMatch }, ETAG);
        const namesIt = (text: string | undefined): boolean => text?.includes(ETAG) || text?.trim() === '*';
        if (ifMatch !== undefined && !namesIt(ifMatch)) assert.equal(verdict, 'failed');
        if (verdict === 'not-modified') assert.ok(namesIt(ifNoneMatch));
        if (isRangeValid(ifRange, ETAG)) assert.ok(ifRange === undefined || ifRange === ETAG);
      }),
      runs('preconditions'),
    );
  });

  test('WWW-Authenticate: challenges of whole words, soon', () => {
    const parts = [
      'Bearer ',
      'Basic',
      'realm=',
      '"https://a/token"',
      ',',
      'service="s"',
      'a="\\"',
      '=',
      '"',
      '\\',
      'Negotiate YWJj==',
    ];
    const valid = fc.constant(
      'Bearer realm="https://a.example/token",service="s",scope="repository:a/b:pull"',
    );
    fc.assert(
      fc.property(fc.oneof(hostileText(parts, 40), mutated(valid, parts)), (header) => {
        for (const { scheme, parameters } of parseChallenges(header)) {
          assert.match(scheme, TOKEN);
          for (const name of parameters.keys()) assert.match(name, TOKEN);
        }
      }),
      { ...runs('challenges'), interruptAfterTimeLimit: 120_000, markInterruptAsFailure: true },
    );
  });

  test('Link: the next page is of the same list, and there is an end to them', async () => {
    const parts = [
      '<',
      '>',
      '; rel=next',
      ';rel="next"',
      '/v2/a/b/tags/list',
      '?n=1&last=',
      'https://evil.example',
      '//evil.example',
      ', ',
      '?',
      '..',
      '@',
    ];
    const links = fc.array(
      fc.oneof(hostileText(parts, 8), mutated(fc.constant('</v2/a/b/tags/list?last=x>; rel="next"'), parts)),
      {
        maxLength: 5,
      },
    );
    await fc.assert(
      fc.asyncProperty(links, async (given) => {
        const asked: string[] = [];
        await listTags(parseReference('registry.example/a/b'), async (query) => {
          asked.push(query);
          return responseWith(
            200,
            { link: given[(asked.length - 1) % (given.length || 1)] ?? '' },
            '{"tags":["x"]}',
          );
        });
        assert.ok(asked.length <= 40);
        assert.equal(new Set(asked).size, asked.length);
        for (const query of asked) {
          const url = new URL(`https://registry.example/v2/a/b/tags/list${query}`);
          assert.equal(`${url.origin}${url.pathname}`, 'https://registry.example/v2/a/b/tags/list');
        }
      }),
      runs('links'),
    );
  });

  test('Retry-After: a whole number of seconds, a day at most', () => {
    const value = fc.oneof(
      hostileText(['60', '-', '1e9', 'Thu, 01 Jan 2099 00:00:00 GMT', 'GMT', '.'], 4),
      fc.double().map(String),
      fc.date({ noInvalidDate: true }).map((date) => date.toUTCString()),
    );
    fc.assert(
      fc.property(value, fc.constantFrom(429, 503), (after, status) => {
        const { retryAfter = 0 } = statusError(responseWith(status, { 'retry-after': after }));
        assert.ok(Number.isInteger(retryAfter) && retryAfter >= 1 && retryAfter <= 86_400, `${retryAfter}`);
      }),
      runs('retryAfter'),
    );
  });
});
