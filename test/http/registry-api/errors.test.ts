import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { listErrors } from '../../../src/errors.ts';
import { SPECIFICATION_CODES } from '../../../src/http/registry-api/errors.ts';

/** The codes for errors of the client that the specification lists. */
const LISTED = [
  ...['BLOB_UNKNOWN', 'BLOB_UPLOAD_INVALID', 'BLOB_UPLOAD_UNKNOWN', 'DIGEST_INVALID'],
  ...['MANIFEST_BLOB_UNKNOWN', 'MANIFEST_INVALID', 'MANIFEST_UNKNOWN', 'NAME_INVALID', 'NAME_UNKNOWN'],
  ...['SIZE_INVALID', 'UNAUTHORIZED', 'DENIED', 'UNSUPPORTED', 'TOOMANYREQUESTS'],
];

suite('the table of the specification’s codes', () => {
  test('has each error of the catalogue, and errors of the client have a code that the specification lists', () => {
    for (const { code, status } of listErrors()) {
      const mapped = SPECIFICATION_CODES[code];
      assert.match(mapped ?? '', /^[A-Z_]+$/, code);
      if (status < 500) assert.ok(LISTED.includes(mapped), `${code}: ${mapped}`);
      assert.equal(mapped === 'TOOMANYREQUESTS', status === 429, code);
      assert.equal(mapped === 'UNAVAILABLE' || mapped === 'UNKNOWN', status >= 500, code);
    }
  });

  test('asks for a login only where credentials of the client help', () => {
    for (const { code, status } of listErrors())
      assert.equal(SPECIFICATION_CODES[code] === 'UNAUTHORIZED', status === 401, code);
  });
});
