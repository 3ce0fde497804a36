import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzip, gzipSync, zstdCompressSync } from 'node:zlib';
import { tarOf, type Written } from '../contents/layers.ts';
import { makeDebian } from '../support/debian.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Dockerd, startDockerd } from '../support/engines.ts';
import { blob, type Compression, image, type Layer, layerMediaType, sha256 } from '../support/images.ts';
import { runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { busyboxLayer } from '../support/standard-images.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** A registry with images of many kinds, and programs that unpack them. */
export interface RootfsBed extends AsyncDisposable {
  readonly registry: Registry;
  readonly dockerd: Dockerd;
  readonly proxy: DockerProxy;
  /** Returns the path of a new file or folder. */
  path(name: string): string;
}

/** Images, and what the programs that compare them need to know. */
export const IMAGES: Readonly<Record<string, { readonly platform?: string }>> = {
  busybox: {},
  arm64: { platform: 'linux/arm64' },
  debian: {},
  odd: {},
  plain: {},
  'schema-2': {},
  many: {},
  'gnu-tar': {},
  'gnu-pax': {},
  'bsdtar-pax': {},
  'bsdtar-ustar': {},
  v7: {},
  umoci: {},
  'docker-build': {},
};

/** The image `odd` with its layers compressed by zstd, which neither Docker 20.10 nor umoci unpacks. */
export const ZSTD_TWIN = 'zstd';

const LONG = `opt/${'d'.repeat(120)}`;
const time = { mtime: 1_600_000_000, nanoseconds: 123_456_000 };
const config = { Cmd: ['/bin/sh'], Env: ['PATH=/bin:/usr/bin'] };

export async function startRootfsBed(): Promise<RootfsBed> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const registry = stack.use(await startRegistry());
  const [dockerd, proxy] = await Promise.all([
    startDockerd(),
    startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host } }),
  ]);
  stack.use(dockerd);
  stack.use(proxy);
  const path = (name: string): string => join(folder.path, name);

  const busybox = await busyboxLayer('amd64');
  const publish = (
    name: string,
    layers: Layer[],
    {
      architecture = 'amd64',
      mediaTypes = 'oci',
    }: { architecture?: string; mediaTypes?: 'oci' | 'docker' } = {},
  ): Promise<string> =>
    push(
      registry.url,
      name,
      'latest',
      image({ platform: { os: 'linux', architecture }, layers, config, mediaTypes }),
    );

  await runOrThrow('sh', ['-euc', FILES, 'sh', path('files')]);
  await runOrThrow('sh', ['-euc', SHORT_NAMES, 'sh', path('short')]);
  /** Packs a folder by a program that writes an archive to its output. */
  const packed = async (name: string, from: string, program: string): Promise<Layer> => {
    await runOrThrow('sh', ['-euc', `cd "$1" && ${program} > "$2"`, 'sh', from, path(name)], {
      timeout: 180_000,
    });
    const tar = await readFile(path(name));
    return { ...blob(layerMediaType.gzip, await promisify(gzip)(tar, { level: 1 })), diffId: sha256(tar) };
  };
  const pax = "tar --format=pax --xattrs --xattrs-include='*' --numeric-owner --sparse -c";

  // One after the other: the registry's file storage is not safe against two uploads of a blob at a time.
  await publish('busybox', [busybox]);
  const extras = await packed('gnu-pax.tar', path('files'), `${pax} .`);
  await Promise.all([
    publish('arm64', [await busyboxLayer('arm64')], { architecture: 'arm64' }),
    publish('odd', [busybox, ...odd('gzip')]),
    publish('schema-2', [busybox, ...odd('gzip')], { mediaTypes: 'docker' }),
    publish(ZSTD_TWIN, [busybox, ...odd('zstd')]),
    publish('plain', [busybox, ...odd('none')]),
    publish('many', [busybox, ...many()]),
    publish('gnu-pax', [busybox, extras]),
    packed('debian.tar', await makeDebian(), `${pax} ${LARGE} .`).then((debian) =>
      publish('debian', [debian, extras]),
    ),
    packed('gnu.tar', path('files'), 'tar --format=gnu --numeric-owner -c *').then((one) =>
      publish('gnu-tar', [busybox, one]),
    ),
    packed('bsd.tar', path('files'), 'bsdtar --format pax --numeric-owner -cf - .').then((one) =>
      publish('bsdtar-pax', [busybox, one]),
    ),
    packed('ustar.tar', path('short'), 'bsdtar --format ustar --numeric-owner -cf - .').then((one) =>
      publish('bsdtar-ustar', [busybox, one]),
    ),
    packed('v7.tar', path('short'), 'tar --format=v7 --numeric-owner -c .').then((one) =>
      publish('v7', [busybox, one]),
    ),
  ]);

  await Promise.all([changeByUmoci(), changeByDocker()]);

  /** A layer of the differences that umoci finds. */
  async function changeByUmoci(): Promise<void> {
    const [layout, bundle] = [path('umoci'), path('umoci-bundle')];
    const plain = ['--src-tls-verify=false', '--dest-tls-verify=false'];
    await runOrThrow('skopeo', [
      'copy',
      '-q',
      ...plain,
      `docker://${registry.host}/gnu-pax`,
      `oci:${layout}:base`,
    ]);
    await runOrThrow('umoci', ['unpack', '--image', `${layout}:base`, bundle]);
    await runOrThrow('sh', ['-euc', CHANGES, 'sh', join(bundle, 'rootfs')]);
    await runOrThrow('umoci', ['repack', '--image', `${layout}:changed`, bundle]);
    await runOrThrow('skopeo', [
      ...['copy', '-q', ...plain, `oci:${layout}:changed`, `docker://${registry.host}/umoci:latest`],
    ]);
  }

  /** Layers that Docker makes of overlayfs, whose whiteouts and opaque directories it translates. */
  async function changeByDocker(): Promise<void> {
    const context = path('context');
    await mkdir(context);
    await writeFile(join(context, 'changes.sh'), CHANGES);
    const lines = [
      `FROM ${registry.host}/gnu-pax`,
      'COPY changes.sh /changes.sh',
      'RUN sh -eu /changes.sh /',
      'RUN rm /changes.sh && rm -r /srv/opaque && mkdir /srv/opaque && echo third > /srv/opaque/third',
      // umoci would write a whiteout below the file, which Docker and containerd refuse.
      'RUN rm -r /srv/becomes-file && echo file > /srv/becomes-file',
    ];
    await writeFile(join(context, 'Dockerfile'), lines.join('\n'));
    const name = `${registry.host}/docker-build`;
    for (const command of [
      ['build', '-q', '--network=none', '-t', name, context],
      ['push', '-q', name],
    ]) {
      const { code, stderr } = await dockerd.docker(...command);
      assert.equal(code, 0, stderr);
    }
  }

  const kept = stack.move();
  return { registry, dockerd, proxy, path, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Omits most bytes of Debian, whose files have no properties that others lack. */
const LARGE = "--exclude='./usr/share' --exclude='./usr/lib/*-linux-gnu'";

/** Files of all types and owners, with times, names, and attributes that few have. */
const FILES = `
mkdir -p "$1"; cd "$1"
mkdir -p srv/opaque/below srv/gone srv/becomes-file srv/names usr/local/bin usr/local/share
echo a > srv/opaque/a; echo b > srv/opaque/below/b; echo c > srv/gone/c; echo d > srv/becomes-file/d
echo e > srv/becomes-folder; echo f > srv/removed; echo g > srv/kept
ln srv/kept srv/kept-too; ln srv/kept usr/local/share/kept-as-well
ln -s ../kept srv/names/link; ln -s "$(printf 'x/%.0s' $(seq 90))y" srv/names/long-link
cd srv/names
long=$(printf 'n%.0s' $(seq 200))
mkdir -p "$long/$long"; echo long > "$long/$long/$(printf 'm%.0s' $(seq 255))"
echo odd > "$(printf 'caf\\351')"; echo odd > "$(printf 'caf\\303\\251')"; echo odd > "$(printf 'two\\nlines')"
mkdir "$(printf 'dir\\377')"; echo odd > "$(printf 'dir\\377')/inside"
echo odd > ' leading space'; echo odd > -dash; echo odd > 'back\\slash'; echo odd > 'star*"quote'
echo odd > "$long$(printf '\\351')"
cd ../..
cp /bin/true usr/local/bin/suid; chmod 4755 usr/local/bin/suid
cp /bin/true usr/local/bin/capable; setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 usr/local/bin/capable
mkdir srv/setgid srv/sticky srv/empty; chmod 2775 srv/setgid; chmod 1777 srv/sticky; chmod 700 srv/empty
setfattr -n user.note -v 0x000aff3d srv/kept; setfattr -n user.note -v text srv/empty
chown 1234:5678 srv/removed srv/empty; chown 3000000:2999999 srv/setgid
mkdir srv/dev; mknod -m 666 srv/dev/null c 1 3; mknod -m 660 srv/dev/loop b 7 0; mknod srv/dev/large c 259 70000
mkfifo srv/dev/pipe
truncate -s 3M srv/sparse; printf x | dd of=srv/sparse bs=1 seek=1500000 conv=notrunc status=none
truncate -s 1M srv/hole
touch -d '1970-01-01 00:00:01.123456789 UTC' srv/early; touch -d '2200-01-02 03:04:05.5 UTC' srv/late
touch -d '2001-02-03 04:05:06.789 UTC' srv/dev srv/names srv
`;

/** Files for formats without long names and fractions of seconds. */
const SHORT_NAMES = `
mkdir -p "$1/srv/dir"; cd "$1"
echo a > srv/dir/a; ln srv/dir/a srv/b; ln -s dir/a srv/link; chmod 4711 srv/b; chown 7:8 srv/b
echo odd > "$(printf 'srv/caf\\351')"
touch -d '2001-02-03 04:05:06 UTC' srv/dir/a srv/dir srv
`;

/** Changes that become whiteouts, opaque directories, and other types in a further layer. */
const CHANGES = `
cd "$1"
rm srv/removed srv/kept; rm -r srv/gone srv/becomes-folder srv/opaque
mkdir srv/becomes-folder; echo below > srv/becomes-folder/below
mkdir srv/opaque; echo new > srv/opaque/new
echo changed >> srv/kept-too; chmod 750 srv/names; mv srv/hole srv/moved-hole
rm srv/dev/pipe; mkdir srv/dev/pipe; ln srv/early srv/early-too
# Docker gives the time of the pull to directories that a layer has below, but no entry for.
touch usr usr/local usr/local/share
`;

const folder = (path: string, more: Partial<Written> = {}): Written => ({
  ...{ path, type: 'directory', mode: 0o755 },
  ...more,
});
const file = (path: string, text: string, more: Partial<Written> = {}): Written => ({
  ...{ path, data: Buffer.from(text) },
  ...more,
});

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

/** 60 layers with the layer of busybox. */
function many(): Layer[] {
  return Array.from({ length: 59 }, (_, at) =>
    layerOf([
      folder('srv', time),
      file(`srv/${at}`, `${at}`, time),
      file('srv/same', `${at}`, time),
      file(`srv/.wh.${at - 2}`, ''),
    ]),
  );
}

/** Layers that no program writes, but that all have to unpack. */
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
