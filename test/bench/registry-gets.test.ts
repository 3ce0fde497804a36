import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countGets, describeGets } from '../../bench/registry-gets.ts';

test('GETs count, HEADs and other paths do not', () => {
  const request = (method: string, path: string) => ({
    method,
    path,
    status: 200,
    bytes: 1,
    userAgent: 'test',
  });
  const gets = countGets(
    [
      request('HEAD', '/v2/a/manifests/latest'),
      request('GET', '/v2/a/manifests/sha256:1'),
      request('GET', '/v2/a/blobs/sha256:2'),
      request('GET', '/v2/a/blobs/sha256:2'),
      request('GET', '/v2/'),
    ],
    { blobUrls: ['one'] },
  );
  assert.deepEqual(gets, { blobGets: 2, blobs: 1, manifestGets: 1, manifests: 2 });
  assert.equal(describeGets(gets), 'the registry saw 2 GETs of 1 blobs and 1 of 2 manifests');
});
