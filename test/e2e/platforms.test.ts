import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { startDockerd } from '../support/engines.ts';
import { httpCall } from '../support/http-request.ts';
import { blob, type Descriptor, index, type Manifest, manifest } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { run, runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { busyboxImage, type StandardImages, standardImages } from '../support/standard-images.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

suite('an image with all its platforms', {
  skip: skipUnless('docker-registry', 'wget', 'skopeo', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  let registry: Registry;
  let proxy: DockerProxy;
  let images: StandardImages;
  let list: Manifest;

  before(async () => {
    registry = await startRegistry();
    images = await standardImages(registry);
    list = index(
      [
        await busyboxImage('amd64', { mediaTypes: 'docker' }),
        await busyboxImage('arm64', { mediaTypes: 'docker' }),
      ],
      { mediaTypes: 'docker' },
    );
    await push(registry.url, 'test/list', 'latest', list);
    proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host } });
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  const url = (image: string, query: string): string =>
    `${proxy.url}/dl?myimage=${registry.host}/${image}&format=oci&${query}`;

  /** Downloads an image, copies it into another registry, and returns the content there. */
  async function carried(image: string, query: string, name: string) {
    await using folder = await temporaryFolder();
    await using other = await startRegistry();
    const args = ['--quiet', '--content-disposition', '--directory-prefix', folder.path, url(image, query)];
    await runOrThrow('wget', args);
    assert.deepEqual(await readdir(folder.path), [name]);
    await runOrThrow('skopeo', [
      ...['copy', '--all', '--insecure-policy', '--dest-tls-verify=false'],
      ...[`oci-archive:${join(folder.path, name)}`, `docker://${other.host}/carried:latest`],
    ]);
    const there = await httpCall(`${other.url}/v2/carried/manifests/latest`, {
      headers: { accept: `${images.busybox.descriptor.mediaType}, ${list.descriptor.mediaType}` },
    });
    return { digest: there.headers['docker-content-digest'], body: JSON.parse(`${there.body}`) };
  }

  test('is in another registry, by skopeo copy --all, what it is upstream, attestations included', async () => {
    const name = 'busybox_all-platforms.tar';
    const { digest, body } = await carried('library/busybox', 'platform=all', name);
    assert.equal(digest, images.busybox.descriptor.digest);
    assert.equal(body.manifests.length, 4);
  });

  test('is so where an index is in an index, by what copies these, as skopeo does from nowhere', async () => {
    await using folder = await temporaryFolder();
    await using other = await startRegistry();
    const file = join(folder.path, 'nested.tar');
    await runOrThrow('wget', ['--quiet', '-O', file, url('test/nested', 'platform=all')]);
    const copies = [`oci-archive:${file}`, `docker://${registry.host}/test/nested:latest`].map((from) =>
      run('skopeo', [
        ...['copy', '--all', '--insecure-policy', '--src-tls-verify=false', '--dest-tls-verify=false'],
        ...[from, `docker://${other.host}/carried:latest`],
      ]),
    );
    for (const { code, stderr } of await Promise.all(copies)) {
      assert.equal(code, 1);
      assert.match(stderr, /copying image 1\/1 from manifest list: Unexpectedly received a manifest list/);
    }
    await runOrThrow('tar', ['-xf', file, '-C', folder.path]);
    const { manifests } = JSON.parse(await readFile(join(folder.path, 'index.json'), 'utf8'));
    await push(other.url, 'carried', 'latest', await inLayout(folder.path, manifests[0]));
    const { mediaType: accept, digest } = images.nested.descriptor;
    const there = await httpCall(`${other.url}/v2/carried/manifests/latest`, { headers: { accept } });
    assert.equal(there.headers['docker-content-digest'], digest);
  });

  test('are also found in a Docker manifest list', async () => {
    const { digest } = await carried('test/list', 'platform=all', 'test_list_all-platforms.tar');
    assert.equal(digest, list.descriptor.digest);
  });

  test('a list of platforms is an index of these, each what it is upstream', async () => {
    const query = 'platform=linux/arm64,linux/arm64/v8';
    const { body } = await carried('library/busybox', query, 'busybox_linux-arm64.tar');
    assert.deepEqual(
      body.manifests.map(
        ({ digest, annotations = {} }: Manifest['descriptor']) =>
          annotations['vnd.docker.reference.digest'] ?? digest,
      ),
      [images.busyboxArm64.descriptor.digest, images.busyboxArm64.descriptor.digest],
      'the image and its attestation',
    );
    const all = 'platform=linux/amd64,linux/arm64';
    const both = await carried('library/busybox', all, 'busybox_linux-amd64+linux-arm64.tar');
    assert.equal(both.digest, images.busybox.descriptor.digest);
  });

  test('an image without an index, and an index in an index, are carried as they are', async () => {
    const single = await httpCall(url('library/busybox:1.35', 'platform=all'), { method: 'HEAD' });
    assert.equal(single.headers['docker-content-digest'], images.busybox135.descriptor.digest);
    const nested = await httpCall(url('test/nested', 'platform=all'), { method: 'HEAD' });
    assert.equal(nested.headers['docker-content-digest'], images.nested.descriptor.digest);
    const whole = await httpCall(url('library/busybox', 'platform=all'), { method: 'HEAD' });
    assert.ok(Number(nested.headers['content-length']) > Number(whole.headers['content-length']));
  });

  test('comes with its signatures, and what else refers to it, under the tags that any registry can have', async () => {
    const subject = images.busybox.descriptor.digest;
    const base = subject.replace(':', '-');
    const manifestType = images.busyboxAmd64.descriptor.mediaType;
    const config = blob('application/vnd.oci.image.config.v1+json', Buffer.from('{}'));
    const payload = blob('application/vnd.dev.cosign.simplesigning.v1+json', Buffer.from('{"critical":{}}'));
    const artifactOf = (more: object): Manifest => {
      const body = { schemaVersion: 2, mediaType: manifestType, config: config.descriptor, ...more };
      return manifest(manifestType, { ...body, layers: [payload.descriptor] }, [config, payload], []);
    };
    const signature = artifactOf({});
    const referring = artifactOf({ subject: { mediaType: manifestType, digest: subject, size: 1 } });
    const referrers = index([referring]);
    await push(registry.url, 'library/busybox', `${base}.sig`, signature);
    await push(registry.url, 'library/busybox', base, referrers);

    await using folder = await temporaryFolder();
    await using other = await startRegistry();
    const file = join(folder.path, 'all.tar');
    const query = 'platform=all&referrers=1';
    await runOrThrow('wget', ['--quiet', '-O', file, url('library/busybox', query)]);
    for (const [tag, carriedManifest] of [
      ['latest', images.busybox],
      [`${base}.sig`, signature],
      [base, referrers],
    ] as const) {
      await runOrThrow('skopeo', [
        ...['copy', '--all', '--insecure-policy', '--dest-tls-verify=false'],
        ...[`oci-archive:${file}:${tag}`, `docker://${other.host}/carried:${tag}`],
      ]);
      const { mediaType: accept, digest } = carriedManifest.descriptor;
      const there = await httpCall(`${other.url}/v2/carried/manifests/${tag}`, { headers: { accept } });
      assert.equal(there.headers['docker-content-digest'], digest, tag);
    }
  });

  test('is imported by ctr for all platforms', { skip: skipUnless('dockerd', 'ctr') }, async () => {
    await using engine = await startDockerd();
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'all.tar');
    await runOrThrow('wget', ['--quiet', '-O', file, url('library/busybox', 'platform=all')]);
    const imported = await engine.ctr('images', 'import', '--all-platforms', '--no-unpack', file);
    assert.equal(imported.code, 0, imported.stderr);
    const listed = await engine.ctr('images', 'list');
    assert.match(listed.stdout, new RegExp(`${images.busybox.descriptor.digest}.*linux/amd64,linux/arm64`));
  });

  test('has checksums, parts and deltas as any archive', async () => {
    const all = 'platform=all';
    const { headers } = await httpCall(url('library/busybox', all), { method: 'HEAD' });
    const sum = await httpCall(url('library/busybox', `${all}&checksum=1`));
    assert.match(`${sum.body}`, /^[0-9a-f]{64} {2}busybox_all-platforms\.tar\n$/);
    const have = `have=${registry.host}/library/busybox@${images.busyboxAmd64.descriptor.digest}`;
    const delta = await httpCall(url('library/busybox', `${all}&${have}`), { method: 'HEAD' });
    const saved = Number(headers['content-length']) - Number(delta.headers['content-length']);
    const [layer] = images.busyboxAmd64.layers;
    assert.equal(saved, 512 + Math.ceil((layer?.descriptor.size ?? 0) / 512) * 512);
  });

  test('impossible combinations are refused with a sentence', async () => {
    const refusal = async (image: string, query: string) => {
      const { status, body } = await httpCall(`${proxy.url}/dl?myimage=${registry.host}/${image}&${query}`);
      return `${status} ${JSON.parse(`${body}`).detail}`;
    };
    assert.match(
      await refusal('library/busybox', 'platform=all'),
      /^400 Several platforms require &format=oci/,
    );
    assert.match(
      await refusal('library/busybox', 'platform=linux/amd64,x&format=oci'),
      /^400 "x" is not a platform/,
    );
    const missing = 'platform=linux/amd64,linux/s390x&format=oci';
    assert.match(
      await refusal('library/busybox', missing),
      /^404 .* not available for linux\/s390x\. Available platforms: linux\/amd64, linux\/arm64/,
    );
    assert.match(
      await refusal('test/arm-only', missing),
      /^404 .* not available for linux\/amd64\. Available platforms: linux\/arm64/,
    );
  });
});

/** Returns the part of an OCI layout below a descriptor, to be pushed. */
async function inLayout(folder: string, descriptor: Descriptor): Promise<Manifest> {
  const path = (digest: string): string => join(folder, 'blobs', digest.replace(':', '/'));
  const bytes = await readFile(path(descriptor.digest));
  const {
    manifests = [],
    config,
    layers = [],
  } = JSON.parse(`${bytes}`) as {
    readonly manifests?: readonly Descriptor[];
    readonly config?: Descriptor;
    readonly layers?: readonly Descriptor[];
  };
  return {
    descriptor,
    bytes,
    blobs: [config ?? [], ...layers]
      .flat()
      .map((blob) => ({ descriptor: blob, content: { path: path(blob.digest) } })),
    children: await Promise.all(manifests.map((child) => inLayout(folder, child))),
  };
}
