import assert from 'node:assert/strict';
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { download } from '../support/download.ts';
import { skipUnless } from '../support/packages.ts';
import { run, runOrThrow, spawnUntil } from '../support/process.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { standardImages } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '..', '..');

suite('the package, installed elsewhere', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  let folder: TemporaryFolder;
  let registry: Registry;
  let program: string;
  let installed: string;

  before(async () => {
    folder = await temporaryFolder();
    registry = await startRegistry();
    await standardImages(registry);
    // From a copy: packing compiles into the folder, where other tests are at work.
    const copy = join(folder.path, 'copy');
    await runOrThrow('git', ['clone', '--quiet', root, copy]);
    await runOrThrow('cp', ['-al', join(root, 'node_modules'), join(copy, 'node_modules')]);
    // The packages are those of the lockfile already; a fresh clone's date must not have npm install them again.
    await utimes(join(copy, 'package-lock.json'), 0, 0);
    await runOrThrow('npm', ['pack', '--silent', '--pack-destination', folder.path], {
      cwd: copy,
      timeout: 120_000,
    });
    const packed = (await readdir(folder.path)).filter((name) => name.endsWith('.tgz'));
    assert.equal(packed.length, 1);
    const flags = [
      '--global',
      '--prefix',
      folder.path,
      '--no-audit',
      '--no-fund',
      '--prefer-offline',
      '--silent',
    ];
    await runOrThrow('npm', ['install', ...flags, `./${packed[0]}`], { cwd: folder.path, timeout: 180_000 });
    program = join(folder.path, 'bin', 'dockerproxy');
    installed = join(folder.path, 'lib', 'node_modules', 'dockerproxy');
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  const env = () => ({ ...process.env, HOME: folder.path, DOCKERPROXY_INSECURE_REGISTRIES: registry.host });

  test('nothing compiles on install: SSH and BuildKit are the stand-ins, once each', async () => {
    const files = await readdir(join(installed, 'node_modules'), { recursive: true });
    assert.deepEqual(
      files
        .filter((path) => /(?:^|\/)(?:ssh2|grpc-js|proto-loader|protobufjs)\/package\.json$/.test(path))
        .sort(),
      ['@grpc/grpc-js', '@grpc/proto-loader', 'protobufjs', 'ssh2'].map((name) => `${name}/package.json`),
    );
    assert.deepEqual(
      files.filter((path) => /(?:^|\/)(?:nan|cpu-features|binding\.gyp)$/.test(path)),
      [],
    );
  });

  test('the program starts from a few files, which contain the licenses of their packages', async () => {
    const hook = join(root, 'test', 'support', 'loaded-modules.ts');
    await using loaded = await temporaryFolder();
    const { stderr } = await run(
      process.execPath,
      ['--import', hook, join(installed, 'bin', 'dockerproxy.js'), 'save', '127.0.0.1:1/none'],
      { env: { ...env(), LOADED_MODULES: loaded.path } },
    );
    assert.match(stderr, /^127\.0\.0\.1:1/);
    const [file = ''] = await readdir(loaded.path);
    const modules = JSON.parse(await readFile(join(loaded.path, file), 'utf8')) as string[];
    const own = modules.filter((path) => path.startsWith(installed));
    assert.ok(own.length > 0 && own.length < 50, own.join('\n'));
    assert.ok(!modules.includes('NativeModule http2'));
    assert.ok(!own.some((path) => path.slice(installed.length).includes('node_modules')), own.join('\n'));
    const licences = await readFile(join(installed, 'dist', 'THIRD-PARTY-LICENSES'), 'utf8');
    for (const name of ['fastify', 'undici', 'pino'])
      assert.match(licences, new RegExp(`^${name} \\d.* \\(MIT\\)$`, 'm'));
  });

  test('its code is ASCII, which takes one byte a character in memory, and lacks unused packages', async () => {
    const dist = join(installed, 'dist');
    const scripts = (await readdir(dist)).filter((file) => file.endsWith('.cjs'));
    assert.ok(scripts.length > 1);
    for (const name of scripts)
      assert.doesNotMatch(await readFile(join(dist, name), 'utf8'), /[\u0080-\uffff]/, name);
    const licences = await readFile(join(dist, 'THIRD-PARTY-LICENSES'), 'utf8');
    assert.doesNotMatch(licences, /^(?:yaml|mime-db|light-my-request) /m);
  });

  test('it saves an image', async () => {
    const image = `${registry.host}/library/busybox`;
    const { stderr } = await runOrThrow(program, ['save', image], { env: env(), cwd: folder.path });
    assert.match(stderr, /^busybox\.tar: /m);
  });

  test('it serves the same one, and the page', async () => {
    const isListening = ({ stdout }: { stdout(): string }) => /is listening on/.test(stdout());
    await using server = await spawnUntil(program, ['--port', '0'], isListening, { env: env() });
    const [, url = ''] = /is listening on (http:\/\/[\d.:]+)/.exec(server.stdout()) ?? [];
    const { size } = await download(`${url}/dl?myimage=${registry.host}/library/busybox`);
    assert.ok(size > 1_000_000);
    assert.equal((await fetch(url)).status, 200);
  });

  test('it asks for certificates, in the thread that they come from', async () => {
    const hasAsked = ({ stdout }: { stdout(): string }) => /ca-unreachable/.test(stdout());
    await using _server = await spawnUntil(
      program,
      [
        ...['--host', '127.0.0.1', '--port', '0', '--https-port', '0', '--state-dir', folder.path],
        ...['--domains', 'dl.example.org', '--acme-email', 'ops@example.org'],
        ...['--acme-directory', 'https://127.0.0.1:1/directory'],
      ],
      hasAsked,
      { env: env() },
    );
  });

  test('on a Node.js that is too old it runs on the one that came with it', async () => {
    // The first argument does not matter, because only the reported version counts.
    const old = join(folder.path, 'old.mjs');
    const launcher = join(installed, 'bin', 'dockerproxy.js');
    await writeFile(
      old,
      `Object.defineProperty(process.versions, 'node', { value: '18.0.0' });\nawait import('file://${launcher}');\n`,
    );
    const { code, stdout, stderr } = await run(process.execPath, [old, '--version'], { env: env() });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
  });
});
