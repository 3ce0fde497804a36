import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { gunzipSync, gzipSync, zstdDecompressSync } from 'node:zlib';
import { scanAll, tarOf, type Written } from '../contents/layers.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Dockerd, type Podman, startDockerd, startPodman } from '../support/engines.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { blob, image, type Layer, layerMediaType, sha256 } from '../support/images.ts';
import { estargzLayer, zstdChunkedLayer } from '../support/lazy-layers.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { busyboxLayer } from '../support/standard-images.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const PLATFORM = { os: 'linux', architecture: 'amd64' };
const file = (path: string, text: string): Written => ({ path, data: Buffer.from(text) });
const folder = (path: string): Written => ({ path, type: 'directory', mode: 0o755 });
const symlink = (path: string, link: string): Written => ({ path, type: 'symlink', link });

function layerOf(entries: readonly Written[], diffId?: string): Layer {
  const tar = tarOf(entries);
  return { ...blob(layerMediaType.gzip, gzipSync(tar)), diffId: diffId ?? sha256(tar) };
}

/** Makes a layer of a few kilobytes with a file of 100 GB. */
async function sparseLayer(): Promise<Layer> {
  await using scratch = await temporaryFolder();
  const [path, tar] = [join(scratch.path, 'sparse'), join(scratch.path, 'layer.tar')];
  await writeFile(path, '');
  await truncate(path, 100e9);
  await runOrThrow('tar', ['-C', scratch.path, '-cSf', tar, '--format=pax', 'sparse']);
  const bytes = await readFile(tar);
  return { ...blob(layerMediaType.gzip, gzipSync(bytes)), diffId: sha256(bytes) };
}

suite('the files of an image', { skip: skipUnless('docker-registry', 'dockerd', 'podman', 'skopeo') }, () => {
  let registry: Registry;
  let faults: FaultProxy;
  let proxy: DockerProxy;
  const json = async (path: string) => {
    const answer = await httpCall(`${proxy.url}${path}`);
    return { status: answer.status, headers: answer.headers, body: JSON.parse(answer.body.toString()) };
  };
  const get = (path: string, call = {}) => httpCall(`${proxy.url}${path}`, call);

  before(async () => {
    registry = await startRegistry();
    const base = layerOf([
      folder('etc'),
      file('etc/release', 'first'),
      symlink('etc/absolute', '/../etc/release'),
      symlink('etc/loop', 'loop'),
      folder('srv'),
      ...Array.from({ length: 1200 }, (_, at) => file(`srv/${`${at}`.padStart(4, '0')}`, `${at}`)),
    ]);
    const top = layerOf([
      folder('etc'),
      file('etc/release', 'second one'),
      file('etc/.wh.loop', ''),
      file('page.html', '<script>'),
      folder('odd'),
      ...Array.from({ length: 128 }, (_, at) => file(`odd/${String.fromCharCode(at + 128)}`, `${at + 128}`)),
      file('odd/100%41', 'percent'),
      file(`odd/${'n'.repeat(200)}\n+ `, 'long'),
    ]);
    /** A layer above the limit of contents_on_demand. */
    const large = (name: string): Layer => layerOf([{ path: name, data: randomBytes(500_000) }]);
    const images = {
      two: [base, top],
      run: [await busyboxLayer('amd64'), top, top],
      later: [large('later')],
      watched: [large('watched')],
      unread: [large('unread')],
      lying: [layerOf([file('a', 'a')], `sha256:${'0'.repeat(64)}`)],
      cut: [
        {
          ...blob(layerMediaType.gzip, gzipSync(tarOf([file('a', 'x'.repeat(100_000))])).subarray(0, 60)),
          diffId: sha256(Buffer.alloc(0)),
        },
      ],
      bomb: [layerOf([{ path: 'zeros', data: Buffer.alloc(30_000_000) }])],
      estargz: [
        estargzLayer([folder('etc'), file('etc/a', 'a'), { path: 'large', data: randomBytes(500_000) }]),
      ],
      chunked: [zstdChunkedLayer([folder('etc'), { path: 'large', data: randomBytes(500_000) }])],
      deep: [layerOf([file(`${'a/'.repeat(2000)}b`, 'deep')])],
      sparse: [await sparseLayer()],
      dangling: [layerOf([{ path: 'a', type: 'hardlink', link: 'none' }])],
    };
    for (const [name, layers] of Object.entries(images))
      await push(
        registry.url,
        name,
        'latest',
        image({ platform: PLATFORM, layers, config: { Cmd: ['/bin/sh'] } }),
      );
    faults = await startFaultProxy(registry.url);
    proxy = await startDockerProxy({
      env: {
        DOCKERPROXY_INSECURE_REGISTRIES: `${registry.host},${faults.host}`,
        DOCKERPROXY_MAX_UNPACKED_SIZE: '20MB',
        DOCKERPROXY_CONTENTS_ON_DEMAND: '400kB',
      },
    });
  });

  after(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await faults?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const of = (name: string): string => `myimage=${registry.host}/${name}`;

  test('one file is sent with length, ETag, and ranges, and never shown by a browser', async () => {
    const url = `/file?${of('two')}&path=/etc/release`;
    const whole = await get(url);
    assert.equal(whole.body.toString(), 'second one');
    assert.equal(whole.headers['content-length'], '10');
    assert.equal(whole.headers['content-type'], 'application/octet-stream');
    assert.match(`${whole.headers['content-disposition']}`, /^attachment; filename="release"$/);
    assert.equal(whole.headers['x-content-type-options'], 'nosniff');
    assert.match(`${whole.headers['content-security-policy']}`, /sandbox/);
    const part = await get(url, { headers: { range: 'bytes=3-5' } });
    assert.deepEqual([part.status, part.body.toString()], [206, 'ond']);
    const same = await get(url, { headers: { 'if-none-match': `${whole.headers.etag}` } });
    assert.equal(same.status, 304);
    const head = await get(url, { method: 'HEAD' });
    assert.deepEqual(
      [head.status, head.headers['content-length'], head.headers.etag],
      [200, '10', whole.headers.etag],
    );
  });

  test('links are followed within the image', async () => {
    assert.equal((await get(`/file?${of('two')}&path=etc/absolute`)).body.toString(), 'second one');
  });

  test('a directory is a tar archive of everything below it', async () => {
    const { body, headers } = await get(`/file?${of('two')}&path=/etc/`);
    assert.equal(headers['content-type'], 'application/x-tar');
    assert.deepEqual(
      scanAll(body).map(({ name }) => name),
      ['absolute', 'release'],
    );
  });

  for (const [compress, ending, unpack] of [
    ['gzip', '.gz', gunzipSync],
    ['zstd', '.zst', zstdDecompressSync],
  ] as const)
    test(`a root file system is compressed by ${compress} while it is sent`, async () => {
      const plain = await get(`/dl?${of('two')}&format=rootfs`);
      const packed = await get(`/dl?${of('two')}&format=rootfs&compress=${compress}`);
      assert.equal(packed.headers['content-disposition'], `attachment; filename="two_rootfs.tar${ending}"`);
      assert.equal(packed.headers['content-type'], `application/${compress}`);
      assert.equal(packed.headers['content-length'], undefined);
      assert.equal(packed.headers.etag, undefined);
      assert.ok(packed.body.length < plain.body.length / 4);
      assert.ok(unpack(packed.body).equals(plain.body));
    });

  for (const format of ['rootfs', 'docker-classic', 'docker-classic&squash=1'])
    test(`${format} has parts, checksums, and a metalink`, async () => {
      const url = `/dl?${of('run')}&format=${format}`;
      const whole = (await get(url)).body;
      const sums = (await get(`${url}&parts=1MiB&checksum=1`)).body.toString().trim().split('\n');
      assert.ok(sums.length > 1, sums.join());
      const parts: Buffer[] = [];
      for (const [at, line] of sums.entries()) {
        const part = await get(`${url}&parts=1MiB&part=${at + 1}`);
        assert.equal(part.status, 200, part.body.toString());
        assert.equal(line.slice(0, 64), sha256(part.body).slice(7));
        parts.push(part.body);
      }
      assert.ok(Buffer.concat(parts).equals(whole));
      const sum = await get(`${url}&checksum=1`);
      assert.equal(sum.body.toString().slice(0, 64), sha256(whole).slice(7));
      const metalink = (await get(`${url}&metalink=1`)).body.toString();
      assert.ok(metalink.includes(`<size>${whole.length}</size>`), metalink);
      assert.ok(metalink.includes(`<hash type="sha-256">${sha256(whole).slice(7)}</hash>`), metalink);
    });

  test('services with another time zone, locale, umask, and cache send the same bytes', async () => {
    const paths = [
      `/dl?${of('two')}&format=rootfs`,
      `/dl?${of('two')}&format=docker-classic`,
      `/dl?${of('two')}&format=docker-classic&squash=1`,
      `/file?${of('two')}&path=/odd`,
    ];
    const sentBy = async (url: string, order: readonly string[]): Promise<Record<string, unknown>> => {
      const sent: [string, unknown][] = [];
      for (const path of order) {
        const { status, headers, body } = await httpCall(`${url}${path}`);
        sent.push([path, [status, headers.etag, headers['content-length'], sha256(body)]]);
      }
      return Object.fromEntries(sent);
    };
    const start = (env: NodeJS.ProcessEnv, umask: string): Promise<DockerProxy> =>
      startDockerProxy({
        env: { ...env, DOCKERPROXY_INSECURE_REGISTRIES: registry.host },
        via: ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh'],
      });
    const own = await sentBy(proxy.url, paths);
    await using other = await start({ TZ: 'Asia/Kathmandu', LC_ALL: 'tr_TR.UTF-8' }, '077');
    await using uncached = await start({ TZ: 'America/St_Johns', DOCKERPROXY_CACHE_SIZE: '0' }, '000');
    // The other cache has the layers before their tables.
    assert.equal((await httpCall(`${other.url}/dl?${of('two')}`)).status, 200);
    assert.deepEqual(await sentBy(other.url, paths.toReversed()), own);
    assert.deepEqual(await sentBy(uncached.url, [...paths.slice(2), ...paths.slice(0, 2)]), own);
  });

  test('a compressed file has no parts, checksum, or metalink, and no other format is compressed', async () => {
    for (const more of ['&parts=4GiB&part=1', '&checksum=1', '&metalink=1']) {
      const { status, body } = await json(`/dl?${of('two')}&format=rootfs&compress=gzip${more}`);
      assert.deepEqual([status, body.code], [400, 'parameter-invalid'], more);
    }
    for (const format of ['docker', 'oci', 'docker-classic', 'files']) {
      const { status, body } = await json(`/dl?${of('two')}&format=${format}&compress=zstd`);
      assert.deepEqual([status, body.code], [400, 'parameter-invalid'], format);
      assert.match(body.detail, /^The parameter compress requires &format=rootfs\./);
    }
  });

  for (const path of ['/none', '/etc/loop', '/etc/release/x'])
    test(`${path} is a 404`, async () => {
      const { status, body } = await json(`/file?${of('two')}&path=${path}`);
      assert.deepEqual([status, body.code], [404, 'file-not-found']);
    });

  test('a listing has pages, also of everything below a directory', async () => {
    const first = await json(`/api/v1/files?${of('two')}&path=/srv`);
    assert.equal(first.body.files.length, 1000);
    const second = await json(`/api/v1/files?${of('two')}&path=/srv&after=${first.body.next}`);
    assert.equal(second.body.files.length, 200);
    assert.equal(second.body.next, null);
    const all: string[] = [];
    for (let next: string | null = ''; next !== null; ) {
      const page = await json(`/api/v1/files?${of('two')}&recursive=1${next === '' ? '' : `&after=${next}`}`);
      all.push(...page.body.files.map(({ encodedPath }: { encodedPath: string }) => encodedPath));
      next = page.body.next;
    }
    assert.equal(all.length, new Set(all).size);
    assert.equal(all.length, 1200 + 5 + 131);
    assert.ok(all.includes('/etc/release') && all.includes('/srv/1199') && all.includes('/page.html'));
  });

  test('a listing of a deep tree has several pages', async () => {
    let [count, pages] = [0, 0];
    for (let next: string | null = ''; next !== null; pages++) {
      const page = await json(
        `/api/v1/files?${of('deep')}&recursive=1${next === '' ? '' : `&after=${next}`}`,
      );
      assert.equal(page.status, 200);
      count += page.body.files.length;
      next = page.body.next;
    }
    assert.equal(count, 2001);
    assert.ok(pages > 4, `${pages}`);
  });

  test('a listing names each file for a URL, also if its name is not UTF-8', async () => {
    const { body } = await json(`/api/v1/files?${of('two')}&path=/odd`);
    assert.equal(body.files.length, 130);
    const contents = await Promise.all(
      body.files.map(async ({ encodedPath }: Record<string, string>) => {
        const answer = await get(`/file?${of('two')}&path=${encodedPath}`);
        return answer.body.toString();
      }),
    );
    const expected = Array.from({ length: 128 }, (_, at) => `${at + 128}`);
    assert.deepEqual(contents, ['percent', 'long', ...expected]);
    const spoken = body.files.find(({ path }: Record<string, string>) => path === '/odd/100%41');
    assert.equal(spoken.encodedPath, '/odd/100%2541');
  });

  test('an entry names its type, owner, time, target, and layer', async () => {
    const { body } = await json(`/api/v1/files?${of('two')}&path=/etc`);
    assert.deepEqual(
      body.files.map(({ path, type, size, link, layer }: Record<string, unknown>) => [
        path,
        type,
        size,
        link,
        layer,
      ]),
      [
        ['/etc/absolute', 'symlink', 0, '/../etc/release', 0],
        ['/etc/release', 'file', 10, null, 1],
      ],
    );
  });

  test('layers state what they add, remove, and hide', async () => {
    const { body } = await json(`/api/v1/layers?${of('two')}`);
    const [base, top] = body.layers;
    assert.deepEqual([base.command, base.hiddenBytes, base.visible, base.removed], ['test', 5, 1201, 0]);
    assert.deepEqual([top.entries, top.removed, top.visible, top.hiddenBytes], [135, 1, 132, 0]);
    assert.deepEqual([base.added, base.changed, top.added, top.changed], [1203, 0, 131, 1]);
  });

  test('HEAD and the API do not read large layers by themselves', async () => {
    const { status, headers, body } = await json(`/api/v1/files?${of('later')}`);
    assert.deepEqual([status, body.code], [202, 'contents-unread']);
    assert.ok(Number(headers['retry-after']) > 0);
    assert.equal((await get(`/dl?${of('later')}&format=rootfs`, { method: 'HEAD' })).status, 202);
    assert.equal((await get(`/dl?${of('later')}&format=rootfs`)).status, 200);
    assert.equal((await json(`/api/v1/files?${of('later')}`)).status, 200);
  });

  for (const [name, files] of [
    ['estargz', ['/etc', '/large', '/stargz.index.json']],
    ['chunked', ['/etc', '/large']],
  ] as const)
    test(`a list of ${name} layers reads only their table, which no other request uses`, async () => {
      const image = `myimage=${faults.host}/${name}`;
      const listed = async (): Promise<unknown[]> => {
        const { body } = await json(`/api/v1/files?${image}`);
        return [body.isRead, ...body.files.map(({ path }: { path: string }) => path)];
      };
      faults.inject(({ path, headers }) =>
        path.includes('/blobs/') && headers.range !== undefined ? { kind: 'ignore-range' } : undefined,
      );
      assert.equal((await json(`/api/v1/files?${image}`)).status, 202);
      faults.inject(undefined);
      assert.deepEqual(await listed(), [false, ...files]);
      for (const path of [`/dl?${image}&format=rootfs`, `/file?${image}&path=/large`])
        assert.equal((await get(path, { method: 'HEAD' })).status, 202, path);
      assert.equal((await json(`/api/v1/layers?${image}`)).status, 202);
      const large = await get(`/file?${image}&path=/large`);
      assert.equal(large.body.length, 500_000);
      assert.deepEqual(await listed(), [true, ...files]);
    });

  test('/dl/status reads layers and reports their progress', async () => {
    const query = `${of('watched')}&format=rootfs`;
    assert.equal((await get(`/dl?${query}`, { method: 'HEAD' })).status, 202);
    const { body } = await get(`/dl/status?${query}`);
    const events = [...body.toString().matchAll(/^event: (\w+)\ndata: (.*)$/gm)].map(
      ([, event, data = '']) => ({
        event,
        data: JSON.parse(data),
      }),
    );
    const reading = events.filter(({ event }) => event === 'reading');
    assert.ok(reading.length > 0, body.toString());
    for (const { data } of reading) {
      assert.equal(data.layers.length, 1);
      const [{ id, current, total }] = data.layers;
      assert.match(id, /^sha256:/);
      assert.ok(current <= total && total > 400_000, JSON.stringify(data));
    }
    const ready = events.at(-1);
    assert.equal(ready?.event, 'ready');
    const { status, headers } = await get(`/dl?${query}`, { method: 'HEAD' });
    assert.deepEqual([status, headers['content-length']], [200, `${ready?.data.size}`]);
  });

  test('202 states when to retry, for each request that reads no large layers', async () => {
    const ways: [path: string, method: string][] = [
      [`/dl?${of('unread')}&format=rootfs`, 'HEAD'],
      [`/dl?${of('unread')}&format=docker-classic`, 'HEAD'],
      [`/dl?${of('unread')}&format=docker-classic&squash=1`, 'HEAD'],
      [`/file?${of('unread')}&path=/bin/sh`, 'HEAD'],
      [`/api/v1/files?${of('unread')}`, 'GET'],
      [`/api/v1/layers?${of('unread')}`, 'GET'],
    ];
    for (const [path, method] of ways) {
      const { status, headers } = await get(path, { method });
      assert.equal(status, 202, path);
      assert.ok(Number(headers['retry-after']) > 0, path);
    }
  });

  for (const [name, code] of [
    ['lying', 'layer-invalid'],
    ['cut', 'layer-invalid'],
    ['dangling', 'layer-invalid'],
    ['bomb', 'contents-too-large'],
    ['sparse', 'contents-too-large'],
  ] as const)
    test(`an image with a ${name} layer is a 422 that names the layer`, async () => {
      const { status, body } = await json(`/dl?${of(name)}&format=rootfs`);
      assert.deepEqual([status, body.code], [422, code]);
      assert.match(body.detail, /sha256:[0-9a-f]{64}/);
    });

  test('a squashed archive has one layer, loads in Docker, Podman, and skopeo, and runs', async () => {
    await using dockerd = await startDockerd();
    await using podman = await startPodman();
    await using scratch = await temporaryFolder();
    const url = `/dl?${of('run')}&format=docker-classic&squash=1`;
    const { status, body, headers } = await get(url);
    assert.equal(status, 200, body.toString());
    assert.match(`${headers['content-disposition']}`, /filename="run_squashed\.tar"/);
    assert.equal(headers['content-length'], `${body.length}`);
    const head = await get(url, { method: 'HEAD' });
    assert.deepEqual([head.status, head.headers.etag], [200, headers.etag]);
    for (const [start, end] of [
      [0, 99],
      [3000, 3999],
      [body.length - 5000, body.length - 1],
    ] as const) {
      const part = await get(url, { headers: { range: `bytes=${start}-${end}` } });
      assert.ok(part.body.equals(body.subarray(start, end + 1)), `${start}`);
    }
    const path = join(scratch.path, 'squashed.tar');
    await writeFile(path, body);
    const read = async (name: string): Promise<Buffer> => {
      await runOrThrow('tar', ['-C', scratch.path, '-xf', path, name]);
      return readFile(join(scratch.path, name));
    };
    const [{ Config, Layers }] = JSON.parse(`${await read('manifest.json')}`);
    assert.equal(Layers.length, 1);
    const config = await read(Config);
    assert.equal(Config, `${sha256(config).slice(7)}.json`);
    const rootfs = await get(`/dl?${of('run')}&format=rootfs`);
    assert.ok((await read(Layers[0])).equals(rootfs.body));
    assert.deepEqual(JSON.parse(`${config}`).rootfs, { type: 'layers', diff_ids: [sha256(rootfs.body)] });
    const sum = await get(`/dl?${of('run')}&format=rootfs&checksum=1`);
    assert.equal(sum.body.toString().slice(0, 64), sha256(rootfs.body).slice(7));
    const reference = `${registry.host}/run:latest`;
    await loadsAndRuns(path, reference, dockerd, podman);
    await runOrThrow('skopeo', ['copy', '-q', `docker-archive:${path}`, `dir:${scratch.path}/dir`]);
  });
});

/** Loads the archive of the image with two layers into both engines, and runs it in Docker. */
async function loadsAndRuns(
  path: string,
  reference: string,
  dockerd: Dockerd,
  podman: Podman,
): Promise<void> {
  for (const load of [dockerd.docker('load', '-i', path), podman.podman('load', '-i', path)]) {
    const { code, stderr } = await load;
    assert.equal(code, 0, stderr);
  }
  const ran = await dockerd.docker('run', '--rm', '--network=none', reference, 'cat', '/etc/release');
  assert.equal(ran.stdout, 'second one', ran.stderr);
}
