import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Dockerd, startDockerd } from '../support/engines.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { type StandardImages, standardImages } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

/** The output of this command in a real container proves that the image arrived complete. */
const GREETING = ['sh', '-c', 'busybox | head -1'];

suite('images from a Docker engine', {
  skip: skipUnless('dockerd', 'docker-registry', 'wget', 'curl'),
}, () => {
  let registry: Registry;
  let images: StandardImages;
  let engine: Dockerd;
  let proxy: DockerProxy;
  let folder: TemporaryFolder;

  before(async () => {
    registry = await startRegistry();
    images = await standardImages(registry);
    engine = await startDockerd();
    folder = await temporaryFolder();
    proxy = await startDockerProxy({ env: engineEnvironment(engine.dockerHost, registry.host) });
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await engine[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  const url = (name: string, more = ''): string => `${proxy.url}/dl?myimage=${registry.host}/${name}${more}`;

  test('the log states the negotiated API of the engine', () => {
    const line = proxy.logs().find(({ apiVersion }) => apiVersion !== undefined);
    assert.match(line?.msg ?? '', /^Docker 20\.10\.\S+ at unix:\/\/\S+: API 1\.41, store \w+$/);
  });

  test('an image is pulled, saved, loaded elsewhere and run', async () => {
    const target = join(folder.path, 'one');
    await runOrThrow('wget', ['--quiet', '--content-disposition', '-P', target, url('library/busybox')]);
    assert.deepEqual(await readdir(target), ['busybox.tar']);
    await using elsewhere = await startDockerd();
    const loaded = await elsewhere.docker('load', '--input', join(target, 'busybox.tar'));
    const name = `${registry.host}/library/busybox`;
    assert.match(loaded.stdout, new RegExp(`Loaded image: ${name}:latest`), loaded.stderr);
    const ran = await elsewhere.docker('run', '--rm', '--network=none', name, ...GREETING);
    assert.match(ran.stdout, /^BusyBox v1\.35/, ran.stderr);
    const id = await elsewhere.docker('image', 'inspect', '--format', '{{.Id}}', name);
    assert.equal(id.stdout.trim(), images.busyboxAmd64.config.descriptor.digest);
  });

  test('length, ETag and ranges are as exact as from a registry', async () => {
    const whole = await httpCall(url('library/busybox'));
    assert.equal(whole.status, 200);
    assert.equal(whole.headers['content-length'], `${whole.body.length}`);
    assert.match(whole.headers.etag ?? '', /^"e-[0-9a-f]{16}-[0-9a-f]{64}"$/);
    const part = await httpCall(url('library/busybox'), { headers: { range: 'bytes=1000-1999' } });
    assert.equal(part.status, 206);
    assert.deepEqual(part.body, whole.body.subarray(1000, 2000));
    const head = await httpCall(url('library/busybox'), { method: 'HEAD' });
    assert.equal(head.headers['content-length'], whole.headers['content-length']);
    assert.equal(head.headers.etag, whole.headers.etag);
    const unchanged = await httpCall(url('library/busybox'), {
      headers: { 'if-none-match': whole.headers.etag ?? '' },
    });
    assert.equal(unchanged.status, 304);
  });

  test('the digest is that of the repository, or the ID where several are of one image', async () => {
    const head = async (name: string): Promise<unknown> =>
      (await httpCall(url(name), { method: 'HEAD' })).headers['docker-content-digest'];
    const { busybox, busyboxAmd64, busyboxArm64 } = images;
    assert.equal(await head('library/busybox'), busybox.descriptor.digest);
    const exact = `library/busybox@${busyboxArm64.descriptor.digest}`;
    assert.equal(await head(exact), busyboxArm64.descriptor.digest);
    await head('library/busybox:1.35');
    assert.equal(await head('library/busybox'), busyboxAmd64.config.descriptor.digest);
  });

  test('wget -c goes on where it stopped', async () => {
    const whole = (await httpCall(url('library/busybox'))).body;
    const target = join(folder.path, 'resumed.tar');
    await runOrThrow('sh', ['-c', `curl -sS -r 0-999999 -o "$1" "$2"`, 'sh', target, url('library/busybox')]);
    await runOrThrow('wget', ['--quiet', '-c', '-O', target, url('library/busybox')]);
    assert.ok(whole.equals(await readFile(target)));
    const resumed = proxy.logs().filter(({ status, msg }) => status === 206 && msg.startsWith('[OK]'));
    assert.deepEqual(
      resumed.slice(-2).map(({ offset, bytes }) => [offset, bytes]),
      [
        [0, 1_000_000],
        [1_000_000, whole.length - 1_000_000],
      ],
    );
  });

  test('with stream=1 it comes as it is made: without length, ETag and ranges', async () => {
    const whole = await httpCall(url('library/busybox'));
    const live = await httpCall(url('library/busybox', '&stream=1'), { headers: { range: 'bytes=5-' } });
    assert.equal(live.status, 200);
    assert.equal(live.headers['content-length'], undefined);
    assert.equal(live.headers.etag, undefined);
    assert.equal(live.headers['accept-ranges'], 'none');
    assert.equal(live.headers['transfer-encoding'], 'chunked');
    assert.ok(live.body.equals(whole.body));
  });

  interface Told {
    size: number | null;
    layers: unknown[] | null;
    platforms: string[];
    digest: string;
    filename: string;
    config: { command: string[] };
    tags: string[];
    code: string;
  }

  const told = async (service: DockerProxy, path: string): Promise<Told> =>
    JSON.parse((await httpCall(`${service.url}/api/v1/${path}`)).body.toString()) as Told;

  test('an image is described before it is pulled, as far as that can be known', async () => {
    const images = async (): Promise<string[]> =>
      (await engine.docker('image', 'ls', '--quiet')).stdout.split('\n').sort();
    const before = await images();
    const details = await told(proxy, `image?myimage=${registry.host}/test/zstd`);
    assert.equal(details.size, null);
    assert.deepEqual(details.config.command, ['sh']);
    assert.equal(details.layers?.length, 1);
    assert.equal(details.filename, 'test_zstd.tar');
    const layout = await told(proxy, `image?myimage=${registry.host}/test/zstd&format=oci`);
    assert.equal(layout.code, 'format-unavailable');
    const index = await told(proxy, `image?myimage=${registry.host}/library/busybox`);
    assert.deepEqual(index.platforms, ['linux/amd64', 'linux/arm64']);
    const { tags } = await told(proxy, `tags?repository=${registry.host}/library/busybox`);
    assert.deepEqual(tags, ['latest', '1.35']);
    assert.deepEqual(await images(), before);
  });

  test('without pulls, only the engine is asked for images', async () => {
    const env = engineEnvironment(engine.dockerHost, registry.host);
    await using service = await startDockerProxy({ env: { ...env, DOCKERPROXY_PULL: 'never' } });
    const here = `${registry.host}/only/here`;
    await engine.docker('pull', `${registry.host}/library/busybox`);
    for (const tag of ['1', '2']) {
      await engine.docker('tag', `${registry.host}/library/busybox`, `${here}:${tag}`);
    }
    const details = await told(service, `image?myimage=${here}:1`);
    assert.deepEqual(details.platforms, ['linux/amd64']);
    assert.deepEqual([details.size, details.layers], [null, null]);
    assert.deepEqual(details.config.command, ['sh']);
    assert.deepEqual((await told(service, `tags?repository=${here}`)).tags, ['2', '1']);
    assert.equal((await told(service, `image?myimage=${registry.host}/test/helm`)).code, 'image-not-found');
    const other = await told(service, `image?myimage=${here}:1&platform=linux/arm64`);
    assert.equal(other.code, 'platform-not-found');
  });

  test('a bundle, a digest, another platform', async () => {
    for (const [query, expected] of [
      [
        `${registry.host}/test/shared:1&myimage=${registry.host}/test/shared:2`,
        [['test/shared:1'], ['test/shared:2']],
      ],
      [`${registry.host}/library/busybox@${images.busyboxArm64.descriptor.digest}`, [undefined]],
      [`${registry.host}/library/busybox@${images.busybox.descriptor.digest}`, [undefined]],
      [`${registry.host}/library/busybox:1@${images.busybox.descriptor.digest}`, [['library/busybox:1']]],
      [
        `${registry.host}/library/busybox:1@${images.busyboxArm64.descriptor.digest}&myimage=${registry.host}/test/shared:2`,
        [['library/busybox:1'], ['test/shared:2']],
      ],
      [
        `${registry.host}/library/busybox:1.35&myimage=${registry.host}/library/busybox:2@${images.busybox135.descriptor.digest}`,
        [['library/busybox:1.35', 'library/busybox:2']],
      ],
      [`${registry.host}/library/busybox&platform=linux/arm64`, [['library/busybox:latest']]],
      [`${registry.host}/library/busybox`, [['library/busybox:latest']]],
      [`${registry.host}/library/busybox:1.35`, [['library/busybox:1.35']]],
    ] as const) {
      const archive = join(folder.path, 'archive.tar');
      await runOrThrow('curl', ['-sSf', '-o', archive, `${proxy.url}/dl?myimage=${query}`]);
      const { stdout } = await runOrThrow('tar', ['-xOf', archive, 'manifest.json']);
      const names = (JSON.parse(stdout) as { RepoTags: string[] | null }[]).map(
        ({ RepoTags }) => RepoTags ?? undefined,
      );
      // dockerd 20.10 saves several images in any order.
      assert.deepEqual(
        names.sort(),
        expected.map((tags) => tags?.map((tag) => `${registry.host}/${tag}`)),
        query,
      );
    }
  });

  test('an image by tag and digest has the name of the tag, and the engine itself no such tag', async () => {
    await using elsewhere = await startDockerd();
    const { digest } = images.busyboxAmd64.descriptor;
    for (const [tag, more] of [
      ['kept', ''],
      ['live', '&stream=1'],
    ]) {
      const file = join(folder.path, 'tagged.tar');
      await runOrThrow('curl', ['-sSf', '-o', file, url(`library/busybox:${tag}@${digest}`, more)]);
      const loaded = await elsewhere.docker('load', '--input', file);
      const name = `${registry.host}/library/busybox:${tag}`;
      assert.equal(loaded.stdout.trim(), `Loaded image: ${name}`, loaded.stderr);
      const ran = await elsewhere.docker('run', '--rm', '--network=none', name, ...GREETING);
      assert.match(ran.stdout, /^BusyBox v1\.35/, ran.stderr);
    }
    const { stdout } = await engine.docker('image', 'ls', '--format', '{{.Tag}}');
    assert.doesNotMatch(stdout, /kept|live/);
  });
});

function engineEnvironment(dockerHost: string, host: string): NodeJS.ProcessEnv {
  return {
    DOCKERPROXY_SOURCE: 'engine',
    DOCKERPROXY_INSECURE_REGISTRIES: host,
    DOCKER_HOST: dockerHost,
  };
}
