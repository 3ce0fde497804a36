import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { gzipSync, zstdDecompressSync } from 'node:zlib';
import { tarOf, type Written } from '../contents/layers.ts';
import { helmChart } from '../support/artifacts.ts';
import { entryPoint } from '../support/dockerproxy.ts';
import { blob, image, layerMediaType, sha256 } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { type RunResult, run } from '../support/process.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

/** Writes the bytes of a name in Latin-1, as the entries of a layer have them. */
const latin1 = (name: string): string => Buffer.from(name).toString('latin1');
const FILES: readonly Written[] = [
  { path: 'bin', type: 'directory', mode: 0o755 },
  { path: 'bin/su', data: Buffer.from('program'), mode: 0o4755 },
  { path: 'etc', type: 'directory', mode: 0o755 },
  { path: 'etc/release', data: Buffer.from('first\n') },
  { path: 'etc/link', type: 'symlink', link: 'release', mode: 0o777 },
  { path: 'etc/deep', type: 'directory', mode: 0o1777 },
  { path: latin1('etc/deep/größe'), data: Buffer.from('x') },
  { path: 'odd', type: 'directory', mode: 0o755 },
  { path: 'odd/caf\xe9', data: Buffer.from('Latin-1') },
  { path: 'odd/caf\xe8', data: Buffer.from('other') },
  { path: latin1('odd/caf\ufffd'), data: Buffer.from('U+FFFD') },
];

suite('dockerproxy ls and cat', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  let registry: Registry;
  let home: TemporaryFolder;
  let name: string;

  before(async () => {
    registry = await startRegistry();
    home = await temporaryFolder();
    const tar = tarOf(FILES);
    const layer = { ...blob(layerMediaType.gzip, gzipSync(tar)), diffId: sha256(tar) };
    const platform = { os: 'linux', architecture: 'amd64' };
    await push(registry.url, 'test/files', 'latest', image({ platform, layers: [layer] }));
    await push(registry.url, 'test/chart', 'latest', await helmChart('app', '1.2.3'));
    name = `${registry.host}/test/files`;
  });
  after(async () => {
    for (const part of [home, registry]) await part[Symbol.asyncDispose]();
  });

  const surroundings = () => ({
    env: { PATH: process.env.PATH, HOME: home.path, DOCKERPROXY_INSECURE_REGISTRIES: registry.host },
    cwd: home.path,
  });
  const command = (...args: string[]): Promise<RunResult> =>
    run(process.execPath, [entryPoint, ...args], surroundings());
  /** Returns the lines without sizes and times. */
  const listed = ({ stdout }: RunResult): string[][] =>
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => {
        const [mode = '', owner = '', , , , ...rest] = line.split(/ +/);
        return [mode, owner, rest.join(' ')];
      });

  test('the error for an artifact names the command that saves it', async () => {
    const chart = `${registry.host}/test/chart`;
    for (const args of [
      ['ls', chart],
      ['cat', chart, '/app'],
    ]) {
      const { code, stderr } = await command(...args);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /artifact of type "\S+"\.\nThis command reads only container images\. .*: dockerproxy save IMAGE\n$/,
      );
    }
  });

  test('ls lists a directory', async () => {
    const result = await command('ls', name);
    assert.equal(result.code, 0, result.stderr);
    assert.deepEqual(listed(result), [
      ['drwxr-xr-x', '0/0', '/bin'],
      ['drwxr-xr-x', '0/0', '/etc'],
      ['drwxr-xr-x', '0/0', '/odd'],
    ]);
    assert.equal(result.stderr, '');
  });

  test('ls -R lists everything below a directory', async () => {
    const result = await command('ls', '-R', name, '/etc');
    assert.equal(result.code, 0, result.stderr);
    assert.deepEqual(
      listed(result).map(([mode, , path]) => `${mode} ${path}`),
      [
        'drwxrwxrwt /etc/deep',
        '-rw-r--r-- /etc/deep/größe',
        'lrwxrwxrwx /etc/link -> release',
        '-rw-r--r-- /etc/release',
      ],
    );
  });

  test('ls describes one file', async () => {
    const result = await command('ls', name, 'bin/su');
    assert.match(result.stdout, /^-rwsr-xr-x 0\/0 +7 \d{4}-\d\d-\d\d \d\d:\d\d \/bin\/su\n$/);
  });

  test('cat writes a file, with links followed', async () => {
    const { code, stdout, stderr } = await command('cat', name, '/etc/link', '--platform', 'linux/amd64');
    assert.equal(code, 0, stderr);
    assert.equal(stdout, 'first\n');
  });

  /** Runs a shell script with the program and the image as `$@`. */
  const script = (text: string): Promise<RunResult> =>
    run('sh', ['-c', text, process.execPath, entryPoint, name], surroundings());

  for (const [path, content] of [
    ['odd/caf\\351', 'Latin-1'],
    ['odd/caf\\350', 'other'],
    ['odd/caf\\357\\277\\275', 'U+FFFD'],
  ] as const)
    test(`cat writes the file whose name has the bytes ${path}`, async () => {
      const { code, stdout, stderr } = await script(`exec "$0" "$1" cat "$2" "$(printf '${path}')"`);
      assert.deepEqual([code, stdout], [0, content], stderr);
    });

  test('ls finds and lists names that are not UTF-8 by their bytes', async () => {
    const { code, stdout, stderr } = await script(
      `"$0" "$1" ls "$2" "$(printf 'odd/caf\\351')" && "$0" "$1" ls "$2" odd | grep -ac "$(printf 'caf[\\350\\351]')"`,
    );
    assert.equal(code, 0, stderr);
    assert.match(stdout, /\n2\n$/);
  });

  test('cat writes a directory as a tar archive', async () => {
    const { code, stdout } = await command('cat', name, '/etc');
    assert.equal(code, 0);
    assert.match(stdout.slice(0, 100), /^deep\/\0/);
    assert.equal(Buffer.byteLength(stdout) % 512, 0);
  });

  test('save --format rootfs writes all files as one tar archive', async () => {
    const { code, stdout, stderr } = await command('save', name, '--format', 'rootfs', '-o', '-');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^bin\/\0/);
    assert.ok(stdout.includes('first\n'));
    const { stdout: count } = await script('"$0" "$1" save "$2" --format rootfs -o - | wc -c');
    assert.equal(Number(count) % 512, 0);
  });

  test('save --compress zstd compresses them', async () => {
    const { code, stderr } = await command('save', name, '--format', 'rootfs', '--compress', 'zstd');
    assert.equal(code, 0, stderr);
    const file = join(home.path, 'test_files_rootfs.tar.zst');
    assert.match(zstdDecompressSync(await readFile(file)).toString(), /^bin\/\0/);
    assert.match(stderr, /^test_files_rootfs\.tar\.zst: /);
  });

  test('a missing file is an error with advice', async () => {
    const { code, stdout, stderr } = await command('cat', name, '/etc/none');
    assert.equal(code, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /has no file "\/etc\/none"\.\nList the files with dockerproxy ls IMAGE\.\n$/);
  });

  for (const [args, example] of [
    [['ls'], 'dockerproxy ls busybox /etc'],
    [['cat', 'busybox'], 'dockerproxy cat busybox /etc/passwd'],
    [['ls', 'busybox', '/etc', '/usr'], 'dockerproxy ls busybox /etc'],
  ] as const) {
    test(`dockerproxy ${args.join(' ')} shows an example`, async () => {
      const { code, stderr } = await command(...args);
      assert.equal(code, 64);
      assert.ok(stderr.includes(`Name an image and a path, as in: ${example}`), stderr);
    });
  }
});
