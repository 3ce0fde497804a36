import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { evaluatePreconditions, isRangeValid } from '../../../src/http/protocol/preconditions.ts';

const ETAG = '"1-abc"';

function settle(headers: { ifMatch?: string; ifNoneMatch?: string }): string {
  return evaluatePreconditions({ ifMatch: headers.ifMatch, ifNoneMatch: headers.ifNoneMatch }, ETAG);
}

suite('conditional requests', () => {
  test('without conditions, they pass', () => assert.equal(settle({}), 'passed'));

  for (const ifNoneMatch of [
    ETAG,
    `W/${ETAG}`,
    `"x", ${ETAG}`,
    `"x",W/${ETAG} , "y"`,
    '*',
    ' * ',
    `"a,b",${ETAG}`,
  ]) {
    test(`If-None-Match: ${ifNoneMatch} means that the client has it`, () => {
      assert.equal(settle({ ifNoneMatch }), 'not-modified');
    });
  }

  for (const ifNoneMatch of ['"x"', 'W/"x"', '1-abc', '"1-ABC"', '"1-abc', '', '"x1-abc"', '"*"']) {
    test(`If-None-Match: ${ifNoneMatch} means that it has another one`, () => {
      assert.equal(settle({ ifNoneMatch }), 'passed');
    });
  }

  for (const ifMatch of [ETAG, `"x", ${ETAG}`, '*']) {
    test(`If-Match: ${ifMatch} holds`, () => assert.equal(settle({ ifMatch }), 'passed'));
  }

  for (const ifMatch of ['"x"', `W/${ETAG}`, '1-abc', '']) {
    test(`If-Match: ${ifMatch} fails`, () => assert.equal(settle({ ifMatch }), 'failed'));
  }

  test('If-Match is settled first', () => {
    assert.equal(settle({ ifMatch: '"x"', ifNoneMatch: ETAG }), 'failed');
    assert.equal(settle({ ifMatch: ETAG, ifNoneMatch: ETAG }), 'not-modified');
  });

  test('a list holds exactly where one of its tags is the one', () => {
    const tag = fc.stringMatching(/^[a-c,1-]{0,5}$/).map((text) => `"${text}"`);
    const item = fc.tuple(fc.constantFrom('', 'W/'), fc.oneof(tag, fc.constant(ETAG)));
    fc.assert(
      fc.property(fc.array(item, { minLength: 1, maxLength: 4 }), (items) => {
        const header = items.map(([weak, text]) => weak + text).join(', ');
        const weakly = items.some(([, text]) => text === ETAG);
        const strongly = items.some(([weak, text]) => weak === '' && text === ETAG);
        assert.equal(settle({ ifNoneMatch: header }), weakly ? 'not-modified' : 'passed');
        assert.equal(settle({ ifMatch: header }), strongly ? 'passed' : 'failed');
      }),
    );
  });
});

suite('If-Range', () => {
  test('a range counts without it and with the very tag', () => {
    assert.equal(isRangeValid(undefined, ETAG), true);
    assert.equal(isRangeValid(ETAG, ETAG), true);
  });

  for (const ifRange of ['"x"', `W/${ETAG}`, 'Wed, 21 Oct 2015 07:28:00 GMT', '*', '', `${ETAG}, "x"`]) {
    test(`a range does not count with ${JSON.stringify(ifRange)}`, () => {
      assert.equal(isRangeValid(ifRange, ETAG), false);
    });
  }

  test('a range does not count with two of them', () =>
    assert.equal(isRangeValid([ETAG, ETAG], ETAG), false));
});
