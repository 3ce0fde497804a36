import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseRegistryPath } from '../../../src/http/registry-api/path.ts';

suite('a path of the registry API', () => {
  test('names a resource of a repository, whose name may have the same words in it', () => {
    for (const [path, kind, name, target] of [
      ['a/manifests/latest', 'manifests', 'a', 'latest'],
      ['a/b/c/blobs/sha256:1', 'blobs', 'a/b/c', 'sha256:1'],
      ['a/manifests/b/manifests/1', 'manifests', 'a/manifests/b', '1'],
      ['blobs/blobs/blobs/x', 'blobs', 'blobs/blobs', 'x'],
      ['a/referrers/sha256:1', 'referrers', 'a', 'sha256:1'],
      ['tags/list/tags/list', 'tags', 'tags/list', 'list'],
    ])
      assert.deepEqual(parseRegistryPath(path ?? ''), { kind, name, target });
  });

  test('is unknown otherwise', () => {
    for (const path of [
      '',
      '_catalog',
      'manifests/latest',
      'a/tags',
      'a/tags/list/',
      'a/blobs/uploads/1',
      'a/blobs/',
    ])
      assert.equal(parseRegistryPath(path), undefined, path);
  });
});
