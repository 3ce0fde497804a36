import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import type { ServiceError } from '../../src/errors.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { missingOrPrivate, statusError } from '../../src/registry/status-error.ts';

function errorFor(status: number, headers: Record<string, string> = {}): ServiceError {
  return statusError({
    status,
    url: new URL('https://registry.test:5000/v2/a/manifests/latest?token=secret'),
    header: (name) => headers[name],
    body: Readable.from([]),
    release() {},
  });
}

suite('the meaning of unexpected statuses', () => {
  const table: [status: number, code: string, ours: number][] = [
    [429, 'registry-rate-limited', 429],
    [503, 'registry-unavailable', 503],
    [504, 'registry-timeout', 504],
    [500, 'registry-failed', 502],
    [502, 'registry-failed', 502],
    [400, 'registry-refused', 502],
    [418, 'registry-refused', 502],
    [408, 'registry-failed', 502],
    [204, 'registry-failed', 502],
  ];
  for (const [status, code, ours] of table) {
    test(`${status} becomes ${code}`, () => {
      const error = errorFor(status);
      assert.equal(error.code, code);
      assert.equal(error.status, ours);
      assert.match(error.message, /^registry\.test:5000 [^?]+\.$/);
      assert.match(error.reason, /registry\.test:5000/);
    });
  }

  test('an unknown status is reported', () =>
    assert.equal(errorFor(418).message, 'registry.test:5000 responded with status 418.'));

  const seconds: [header: string | undefined, expected: number][] = [
    [undefined, 60],
    ['120', 120],
    ['1', 1],
    ['0', 1],
    ['999999', 86_400],
    ['soon', 60],
    ['5 minutes', 60],
    ['880.092µs', 1],
    ['1m30s', 90],
    ['1.2s', 2],
    ['', 60],
    ['Sun, 01 Nov 2026 00:00:30 GMT', 30],
    ['Sunday, 01-Nov-26 00:00:30 GMT', 30],
    ['Sun Nov  1 00:00:30 2026 GMT', 30],
    ['Sat, 31 Oct 2026 23:00:00 GMT', 1],
  ];
  for (const [header, expected] of seconds) {
    test(`Retry-After: ${header ?? '(absent)'} means ${expected} s`, (context) => {
      context.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 10, 1) + 1 });
      for (const status of [429, 503]) {
        const { retryAfter } = errorFor(status, header === undefined ? {} : { 'retry-after': header });
        assert.equal(retryAfter, expected);
      }
    });
  }

  const pauses: [header: string | undefined, milliseconds: number | undefined][] = [
    ['880.092µs', 0.880092],
    ['1.5h', 5_400_000],
    ['0', 0],
    ['soon', undefined],
    [undefined, undefined],
  ];
  for (const [header, pause] of pauses) {
    test(`Retry-After: ${header ?? '(absent)'} asks us for ${pause ?? 'no'} ms`, () => {
      for (const status of [429, 503])
        assert.equal(errorFor(status, header === undefined ? {} : { 'retry-after': header }).pause, pause);
    });
  }

  for (const header of ['Fri, 31 Dec 9999 00:00:00 GMT', '0123456']) {
    test(`Retry-After: ${header} defers a retry for a day at most`, () =>
      assert.ok((errorFor(429, { 'retry-after': header }).retryAfter ?? 0) <= 86_400));
  }

  test('other statuses do not state a later time', () =>
    assert.equal(errorFor(500, { 'retry-after': '5' }).retryAfter, undefined));

  const transient = [408, 425, 429, 500, 502, 503, 504, 599];
  const lasting = [204, 301, 400, 403, 404, 410, 416, 501, 505];
  test('only an outage is worth a retry', () => {
    for (const status of transient) assert.equal(errorFor(status).isFinal, false, `${status}`);
    for (const status of lasting) assert.equal(errorFor(status).isFinal, true, `${status}`);
  });

  test('a POST is never worth repeating', () => {
    const url = new URL('https://registry.test/token');
    for (const status of transient) {
      const response = { status, method: 'POST', url, header: () => undefined, release() {} } as const;
      assert.equal(statusError({ ...response, body: Readable.from([]) }).isFinal, true, `${status}`);
    }
  });

  test('a private image is not told from a missing one', () => {
    const error = missingOrPrivate(parseReference('busybox'));
    assert.equal(error.code, 'image-not-found');
    assert.equal(error.message, 'The image docker.io/library/busybox is missing or private.');
  });
});
