import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseArchiveQuery } from '../../src/download/query.ts';
import { formatPlatform } from '../../src/oci/platform.ts';
import { downloadUrl, fetchCommands, loadCommands, pullCommands } from '../../web/commands.js';

suite('commands that the page offers to copy', () => {
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
    assert.doesNotMatch(loadCommands('f', 'oci', 1), /^docker /m);
    assert.match(loadCommands('f', 'oci', 1), /oci-archive:f/);
  });

  test('images are pulled through the host of the service', () => {
    const names = ['docker.io/library/busybox:latest', 'ghcr.io/org/app@sha256:1'];
    assert.deepEqual(pullCommands('dl.example.org', names.slice(0, 1), ''), {
      'docker pull': 'docker pull dl.example.org/docker.io/library/busybox:latest',
      'podman pull': 'podman pull dl.example.org/docker.io/library/busybox:latest',
      'nerdctl pull': 'nerdctl pull dl.example.org/docker.io/library/busybox:latest',
      'ctr image pull': 'ctr image pull dl.example.org/docker.io/library/busybox:latest',
    });
    assert.equal(
      pullCommands('dl.example.org:8443', names, 'linux/arm64')['docker pull'],
      'docker pull --platform linux/arm64 dl.example.org:8443/docker.io/library/busybox:latest\n' +
        'docker pull --platform linux/arm64 dl.example.org:8443/ghcr.io/org/app@sha256:1',
    );
    assert.deepEqual(pullCommands('dl.example.org', ['registry.lan:5000/app:1'], ''), {});
  });

  test('each loader has its line, and those that need a name have one', () => {
    assert.deepEqual(loadCommands('busybox.tar', 'docker', 1).split('\n'), [
      'docker load -i busybox.tar',
      'podman load -i busybox.tar',
      'nerdctl load -i busybox.tar',
      'ctr images import busybox.tar',
      'k3s ctr images import busybox.tar',
      'kind load image-archive busybox.tar',
      'udocker load -i busybox.tar busybox',
      'apptainer build busybox.sif docker-archive:busybox.tar',
      'skopeo copy docker-archive:busybox.tar docker://registry.lan/name:tag',
    ]);
    assert.match(
      loadCommands('busybox.tar', 'oci', 1),
      /^apptainer build busybox\.sif oci-archive:busybox\.tar$/m,
    );
    assert.doesNotMatch(loadCommands('two.tar', 'docker', 2), /udocker|apptainer/);
  });
});
