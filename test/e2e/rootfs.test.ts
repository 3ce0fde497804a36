import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { scanAll, tarOf, type Written } from '../contents/layers.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Dockerd, startDockerd } from '../support/engines.ts';
import { listFiles } from '../support/file-listing.ts';
import { httpCall } from '../support/http-request.ts';
import { blob, type Compression, image, type Layer, layerMediaType, sha256 } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow, type TemporaryFolder, temporaryFolder } from '../support/process.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { busyboxLayer } from '../support/standard-images.ts';

const skip = skipUnless('docker-registry', 'dockerd', 'skopeo', 'umoci', 'tar');
const PLATFORM = { os: 'linux', architecture: 'amd64' };
const LONG = `opt/${'d'.repeat(120)}`;

const folder = (path: string, more: Partial<Written> = {}): Written => ({
  path,
  type: 'directory',
  mode: 0o755,
  ...more,
});
const file = (path: string, text: string, more: Partial<Written> = {}): Written => ({
  path,
  data: Buffer.from(text),
  ...more,
});
const time = { mtime: 1_600_000_000, nanoseconds: 123_456_000 };

const pack: Readonly<Record<Compression, (tar: Buffer) => Buffer>> = {
  // Several members, as parallel compressors write them.
  gzip: (tar) => Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700))]),
  zstd: (tar) => Buffer.concat([zstdCompressSync(tar.subarray(0, 700)), zstdCompressSync(tar.subarray(700))]),
  none: (tar) => tar,
};

function layerOf(entries: readonly Written[], compression: Compression = 'gzip'): Layer {
  const tar = tarOf(entries);
  return { ...blob(layerMediaType[compression], pack[compression](tar)), diffId: sha256(tar) };
}

const odd = (compression: Compression): Layer[] => [
  layerOf(
    [
      folder('opt', { ...time, uid: 5, gid: 6 }),
      folder(LONG, time),
      file(`${LONG}/${'f'.repeat(140)}`, 'long', time),
      file('opt/setuid', 'su', { ...time, mode: 0o4755, uid: 3_000_000, gid: 2_999_999 }),
      file('opt/caf\xc3\xa9', 'utf-8', time),
      file('opt/caf\xe9', 'not utf-8', time),
      file('opt/capable', 'x', {
        ...time,
        xattrs: [
          ['user.note', 'a\nb=c'],
          ['security.selinux', 'u:r:t:s0'],
        ],
      }),
      file('opt/empty', '', time),
      file('opt/large', 'z'.repeat(1_000_000), time),
      { path: 'opt/null', type: 'character', device: [1, 3], mode: 0o666, ...time },
      { path: 'opt/loop', type: 'block', device: [7, 0], mode: 0o660, ...time },
      { path: 'opt/pipe', type: 'fifo', mode: 0o600, ...time },
      { path: 'opt/soft', type: 'symlink', link: '../../outside', mode: 0o777, ...time },
      { path: 'opt/softlong', type: 'symlink', link: 'x/'.repeat(90), mode: 0o777, ...time },
      folder('srv', time),
      file('srv/t2', 'kept content', time),
      { path: 'srv/t1', type: 'hardlink', link: 'srv/t2', ...time },
      { path: 'srv/t3', type: 'hardlink', link: 'srv/t2', ...time },
      folder('srv/gone', time),
      file('srv/gone/file', 'gone', time),
      folder('srv/opaque', time),
      file('srv/opaque/hidden', 'hidden', time),
      folder('srv/becomes-file', time),
      file('srv/becomes-file/below', 'below', time),
      file('srv/becomes-folder', 'file', time),
      { path: 'lib', type: 'symlink', link: 'srv', mode: 0o777, ...time },
    ],
    compression,
  ),
  layerOf(
    [
      folder('srv', { ...time, mode: 0o700 }),
      file('srv/t1', 'new content', time),
      file('srv/.wh.t2', ''),
      file('srv/.wh.gone', ''),
      folder('srv/opaque', time),
      file('srv/opaque/.wh..wh..opq', ''),
      file('srv/opaque/seen', 'seen', time),
      file('srv/becomes-file', 'now a file', time),
      folder('srv/becomes-folder', time),
      folder('/srv//nested/', time),
      file('./srv/nested/../nested/x', 'x', time),
    ],
    compression,
  ),
  layerOf(
    [
      folder('srv/gone', time),
      file('srv/gone/again', 'again', time),
      folder('srv', { ...time, mode: 0o711 }),
    ],
    compression,
  ),
];

suite('a root file system', { skip }, () => {
  let registry: Registry;
  let proxy: DockerProxy;
  let dockerd: Dockerd;
  let scratch: TemporaryFolder;

  before(async () => {
    scratch = await temporaryFolder();
    registry = await startRegistry();
    dockerd = await startDockerd();
    proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host } });
    const busybox = await busyboxLayer('amd64');
    const many = Array.from({ length: 59 }, (_, at) =>
      layerOf([
        folder('srv', time),
        file(`srv/${at}`, `${at}`, time),
        file('srv/same', `${at}`, time),
        file(`srv/.wh.${at - 2}`, ''),
      ]),
    );
    const images = {
      busybox: [busybox],
      odd: [busybox, ...odd('gzip')],
      zstd: [busybox, ...odd('zstd')],
      plain: [busybox, ...odd('none')],
      many: [busybox, ...many],
    };
    for (const [name, layers] of Object.entries(images))
      await push(
        registry.url,
        name,
        'latest',
        image({ platform: PLATFORM, layers, config: { Cmd: ['/bin/sh'] } }),
      );
  });

  after(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await dockerd?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
    await scratch?.[Symbol.asyncDispose]();
  });

  const url = (name: string, more = ''): string =>
    `${proxy.url}/dl?myimage=${registry.host}/${name}&format=rootfs${more}`;
  const rootfs = async (name: string): Promise<Buffer> => {
    const answer = await httpCall(url(name));
    assert.equal(answer.status, 200, answer.body.toString());
    assert.equal(Number(answer.headers['content-length']), answer.body.length);
    return answer.body;
  };
  const extract = async (tar: Buffer, name: string): Promise<string> => {
    const target = join(scratch.path, name);
    await mkdir(target);
    await writeFile(`${target}.tar`, tar);
    await runOrThrow('tar', [
      '-C',
      target,
      '-xpf',
      `${target}.tar`,
      '--numeric-owner',
      // Directories come first, so that GNU tar would set their times before it adds their files.
      '--delay-directory-restore',
      '--xattrs',
      '--xattrs-include=*',
    ]);
    return target;
  };
  /** Docker adds files of its own when it creates a container. */
  const isDockers = (path: string): boolean => /^(?:\.dockerenv|dev|proc|sys|etc)(?:\/|$)/.test(path);

  for (const name of ['busybox', 'odd', 'plain', 'many'])
    test(`equals docker export and umoci unpack: ${name}`, async () => {
      const own = listFiles(await extract(await rootfs(name), `own-${name}`), isDockers);
      await runOrThrow('skopeo', [
        'copy',
        '-q',
        '--src-tls-verify=false',
        `docker://${registry.host}/${name}`,
        `oci:${scratch.path}/oci-${name}:latest`,
      ]);
      const bundle = join(scratch.path, `umoci-${name}`);
      await runOrThrow('umoci', ['unpack', '--image', `${scratch.path}/oci-${name}:latest`, bundle]);
      assert.deepEqual(own, listFiles(join(bundle, 'rootfs'), isDockers));
      const source = `${registry.host}/${name}`;
      for (const command of [
        ['pull', '-q', source],
        ['create', '--name', name, source],
        ['export', '-o', `${scratch.path}/docker-${name}.tar`, name],
      ]) {
        const { code, stderr } = await dockerd.docker(...command);
        assert.equal(code, 0, stderr);
      }
      const exported = await extract(await readFile(`${scratch.path}/docker-${name}.tar`), `docker-${name}`);
      // Docker exports whole seconds.
      const seconds = (text: string): string => text.replace(/^(\S+ \S+ \S+ \d+)\d{9} /, '$1 ');
      const rounded = (list: Record<string, string>) =>
        Object.fromEntries(Object.entries(list).map(([path, text]) => [path, seconds(text)]));
      assert.deepEqual(rounded(own), rounded(listFiles(exported, isDockers)));
    });

  test('does not depend on the compression of the layers', async () => {
    const [gzip, zstd] = [await rootfs('odd'), await rootfs('zstd')];
    assert.ok(gzip.equals(zstd));
  });

  test('is the same in two processes, one with a cache of its own', async () => {
    await using other = await startDockerProxy({
      env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host, DOCKERPROXY_CACHE_SIZE: '0' },
    });
    const answer = await httpCall(`${other.url}/dl?myimage=${registry.host}/odd&format=rootfs`);
    assert.ok(answer.body.equals(await rootfs('odd')));
  });

  test('keeps extended attributes but SELinux labels, and puts directories first', async () => {
    const entries = scanAll(await rootfs('odd'));
    const own = entries.find((entry) => entry.name === 'opt/capable');
    assert.deepEqual([...(own?.xattrs ?? [])], [['user.note', 'a\nb=c']]);
    const types = entries.map(({ type }) => type === 'directory');
    assert.equal(types.lastIndexOf(true), types.indexOf(false) - 1);
    assert.ok(entries.every((entry) => !/^\/|^\.|(?:^|\/)\.\.(?:\/|$)/.test(entry.name)));
  });

  test('is sent in ranges that are the whole together, and continues by its ETag', async () => {
    const whole = await rootfs('odd');
    const { headers } = await httpCall(url('odd'), { method: 'HEAD' });
    assert.equal(Number(headers['content-length']), whole.length);
    const etag = `${headers.etag}`;
    for (const size of [300_001, 77_777]) {
      const parts: Buffer[] = [];
      for (let at = 0; at < whole.length; at += size) {
        const range = `bytes=${at}-${at + size - 1}`;
        const part = await httpCall(url('odd'), { headers: { range, 'if-range': etag } });
        assert.equal(part.status, 206);
        parts.push(part.body);
      }
      assert.ok(Buffer.concat(parts).equals(whole));
    }
    const same = await httpCall(url('odd'), { headers: { 'if-none-match': etag } });
    assert.equal(same.status, 304);
  });

  test('runs in a chroot', async () => {
    const target = await extract(await rootfs('busybox'), 'chroot');
    const { stdout } = await runOrThrow('chroot', [target, '/bin/sh', '-c', 'echo inside']);
    assert.equal(stdout, 'inside\n');
  });
});
