import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Hop, nextHop } from '../../src/net/follow-redirects.ts';

const HEADERS = { Authorization: 'Bearer secret', cookie: 'a=b', range: 'bytes=1-2', accept: '*/*' };
const HARMLESS = { range: 'bytes=1-2', accept: '*/*' };

const hop = (url: string, more: Partial<Hop> = {}): Hop => ({
  url: new URL(url),
  headers: HEADERS,
  remaining: 5,
  ...more,
});

function follow(from: Hop, location: string): Hop {
  const next = nextHop(from, 307, location);
  assert.ok(next);
  return next;
}

suite('redirects', () => {
  for (const status of [301, 302, 303, 307, 308]) {
    test(`${status} with a location is followed`, () => {
      const next = nextHop(hop('https://a.test/v2/x'), status, 'https://b.test/y?z=1');
      assert.equal(next?.url.href, 'https://b.test/y?z=1');
      assert.equal(next.remaining, 4);
    });
  }

  for (const status of [200, 206, 300, 304, 305, 401, 404, 500]) {
    test(`${status} does not redirect`, () =>
      assert.equal(nextHop(hop('https://a.test/'), status, 'https://b.test/'), undefined));
  }

  test('a response without a location does not redirect', () =>
    assert.equal(nextHop(hop('https://a.test/'), 307, undefined), undefined));

  const relative: [string, string][] = [
    ['/other', 'https://a.test/other'],
    ['other', 'https://a.test/v2/other'],
    ['?x=1', 'https://a.test/v2/blob?x=1'],
    ['//b.test/x', 'https://b.test/x'],
    ['', 'https://a.test/v2/blob'],
  ];
  for (const [location, expected] of relative) {
    test(`the location ${JSON.stringify(location)} becomes ${expected}`, () =>
      assert.equal(follow(hop('https://a.test/v2/blob'), location).url.href, expected));
  }

  test('credentials stay within their origin', () => {
    assert.deepEqual(follow(hop('https://a.test/x'), '/y').headers, HEADERS);
    assert.deepEqual(follow(hop('https://a.test/x'), 'https://A.TEST:443/y').headers, HEADERS);
  });

  const others = [
    'https://b.test/',
    'https://sub.a.test/',
    'https://a.test:8443/',
    'http://a.test/',
    'https://a.test./',
  ];
  for (const location of others) {
    test(`${location} is another origin than https://a.test and gets no credentials`, () =>
      assert.deepEqual(follow(hop('https://a.test/x'), location).headers, HARMLESS));
  }

  test('credentials do not return after another origin', () => {
    const away = follow(hop('https://a.test/x'), 'https://b.test/');
    assert.deepEqual(follow(away, 'https://a.test/x').headers, HARMLESS);
  });

  test('the last hop may not be redirected any more', () => {
    const last = follow(hop('https://a.test/', { remaining: 1 }), '/1');
    assert.equal(last.remaining, 0);
    assert.throws(() => nextHop(last, 302, '/2'), { code: 'registry-failed', message: /too many times/ });
    assert.equal(nextHop(last, 200, undefined), undefined);
  });

  for (const location of ['https://', 'http://[::1', 'https://a b/', 'https://host:99999/']) {
    test(`a location of ${JSON.stringify(location)} is refused`, () =>
      assert.throws(() => nextHop(hop('https://a.test/'), 302, location), {
        code: 'registry-failed',
        message: 'a.test redirects to an invalid URL.',
      }));
  }
});
