import assert from 'node:assert/strict';
import { mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { startDockerd, startPodman } from '../support/engines.ts';
import type { Manifest } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { type StandardImages, standardImages } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

/** The output of this command in a real container proves that the image arrived complete. */
const GREETING = ['sh', '-c', 'busybox | head -1'];

suite('archives load where images are loaded', { skip: skipUnless('docker-registry', 'wget') }, () => {
  let registry: Registry;
  let proxy: DockerProxy;
  let images: StandardImages;
  let folder: TemporaryFolder;

  before(async () => {
    registry = await startRegistry();
    images = await standardImages(registry);
    proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host } });
    folder = await temporaryFolder();
  });
  after(async () => {
    await folder[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  /** Downloads as docs/loading.md shows it, and returns the file's path. */
  const wget = async (query: string): Promise<string> => {
    const target = await mkdtemp(join(folder.path, 'download-'));
    const url = `${proxy.url}/dl?${query}`;
    await runOrThrow('wget', ['--quiet', '--content-disposition', '--directory-prefix', target, url]);
    const [file = ''] = await readdir(target);
    return join(target, file);
  };
  const image = (name: string): string => `myimage=${registry.host}/${name}`;

  test('docker loads busybox and runs it', { skip: skipUnless('dockerd', 'docker') }, async () => {
    await using engine = await startDockerd();
    const file = await wget(image('library/busybox'));
    assert.match(file, /\/busybox\.tar$/);
    const loaded = await engine.docker('load', '--input', file);
    assert.match(
      loaded.stdout,
      new RegExp(`Loaded image: ${registry.host}/library/busybox:latest`),
      loaded.stderr,
    );
    const ran = await engine.docker(
      'run',
      '--rm',
      '--network=none',
      `${registry.host}/library/busybox`,
      ...GREETING,
    );
    assert.match(ran.stdout, /^BusyBox v1\.35/, ran.stderr);
    const id = await engine.docker(
      'image',
      'inspect',
      '--format',
      '{{.Id}}',
      `${registry.host}/library/busybox`,
    );
    assert.equal(id.stdout.trim(), images.busyboxAmd64.config.descriptor.digest);
  });

  test('docker loads every kind of image', { skip: skipUnless('dockerd', 'docker') }, async () => {
    await using engine = await startDockerd();
    for (const [query, expected] of [
      [image('library/busybox:1.35'), /library\/busybox:1\.35/],
      [`${image('library/busybox')}&platform=linux/arm64`, /library\/busybox:latest/],
      [image('test/nested'), /test\/nested:latest/],
      [image('test/no-media-type'), /test\/no-media-type:latest/],
      [image('test/twice'), /test\/twice:latest/],
      [`${image('library/busybox')}&name=mine:2`, /Loaded image: mine:2/],
      [image(`library/busybox@${images.busyboxAmd64.descriptor.digest}`), /Loaded image ID: sha256:/],
      [`${image('test/shared:1')}&${image('test/shared:2')}`, /test\/shared:1[\s\S]*test\/shared:2/],
    ] as const) {
      const loaded = await engine.docker('load', '--input', await wget(query));
      assert.match(loaded.stdout, expected, `${query}: ${loaded.stderr}`);
    }
    for (const [tag, file, content] of [
      ['1', 'one', 'first\n'],
      ['2', 'two', 'second\n'],
    ] as const) {
      const ran = await engine.docker(
        'run',
        '--rm',
        '--network=none',
        `${registry.host}/test/shared:${tag}`,
        'cat',
        `/etc/${file}`,
      );
      assert.equal(ran.stdout, content, ran.stderr);
    }
    const platform = await engine.docker(
      'image',
      'inspect',
      '--format',
      '{{.Architecture}}',
      `${registry.host}/library/busybox`,
    );
    assert.equal(platform.stdout.trim(), 'arm64');
  });

  test('podman loads busybox and runs it, and takes zstd layers and bundles', {
    skip: skipUnless('podman', 'crun'),
  }, async () => {
    await using engine = await startPodman();
    for (const query of [
      image('library/busybox'),
      image('test/zstd'),
      `${image('test/shared:1')}&${image('test/shared:2')}`,
    ]) {
      const loaded = await engine.podman('load', '--input', await wget(query));
      assert.equal(loaded.code, 0, `${query}: ${loaded.stderr}`);
    }
    for (const name of ['library/busybox:latest', 'test/zstd:latest', 'test/shared:1', 'test/shared:2']) {
      const ran = await engine.podman(
        'run',
        '--rm',
        '--network=none',
        `${registry.host}/${name}`,
        ...GREETING,
      );
      assert.match(ran.stdout, /^BusyBox v1\.35/, `${name}: ${ran.stderr}`);
    }
  });

  test('ctr imports both formats under the full name', { skip: skipUnless('dockerd', 'ctr') }, async () => {
    await using engine = await startDockerd();
    const imports = [
      [image('library/busybox'), 'library/busybox:latest'],
      [`${image('library/busybox:1.35')}&format=oci`, 'library/busybox:1.35'],
      [image('test/zstd'), 'test/zstd:latest'],
      [image('test/no-media-type'), 'test/no-media-type:latest'],
      [`${image('test/shared:1')}&${image('test/shared:2')}`, 'test/shared:2'],
    ] as const;
    for (const [query, name] of imports) {
      const imported = await engine.ctr('images', 'import', await wget(query));
      assert.equal(imported.code, 0, `${query}: ${imported.stderr}`);
      const listed = await engine.ctr('images', 'list', '--quiet');
      assert.ok(listed.stdout.split('\n').includes(`${registry.host}/${name}`), listed.stdout);
    }
  });

  test('a Docker schema 2 image is an OCI image for OCI readers, and keeps its ID in docker', {
    skip: skipUnless('dockerd', 'docker', 'podman', 'crun', 'ctr', 'skopeo'),
  }, async () => {
    const file = await wget(image('library/busybox:1.35'));
    const name = `${registry.host}/library/busybox:1.35`;
    await using dockerd = await startDockerd();
    await using podman = await startPodman();
    const loaded = await dockerd.docker('load', '--input', file);
    assert.match(loaded.stdout, /Loaded image: .*:1\.35/, loaded.stderr);
    const { stdout: id } = await dockerd.docker('image', 'inspect', '--format', '{{.Id}}', name);
    assert.equal(id.trim(), images.busybox135.config.descriptor.digest);
    const imported = await dockerd.ctr('images', 'import', file);
    assert.equal(imported.code, 0, imported.stderr);
    const listed = await dockerd.ctr('images', 'list', `name==${name}`);
    assert.match(listed.stdout, /application\/vnd\.oci\.image\.manifest\.v1\+json/);
    const taken = await podman.podman('load', '--input', file);
    assert.equal(taken.code, 0, taken.stderr);
    const ran = await podman.podman('run', '--rm', '--network=none', '--pull=never', name, ...GREETING);
    assert.match(ran.stdout, /^BusyBox v1\.35/, ran.stderr);
    for (const source of [`docker-archive:${file}`, `oci-archive:${file}`]) {
      const { stdout } = await runOrThrow('skopeo', ['inspect', source]);
      assert.equal((JSON.parse(stdout) as { Architecture: string }).Architecture, 'amd64', source);
    }
  });

  test('ctr imports an image for another platform only with --platform', {
    skip: skipUnless('dockerd', 'ctr'),
  }, async () => {
    await using engine = await startDockerd();
    const file = await wget(`${image('library/busybox')}&platform=linux/arm64`);
    assert.notEqual((await engine.ctr('images', 'import', file)).code, 0);
    const imported = await engine.ctr('images', 'import', '--platform', 'linux/arm64', file);
    assert.equal(imported.code, 0, imported.stderr);
    const listed = await engine.ctr('images', 'list', '--quiet');
    assert.equal(listed.stdout.trim(), `${registry.host}/library/busybox:latest`);
  });

  /** References by digest alone, with the digest of the manifest that the archive is named by. */
  const byDigest = () => {
    const { busybox, busyboxAmd64, busybox135 } = images;
    const pinned = ({ descriptor }: Manifest): string => image(`library/busybox@${descriptor.digest}`);
    return [
      [pinned(busyboxAmd64), busyboxAmd64.descriptor.digest],
      [`${pinned(busyboxAmd64)}&format=oci`, busyboxAmd64.descriptor.digest],
      [`${pinned(busybox)}&platform=linux/amd64`, busyboxAmd64.descriptor.digest],
      [`${pinned(busybox)}&platform=all&format=oci`, busybox.descriptor.digest],
      [pinned(busybox135), busybox135.descriptor.digest],
    ] as const;
  };

  test('ctr names an image by its digest if no tag was requested', {
    skip: skipUnless('dockerd', 'ctr'),
  }, async () => {
    await using engine = await startDockerd();
    for (const [query, digest] of byDigest()) {
      const imported = await engine.ctr('images', 'import', await wget(query));
      const name = `${registry.host}/library/busybox@${digest}`;
      assert.ok(imported.stdout.includes(`unpacking ${name} (${digest})`), `${query}: ${imported.stderr}`);
      const listed = await engine.ctr('images', 'list', '--quiet');
      assert.deepEqual(listed.stdout.trim().split('\n'), [name], query);
      await engine.ctr('images', 'remove', '--sync', name);
    }
  });

  test('podman names an image by its digest if no tag was requested, and runs it by that name', {
    skip: skipUnless('podman', 'crun'),
  }, async () => {
    await using engine = await startPodman();
    for (const [query, digest] of byDigest()) {
      const loaded = await engine.podman('load', '--input', await wget(query));
      const name = `${registry.host}/library/busybox@${digest}`;
      assert.ok(
        loaded.stdout.includes(`Loaded image: ${name}`),
        `${query}: ${loaded.stdout} ${loaded.stderr}`,
      );
      const ran = await engine.podman('run', '--rm', '--network=none', '--pull=never', name, ...GREETING);
      assert.match(ran.stdout, /^BusyBox v1\.35/, `${query}: ${ran.stderr}`);
      await engine.podman('rmi', '--all', '--force');
    }
  });

  test('skopeo reads an image by digest alone, as docker-archive and as oci-archive', {
    skip: skipUnless('skopeo'),
  }, async () => {
    const { digest } = images.busyboxAmd64.descriptor;
    const file = await wget(image(`library/busybox@${digest}`));
    for (const source of [`docker-archive:${file}`, `oci-archive:${file}`]) {
      const { stdout } = await runOrThrow('skopeo', ['inspect', source]);
      assert.equal((JSON.parse(stdout) as { Architecture: string }).Architecture, 'amd64', source);
    }
  });

  test('skopeo reads the archive as docker-archive and as oci-archive', {
    skip: skipUnless('skopeo'),
  }, async () => {
    const inspect = async (
      source: string,
    ): Promise<{ Digest: string; Architecture: string; Layers: string[] }> =>
      JSON.parse((await runOrThrow('skopeo', ['inspect', source])).stdout);
    const hybrid = await wget(image('library/busybox'));
    assert.equal((await inspect(`docker-archive:${hybrid}`)).Architecture, 'amd64');
    assert.equal((await inspect(`oci-archive:${hybrid}`)).Digest, images.busyboxAmd64.descriptor.digest);
    const oci = await wget(`${image('library/busybox')}&platform=linux/arm64&format=oci`);
    assert.match(oci, /\/busybox_linux-arm64\.tar$/);
    assert.equal((await inspect(`oci-archive:${oci}`)).Digest, images.busyboxArm64.descriptor.digest);
    const bundle = await wget(`${image('test/shared:1')}&${image('test/shared:2')}`);
    assert.equal((await inspect(`docker-archive:${bundle}:${registry.host}/test/shared:2`)).Layers.length, 2);
    const copied = join(folder.path, 'copied');
    await runOrThrow('skopeo', ['copy', '--insecure-policy', `oci-archive:${hybrid}`, `dir:${copied}`]);
    assert.ok(
      (await readdir(copied)).includes(images.busyboxAmd64.config.descriptor.digest.slice('sha256:'.length)),
    );
  });
});
