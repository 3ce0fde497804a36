import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { temporaryCertificate } from '../../src/tls/self-signed-provider.ts';
import { type DockerProxy, entryPoint, startDockerProxy } from '../support/dockerproxy.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { type Descriptor, image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { type RunResult, run, spawnUntil } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, registryUser, startRegistry } from '../support/registry.ts';
import { createSigner, signatureTag, signed } from '../support/signatures.ts';
import { type StandardImages, standardImages } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';
import { startTokenServer } from '../support/token-server.ts';

const SIZE = 6_000_000;
const STALLED_AT = 2_000_000;

suite('dockerproxy save', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  let registry: Registry;
  let images: StandardImages;
  let upstream: FaultProxy;
  let proxy: DockerProxy;
  let home: TemporaryFolder;

  before(async () => {
    registry = await startRegistry();
    images = await standardImages(registry);
    await using random = await randomLayer(SIZE, 'save');
    const platform = { os: 'linux', architecture: 'amd64' };
    await push(registry.url, 'test/random', 'latest', image({ platform, layers: [random] }));
    upstream = await startFaultProxy(registry.url);
    proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: upstream.host } });
    home = await temporaryFolder();
  });
  after(async () => {
    for (const part of [home, proxy, upstream, registry]) await part[Symbol.asyncDispose]();
  });

  const environment = () => ({
    PATH: process.env.PATH,
    HOME: home.path,
    DOCKERPROXY_INSECURE_REGISTRIES: upstream.host,
  });
  const commandLine = (args: string[]) => [entryPoint, 'save', ...args];
  const save = (cwd: string, ...args: string[]): Promise<RunResult> =>
    run(process.execPath, commandLine(args), { env: environment(), cwd });
  const served = async (query: string): Promise<string> =>
    sha256((await httpCall(`${proxy.url}/dl?${query}`)).body);

  test('the file is the one that the server sends, under its name', async () => {
    await using folder = await temporaryFolder();
    const { code, stdout, stderr } = await save(folder.path, `${upstream.host}/library/busybox`);
    assert.equal(code, 0, stderr);
    assert.equal(stdout, '');
    const [first, last, ...others] = stderr.trimEnd().split('\n');
    assert.match(first ?? '', /^layer 1 of 1 {2}[0-9a-f]{12} {2}[\d.]+ [kM]B$/);
    assert.match(
      last ?? '',
      /^busybox\.tar: [\d.]+ [kM]B in [\d.]+ s \([\d.]+ [kMG]B\/s\), image sha256:[0-9a-f]{64}$/,
    );
    assert.deepEqual(others, []);
    const bytes = await readFile(join(folder.path, 'busybox.tar'));
    assert.equal(sha256(bytes), await served(`myimage=${upstream.host}/library/busybox`));
    assert.deepEqual(await readdir(folder.path), ['busybox.tar']);
  });

  test('several images, a platform and a format go the same way', async () => {
    await using folder = await temporaryFolder();
    const images = [`${upstream.host}/library/busybox`, `${upstream.host}/test/shared:1`];
    const flags = ['--platform', 'linux/amd64', '--format', 'oci', '-o', 'two.tar'];
    const { code, stderr } = await save(folder.path, ...images, ...flags);
    assert.equal(code, 0, stderr);
    const query = `myimage=${images.join('&myimage=')}&platform=linux/amd64&format=oci`;
    assert.equal(sha256(await readFile(join(folder.path, 'two.tar'))), await served(query));
  });

  test('reads images from stdin, more than a URL may name, and reports the registry and the user', async () => {
    await using folder = await temporaryFolder();
    const names = ['library/busybox', 'test/shared:1', 'test/shared:2'].map(
      (name) => `${upstream.host}/${name}`,
    );
    const many = Array.from({ length: 9 }, (_, at) => `${upstream.host}/library/busybox:copy${at}`);
    for (const name of many)
      await push(registry.url, 'library/busybox', name.slice(name.lastIndexOf(':') + 1), images.busybox);
    const input = `services:\n${[...names, ...many].map((name, at) => `  s${at}: { image: "${name}" }\n`).join('')}`;
    const args = commandLine(['--from', '-', '-v', '-o', 'all.tar']);
    const options = { env: { ...environment(), DOCKER_CONFIG: folder.path }, cwd: folder.path, input };
    const { code, stderr } = await run(process.execPath, args, options);
    assert.equal(code, 0, stderr);
    assert.ok(stderr.includes(`Using registry ${upstream.host}\n`), stderr);
    const { stdout } = await run('tar', ['-xOf', 'all.tar', 'index.json'], { cwd: folder.path });
    assert.equal(JSON.parse(stdout).manifests.length, 12);
  });

  test('saves each service of a compose file for its platform', async () => {
    await using folder = await temporaryFolder();
    await push(registry.url, 'test/multi', 'v1', images.busybox);
    const compose = `services:
  arm:
    image: ${upstream.host}/library/busybox
    platform: linux/arm64
  own:
    image: ${upstream.host}/test/multi:v1
`;
    await writeFile(join(folder.path, 'compose.yaml'), compose);
    for (const format of ['docker', 'oci']) {
      const { code, stderr } = await save(folder.path, '--from', 'compose.yaml', '--format', format);
      assert.equal(code, 0, stderr);
      const { busyboxArm64, busyboxAmd64 } = images;
      assert.deepEqual(
        stderr.match(/sha256:\w{64}/g),
        [busyboxArm64, busyboxAmd64].map(({ descriptor }) => descriptor.digest),
      );
      const file = 'busybox+test_multi_v1_linux-arm64+linux-amd64.tar';
      const { stdout } = await run('tar', ['-xOf', file, 'index.json'], { cwd: folder.path });
      assert.deepEqual(
        JSON.parse(stdout).manifests.map(({ platform }: Descriptor) => platform?.architecture),
        ['arm64', 'amd64'],
      );
    }
    const refused = await save(
      folder.path,
      ...['--from', 'compose.yaml', '--metalink', '--replicas', 'https://dl.example.org'],
    );
    assert.equal(refused.code, 64);
    assert.match(refused.stderr, /Metalinks are not available for images of different platforms\./);
  });

  test('- is stdout, and the words go to stderr', async () => {
    await using folder = await temporaryFolder();
    const line = `"$0" "$@" | sha256sum`;
    const args = [
      '-c',
      line,
      process.execPath,
      ...commandLine([`${upstream.host}/library/busybox`, '-o', '-']),
    ];
    const { stdout } = await run('sh', args, { env: environment(), cwd: folder.path });
    assert.equal(stdout.split(' ', 1)[0], await served(`myimage=${upstream.host}/library/busybox`));
    assert.deepEqual(await readdir(folder.path), []);
  });

  test('into a folder it goes under its name, and replaces what was there', async () => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, 'images'));
    await writeFile(join(folder.path, 'images', 'busybox.tar'), 'old');
    const { code, stderr } = await save(folder.path, `${upstream.host}/library/busybox`, '-o', 'images');
    assert.equal(code, 0, stderr);
    assert.ok((await stat(join(folder.path, 'images', 'busybox.tar'))).size > 100_000);
    assert.match(stderr, /^Note: images\/busybox\.tar exists and is replaced\.\n/);
  });

  test('a device is written to, not replaced', async () => {
    await using folder = await temporaryFolder();
    const { code } = await save(folder.path, `${upstream.host}/library/busybox`, '-o', '/dev/null');
    assert.equal(code, 0);
    assert.ok((await stat('/dev/null')).isCharacterDevice());
  });

  test('an interrupted save leaves no file and goes on where it stopped', async () => {
    await using folder = await temporaryFolder();
    const name = `${upstream.host}/test/random`;
    upstream.inject(({ method, path }) =>
      method === 'GET' && path.includes('/blobs/') ? { kind: 'stall', after: STALLED_AT } : undefined,
    );
    const isStalled = (): boolean => upstream.requests.some(({ sent }) => sent >= STALLED_AT);
    const options = { env: environment(), cwd: folder.path };
    await using first = await spawnUntil(process.execPath, commandLine([name]), isStalled, options);
    await first.stop('SIGINT');
    assert.equal((await first.exited).code, 130);
    assert.equal(first.stderr(), 'Interrupted. The same command continues where this one stopped.\n');
    assert.deepEqual(await readdir(folder.path), []);

    upstream.inject(undefined);
    upstream.requests.length = 0;
    const { code, stderr } = await save(folder.path, name, '-o', 'random.tar');
    assert.equal(code, 0, stderr);
    assert.equal(sha256(await readFile(join(folder.path, 'random.tar'))), await served(`myimage=${name}`));
    const ranges = upstream.requests.flatMap(({ headers: { range } }) => range ?? []);
    assert.match(ranges.join(), /^bytes=\d+-/);
  });

  test('parts, their checksums, a delta and all platforms are what the server sends', async () => {
    await using folder = await temporaryFolder();
    const name = `${upstream.host}/test/random`;
    const parts = await save(folder.path, name, '--parts', '2MiB', '--checksum');
    assert.equal(parts.code, 0, parts.stderr);
    assert.match(parts.stderr, /^test_random\.tar in 3 parts: 6\.0 MB/m);
    assert.match(parts.stderr, /, checksums in test_random\.tar\.3-parts\.sha256, image/);
    const numbers = [1, 2, 3];
    const files = numbers.map((number) => `test_random.tar.part0${number}of03`);
    assert.deepEqual((await readdir(folder.path)).sort(), ['test_random.tar.3-parts.sha256', ...files]);
    const lines = await Promise.all(
      numbers.map(async (number) => {
        const bytes = await readFile(join(folder.path, files[number - 1] ?? ''));
        assert.equal(sha256(bytes), await served(`myimage=${name}&parts=2MiB&part=${number}`));
        return `${sha256(bytes)}  ${files[number - 1]}\n`;
      }),
    );
    assert.equal(await readFile(join(folder.path, 'test_random.tar.3-parts.sha256'), 'utf8'), lines.join(''));

    const one = await save(folder.path, name, '--parts', '2MiB', '--part', '2', '-o', 'two');
    assert.equal(one.code, 0, one.stderr);
    assert.deepEqual(
      await readFile(join(folder.path, 'two')),
      await readFile(join(folder.path, files[1] ?? '')),
    );

    const [older, newer] = ['1', '2'].map((tag) => `${upstream.host}/test/shared:${tag}`);
    const delta = await save(folder.path, `${newer}`, '--have', `${older}`, '--checksum');
    assert.equal(delta.code, 0, delta.stderr);
    assert.match(delta.stderr, /^Note: a delta: it loads only where the omitted layer/);
    const [, hash] = /\n\S+: .*, file sha256:([0-9a-f]{64}), image sha256:/.exec(delta.stderr) ?? [];
    assert.match(
      delta.stderr,
      /\nLoad and tag it: docker load --platform linux\/amd64 --input \S+_delta-from-1\.tar && \{ docker tag \S+@sha256:\S+ \S+:2 \|\| docker/,
    );
    const file = 'test_shared_2_delta-from-1.tar';
    const bytes = await readFile(join(folder.path, file));
    assert.equal(sha256(bytes), await served(`myimage=${newer}&have=${older}`));
    assert.equal(hash, sha256(bytes));
    assert.equal(await readFile(join(folder.path, `${file}.sha256`), 'utf8'), `${sha256(bytes)}  ${file}\n`);

    const all = ['--platform', 'all', '--format', 'oci', '-o', '-'];
    const piped = await save(folder.path, `${upstream.host}/library/busybox`, ...all, '--checksum');
    assert.equal(piped.code, 64);
    assert.match(piped.stderr, /^stdout takes only one file/);
    const busybox = await save(folder.path, `${upstream.host}/library/busybox`, ...all.slice(0, 4));
    assert.equal(busybox.code, 0, busybox.stderr);
    assert.equal(
      sha256(await readFile(join(folder.path, 'busybox_all-platforms.tar'))),
      await served(`myimage=${upstream.host}/library/busybox&platform=all&format=oci`),
    );
    assert.match(
      (await save(folder.path, name, '--parts', '1GiB', '--part', '2')).stderr,
      /^The last part of the archive is number 1, so --part 2 does not exist/,
    );
  });

  test('signatures come with all platforms where they are asked for', async () => {
    await using folder = await temporaryFolder();
    await using team = await createSigner();
    const signature = await signed(team, images.busybox.descriptor.digest);
    const tag = signatureTag(images.busybox.descriptor.digest);
    await push(registry.url, 'library/busybox', tag, signature);
    const name = `${upstream.host}/library/busybox`;
    const all = ['--platform', 'all', '--format', 'oci'];
    const saved = await save(folder.path, name, ...all, '--referrers', '-o', 'signed.tar');
    assert.equal(saved.code, 0, saved.stderr);
    const query = `myimage=${name}&platform=all&format=oci`;
    const bytes = await readFile(join(folder.path, 'signed.tar'));
    assert.equal(sha256(bytes), await served(`${query}&referrers=1`));
    assert.notEqual(sha256(bytes), await served(query));
    const { stdout } = await run('tar', ['-xOf', 'signed.tar', 'index.json'], { cwd: folder.path });
    const roots: { digest: string; annotations: Record<string, string> }[] = JSON.parse(stdout).manifests;
    assert.deepEqual(
      roots.map(({ digest, annotations }) => [digest, annotations['org.opencontainers.image.ref.name']]),
      [
        [images.busybox.descriptor.digest, 'latest'],
        [signature.descriptor.digest, tag],
      ],
    );
    const alone = await save(folder.path, name, '--referrers');
    assert.equal(alone.code, 64);
    assert.match(alone.stderr, /^--referrers requires --format oci\. .*\nSee dockerproxy save --help\.\n$/);
  });

  test('a metalink beside the file has the hashes of the server, and its addresses', async () => {
    await using folder = await temporaryFolder();
    const name = `${upstream.host}/test/random`;
    for (const [parts, query, list] of [
      [[], '', 'test_random.tar.meta4'],
      [['--parts', '2MiB'], '&parts=2097152', 'test_random.tar.3-parts.meta4'],
    ] as const) {
      const saved = await save(folder.path, name, ...parts, '--metalink', '--replicas', proxy.url);
      assert.equal(saved.code, 0, saved.stderr);
      const expected = (await httpCall(`${proxy.url}/dl?myimage=${name}${query}&metalink=1`)).body.toString();
      const file = await readFile(join(folder.path, list), 'utf8');
      assert.equal(file, expected.replaceAll('priority="1"', 'priority="2"'));
    }
    const nowhere = await save(folder.path, name, '--metalink');
    assert.match(
      nowhere.stderr,
      /^A metalink lists the URLs of the services that have the file\. Name them with --replicas/,
    );
  });

  test('uses a token server at another private address if --allow names it', async () => {
    await using folder = await temporaryFolder();
    const pair = temporaryCertificate(['127.0.0.1'], Date.now());
    await using tokens = await startTokenServer({ anonymous: () => false });
    const inside = Number(new URL(tokens.url).port);
    const front = createTlsServer(pair, (socket) => {
      const onward = connect(inside, '127.0.0.1').on('error', () => socket.destroy());
      socket
        .on('error', () => onward.destroy())
        .pipe(onward)
        .pipe(socket);
    });
    await once(front.listen(0, '127.0.0.1'), 'listening');
    const host = `127.0.0.1:${(front.address() as AddressInfo).port}`;
    await using closed = await startRegistry({ auth: { ...tokens.auth, realm: `https://${host}/token` } });
    await standardImages(closed);
    const authority = join(folder.path, 'authority.pem');
    await writeFile(authority, pair.cert);
    const auth = btoa(`${registryUser.name}:${registryUser.password}`);
    await writeFile(join(folder.path, 'config.json'), JSON.stringify({ auths: { [closed.host]: { auth } } }));
    const env = {
      ...environment(),
      DOCKERPROXY_INSECURE_REGISTRIES: closed.host,
      DOCKER_CONFIG: folder.path,
      NODE_EXTRA_CA_CERTS: authority,
    };
    const saveClosed = (...args: string[]): Promise<RunResult> =>
      run(process.execPath, commandLine([`${closed.host}/library/busybox`, ...args]), {
        env,
        cwd: folder.path,
      });
    try {
      const refused = await saveClosed();
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, new RegExp(`${host}.*address is not public`));
      const saved = await saveClosed('--allow', `${host}/**`, '--deny', `${closed.host}/**`);
      assert.equal(saved.code, 0, saved.stderr);
      assert.ok((await readdir(folder.path)).includes('busybox.tar'));
      assert.deepEqual(new Set(tokens.requests.map(({ user }) => user)), new Set([registryUser.name]));
    } finally {
      front.close();
    }
  });

  test('reads /etc/dockerproxy/dockerproxy.toml as root', { skip: skipUnless('namespaces') }, async () => {
    await using folder = await temporaryFolder();
    const etc = join(folder.path, 'etc');
    await mkdir(join(etc, 'dockerproxy'), { recursive: true });
    await writeFile(
      join(etc, 'dockerproxy', 'dockerproxy.toml'),
      `insecure_registries = ["${upstream.host}"]\n`,
    );
    const { DOCKERPROXY_INSECURE_REGISTRIES: _, ...env } = environment();
    // A private mount namespace, so that its /etc is invisible to other processes.
    const script = 'mount --bind "$1" /etc && shift && exec "$@"';
    const command = [process.execPath, ...commandLine([`${upstream.host}/library/busybox`])];
    const saved = await run('unshare', ['--mount', 'sh', '-c', script, 'sh', etc, ...command], {
      env,
      cwd: folder.path,
    });
    assert.equal(saved.code, 0, saved.stderr);
    assert.ok((await readdir(folder.path)).includes('busybox.tar'));
  });

  test('reports images and files that are not available', async () => {
    await using folder = await temporaryFolder();
    const missing = await save(folder.path, `${upstream.host}/no/such`);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /no\/such.*\nCheck the spelling/);
    // The folder is checked before the image, whose preparation can take minutes.
    const unwritable = await save(folder.path, `${upstream.host}/no/such`, '-o', 'no/such/folder.tar');
    assert.equal(unwritable.code, 1);
    assert.match(
      unwritable.stderr,
      /^The folder no\/such does not exist\. Create it, or choose another one with -o\.\n$/,
    );
    const unnamed = await save(folder.path);
    assert.equal(unnamed.code, 64);
    assert.deepEqual(await readdir(folder.path), []);
  });

  test('reports an output that cannot be written, and ends quietly if its reader closes the pipe', async () => {
    await using folder = await temporaryFolder();
    const name = `${upstream.host}/test/random`;
    const full = await save(folder.path, name, '-o', '/dev/full');
    assert.deepEqual([full.code, full.stdout], [1, '']);
    assert.match(
      full.stderr,
      /^The disk is full, so \/dev\/full is incomplete\. Free some space, .* with -o\.\n$/m,
    );
    const shell = (line: string) =>
      run('sh', ['-c', line, process.execPath, ...commandLine([name, '-o', '-'])], {
        env: environment(),
        cwd: folder.path,
      });
    const piped = await shell('{ "$0" "$@"; echo "$?" >&2; } | head -c 1000 | wc -c');
    assert.deepEqual([piped.stdout.trim(), piped.stderr], ['1000', '141\n']);
    const redirected = await shell('"$0" "$@" > /dev/full');
    assert.equal(redirected.code, 1);
    assert.match(redirected.stderr, /^The disk is full, so stdout is incomplete\./m);
  });

  test('reports a disk that fills up, and leaves no file', {
    skip: skipUnless('namespaces'),
  }, async () => {
    await using folder = await temporaryFolder();
    const mounted = 'mount -t tmpfs -o size=1m none . && cd "$PWD" && "$0" "$@"; echo "$?"; ls';
    const args = [
      '--mount',
      'sh',
      '-c',
      mounted,
      process.execPath,
      ...commandLine([`${upstream.host}/test/random`]),
    ];
    const { stdout, stderr } = await run('unshare', args, { env: environment(), cwd: folder.path });
    assert.equal(stdout, '1\n');
    assert.match(
      stderr,
      /^The disk of test_random\.tar has 1\.0 MB free, but the file needs 6\.0 MB\. Free some/,
    );
  });

  test('healthcheck tells whether the service answers', async () => {
    const { port } = new URL(proxy.url);
    const check = (flags: string[]) =>
      run(process.execPath, [entryPoint, 'healthcheck', ...flags], { env: environment() });
    assert.deepEqual(await check(['--port', port]), { code: 0, stdout: '', stderr: '' });
    for (const all of ['0.0.0.0', '::']) {
      assert.equal((await check(['--host', all, '--tls', 'off', '--port', port])).code, 0);
    }
    const registryPort = new URL(registry.url).port;
    const other = await check(['--port', registryPort]);
    assert.equal(other.code, 1);
    assert.match(other.stderr, /\/healthz answers 404/);
  });
});

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
