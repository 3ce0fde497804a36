import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { scanAll } from '../contents/layers.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { startDockerd, startPodman } from '../support/engines.ts';
import { httpCall } from '../support/http-request.ts';
import { layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { findCommand, run, runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { busyboxImage } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

/** The parameters that request each archive, after the image. */
const ARCHIVES: Readonly<Record<string, string>> = {
  gzip: '',
  zstd: '',
  'schema-2': '',
  squashed: '&squash=1',
};
const READ = ['cat', '/etc/release'];

suite('unpacked layers load where images are loaded', { skip: skipUnless('docker-registry') }, () => {
  let registry: Registry;
  let proxy: DockerProxy;
  let folder: TemporaryFolder;

  before(async () => {
    registry = await startRegistry();
    folder = await temporaryFolder();
    const [base, gzip, zstd] = await Promise.all([
      layer({ files: { 'etc/release': 'first', sys: { directory: true } } }),
      layer({ files: { 'etc/release': 'gzip' } }),
      layer({ files: { 'etc/release': 'zstd' }, compression: 'zstd' }),
    ]);
    const images = {
      // A layer that occurs twice is in the archive once.
      gzip: await busyboxImage('amd64', { layers: [gzip, base, gzip] }),
      zstd: await busyboxImage('amd64', { layers: [base, zstd], compression: 'zstd' }),
      'schema-2': await busyboxImage('amd64', { layers: [base, gzip], mediaTypes: 'docker' }),
    };
    for (const [name, image] of Object.entries({ ...images, squashed: images.zstd }))
      await push(registry.url, name, 'v1', image);
    proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host } });
    const url = (name: string, more: string): string =>
      `${proxy.url}/dl?myimage=${registry.host}/${name}:v1${more}`;
    const downloads = Object.entries(ARCHIVES).map(([name, more]) => [
      `${name}.tar`,
      url(name, `&format=docker-classic${more}`),
    ]);
    const both = url('gzip', `&myimage=${registry.host}/zstd:v1&format=docker-classic`);
    for (const [file = '', from = ''] of [
      ...downloads,
      ['both.tar', both],
      ['rootfs.tar', url('zstd', '&format=rootfs')],
    ])
      await runOrThrow('curl', ['-sfo', `${folder.path}/${file}`, from]);
  });
  after(async () => {
    for (const part of [folder, proxy, registry]) await part?.[Symbol.asyncDispose]();
  });

  const path = (name: string): string => `${folder.path}/${name}.tar`;
  const reference = (name: string): string => `${registry.host}/${name}:v1`;
  const contentOf = (name: string): string => (name === 'zstd' || name === 'squashed' ? 'zstd' : 'gzip');

  test('docker loads each archive and runs it', { skip: skipUnless('dockerd') }, async () => {
    await using engine = await startDockerd();
    for (const name of [...Object.keys(ARCHIVES), 'both']) {
      const { code, stderr } = await engine.docker('load', '-i', path(name));
      assert.equal(code, 0, stderr);
      if (name === 'both') continue;
      const ran = await engine.docker('run', '--rm', '--network=none', reference(name), ...READ);
      assert.equal(ran.stdout, contentOf(name), ran.stderr);
    }
  });

  test('podman loads each archive and runs it', { skip: skipUnless('podman', 'crun') }, async () => {
    await using engine = await startPodman();
    for (const name of [...Object.keys(ARCHIVES), 'both']) {
      const { code, stderr } = await engine.podman('load', '-i', path(name));
      assert.equal(code, 0, stderr);
      if (name === 'both') continue;
      const ran = await engine.podman('run', '--rm', '--network=none', reference(name), ...READ);
      assert.equal(ran.stdout, contentOf(name), ran.stderr);
    }
  });

  test('skopeo copies each image of an archive', { skip: skipUnless('skopeo') }, async () => {
    for (const [file, name] of [
      ...Object.keys(ARCHIVES).map((one) => [one, one]),
      ['both', 'gzip'],
      ['both', 'zstd'],
    ]) {
      const source = `docker-archive:${path(file ?? '')}:${reference(name ?? '')}`;
      await runOrThrow('skopeo', ['copy', '-q', source, `oci:${folder.path}/layout:${file}-${name}`]);
    }
  });

  const hasUdocker = findCommand('udocker') !== undefined;
  const udocker = hasUdocker ? skipUnless('dockerd') : 'udocker is not installed; it is not in Debian 12';
  test('udocker loads each archive and runs it', { skip: udocker }, async () => {
    const runc = findCommand('runc') ?? 'runc';
    const env = {
      ...process.env,
      HOME: folder.path,
      // Its own programs are on the web. Without them, it runs containers by the runc of this machine.
      ...{ UDOCKER_INSTALL_RETRY: '0', UDOCKER_TARBALL: '/none', UDOCKER_USE_RUNC_EXECUTABLE: runc },
    };
    for (const name of Object.keys(ARCHIVES)) {
      const script = `u() { udocker --quiet --allow-root "$@"; }
        u load -i "$1" "$2"; u create --name="$2" "$2:v1"; u setup --execmode=R1 "$2"; u run "$2" cat /etc/release`;
      const { stdout, stderr } = await run('sh', ['-c', script, 'sh', path(name), name], { env });
      assert.match(stdout, new RegExp(`^${contentOf(name)}`, 'm'), stderr);
    }
  });

  test('Charliecloud converts a root file system and runs it', {
    skip: skipUnless('ch-convert', 'ch-run'),
  }, async () => {
    const flat = `${folder.path}/flat`;
    // Its programs need the Python of Debian.
    const env = { ...process.env, USER: 'root', PATH: `/usr/bin:${process.env.PATH}`, TMPDIR: folder.path };
    await runOrThrow('ch-convert', ['-i', 'tar', '-o', 'dir', path('rootfs'), flat], { env });
    const { stdout } = await runOrThrow('ch-run', ['--no-home', flat, '--', ...READ], { env });
    assert.equal(stdout, 'zstd');
  });

  test('a layer of two images is in the archive once', async () => {
    const answer = await httpCall(
      `${proxy.url}/dl?myimage=${reference('gzip')}&myimage=${reference('schema-2')}&format=docker-classic`,
    );
    assert.equal(answer.headers['content-length'], `${answer.body.length}`);
    const entries = scanAll(answer.body);
    assert.equal(new Set(entries.map(({ name }) => name)).size, entries.length);
    const layers = entries.filter(({ name, type }) => name.endsWith('/layer.tar') && type === 'file');
    assert.equal(layers.length, 3);
  });
});
