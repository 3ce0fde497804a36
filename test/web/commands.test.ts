import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseArchiveQuery } from '../../src/http/archive-query.ts';
import { formatPlatform } from '../../src/oci/platform.ts';
import { downloadUrl, fetchCommands, loadCommands } from '../../web/commands.js';

suite('what the page offers to copy', () => {
  test('the URL is one that the server understands, and has nothing to spare', () => {
    const all = { images: ['busybox', 'ghcr.io/org/app:1.2'], platform: 'linux/arm64', format: 'oci' };
    const url = downloadUrl(all);
    assert.equal(url, '/dl?myimage=busybox&myimage=ghcr.io/org/app:1.2&platform=linux/arm64&format=oci');
    const { searchParams } = new URL(url, 'http://a');
    const { references, platform, format } = parseArchiveQuery({
      myimage: searchParams.getAll('myimage'),
      platform: searchParams.get('platform') ?? '',
      format: searchParams.get('format') ?? '',
    });
    assert.deepEqual(
      [references.length, platform && formatPlatform(platform), format],
      [2, 'linux/arm64', 'oci'],
    );
    assert.equal(downloadUrl({ images: ['a'], platform: '', format: 'docker' }), '/dl?myimage=a');
  });

  test('nothing in a URL ends the quotes of a shell', () => {
    const url = downloadUrl({ images: ["a';rm -rf ~;'"], platform: '', format: 'docker' });
    assert.doesNotMatch(url, /['\s;]/);
  });

  test('OCI layouts are for who can load them', () => {
    assert.deepEqual(Object.keys(fetchCommands('u', 'f', 'docker')), [
      ...['wget', 'curl', 'aria2c', 'docker load', 'podman', 'ctr'],
    ]);
    assert.equal('docker load' in fetchCommands('u', 'f', 'oci'), false);
    assert.doesNotMatch(loadCommands('f', 'oci'), /^docker /m);
    assert.match(loadCommands('f', 'oci'), /oci-archive:f/);
  });
});
