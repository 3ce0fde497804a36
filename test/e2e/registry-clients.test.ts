import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makeCertificate } from '../../bench/certificate.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Dockerd, startDockerd, startPodman } from '../support/engines.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { type RunResult, run, type TemporaryFolder, temporaryFolder } from '../support/process.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { type StandardImages, standardImages } from '../support/standard-images.ts';

/** The output of this command in a real container proves that the image arrived complete. */
const GREETING = ['sh', '-c', 'busybox | head -1'];
const VERSION = /^BusyBox v1\.35/;

/** The first example in docs/registry-mirror.md that matches. */
function exampleOf(pattern: RegExp): string {
  const page = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'registry-mirror.md'), 'utf8');
  const blocks = [...page.matchAll(/^```ini\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);
  return blocks.find((block) => pattern.test(block)) ?? '';
}

suite('the registry API serves', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  let resources: AsyncDisposableStack;
  let registry: Registry;
  let folder: TemporaryFolder;
  /** By plain HTTP, and by TLS with a certificate that clients trust. */
  let [plain, encrypted]: DockerProxy[] = [];
  let certificate: string;
  let images: StandardImages;

  before(async () => {
    resources = new AsyncDisposableStack();
    folder = resources.use(await temporaryFolder());
    registry = resources.use(await startRegistry());
    images = await standardImages(registry);
    const settings = join(folder.path, 'settings.toml');
    await writeFile(settings, `[registries."docker.io"]\nmirrors = ["${registry.url}"]\n`);
    const files = await makeCertificate(folder.path);
    certificate = files.certificate;
    const args = ['--config', settings, '--insecure-registries', registry.host];
    const env = { DOCKERPROXY_REGISTRY_NAMES: `lab=${registry.host}` };
    plain = resources.use(await startDockerProxy({ args, env }));
    const tls = ['--tls-cert-file', files.certificate, '--tls-key-file', files.key];
    encrypted = resources.use(await startDockerProxy({ args: [...args, ...tls], env }));
  });
  after(() => resources?.disposeAsync());

  const hostOf = (proxy: DockerProxy | undefined): string => new URL(proxy?.url ?? '').host;
  const succeeds = ({ code, stdout, stderr }: RunResult): string => {
    assert.equal(code, 0, `${stderr}${stdout}`);
    return stdout;
  };

  suite('dockerd', { skip: skipUnless('dockerd', 'docker') }, () => {
    const pullAndRun = async (engine: Dockerd, image: string): Promise<void> => {
      succeeds(await engine.docker('pull', image));
      assert.match(
        succeeds(await engine.docker('run', '--rm', '--network=none', image, ...GREETING)),
        VERSION,
      );
      succeeds(await engine.docker('image', 'rm', '--force', image));
    };

    test('by name, tag, and digest, and the images run', async () => {
      await using engine = await startDockerd();
      const host = hostOf(plain);
      const { digest } = images.busybox.descriptor;
      for (const image of [
        'lab/library/busybox',
        'lab/library/busybox:1.35',
        `lab/library/busybox@${digest}`,
        `lab/library/busybox@${images.busyboxAmd64.descriptor.digest}`,
        'docker.io/library/busybox',
        'library/busybox',
        'busybox',
      ])
        await pullAndRun(engine, `${host}/${image}`);
    });

    test('as a mirror of Docker Hub', async () => {
      await using engine = await startDockerd({ args: [`--registry-mirror=${plain?.url}`] });
      await pullAndRun(engine, 'busybox');
      await pullAndRun(engine, `busybox@${images.busybox.descriptor.digest}`);
    });

    test('through TLS', async () => {
      await using engine = await startDockerd({ env: { SSL_CERT_FILE: certificate } });
      await pullAndRun(engine, `${hostOf(encrypted)}/lab/library/busybox`);
    });

    test('and refuses what is not allowed with a sentence, and push', async () => {
      await using engine = await startDockerd();
      const host = hostOf(plain);
      const denied = await engine.docker('pull', `${host}/registry.example/app`);
      assert.match(denied.stderr, /denied: This service is not allowed to fetch "registry\.example\/app"/);
      const absent = await engine.docker('pull', `${host}/lab/absent`);
      assert.match(absent.stderr, /not found: manifest unknown: The image \S+ does not exist/);
      succeeds(await engine.docker('pull', `${host}/lab/library/busybox`));
      succeeds(await engine.docker('tag', `${host}/lab/library/busybox`, `${host}/lab/new`));
      const pushed = await engine.docker('push', `${host}/lab/new`);
      assert.notEqual(pushed.code, 0);
      assert.match(pushed.stderr, /unsupported|405/i);
    });
  });

  test('containerd by hosts.toml, with ns', { skip: skipUnless('dockerd', 'docker') }, async () => {
    await using engine = await startDockerd();
    const hosts = join(folder.path, 'certs.d');
    for (const [registryName, lines] of [
      ['docker.io', `[host."${plain?.url}"]\n  capabilities = ["pull", "resolve"]\n`],
      [
        registry.host,
        `[host."${encrypted?.url}"]\n  capabilities = ["pull", "resolve"]\n  ca = "${certificate}"\n`,
      ],
    ] as const) {
      await mkdir(join(hosts, registryName), { recursive: true });
      await writeFile(join(hosts, registryName, 'hosts.toml'), lines);
    }
    const pull = (...args: string[]) => engine.ctr('images', 'pull', '--hosts-dir', hosts, ...args);
    succeeds(await pull('docker.io/library/busybox:latest'));
    succeeds(await pull('--all-platforms', `${registry.host}/library/busybox:1.35`));
    succeeds(await pull(`${registry.host}/library/busybox@${images.busybox.descriptor.digest}`));
    const listed = succeeds(await engine.ctr('images', 'list', '-q'));
    assert.equal(listed.trim().split('\n').length, 3);
  });

  test('containerd by the settings in docs/registry-mirror.md', {
    skip: skipUnless('dockerd', 'docker'),
  }, async () => {
    await using engine = await startDockerd();
    const hosts = join(folder.path, 'default.d');
    await mkdir(join(hosts, '_default'), { recursive: true });
    const block = exampleOf(/\[host\./).replaceAll('https://dl.example.org', plain?.url ?? '');
    await writeFile(join(hosts, '_default', 'hosts.toml'), block);
    succeeds(await engine.ctr('images', 'pull', '--hosts-dir', hosts, 'docker.io/library/busybox:latest'));
  });

  test('nothing if it is off', async () => {
    await using proxy = await startDockerProxy({ args: ['--registry-api', 'off'] });
    const { status, headers } = await httpCall(`${proxy.url}/v2/`);
    assert.equal(status, 404);
    assert.equal(headers['docker-distribution-api-version'], undefined);
  });

  suite('podman', { skip: skipUnless('podman') }, () => {
    test('by name through TLS, and the image runs', async () => {
      await using engine = await startPodman();
      const folderOfCertificates = join(folder.path, 'certificates');
      await mkdir(folderOfCertificates, { recursive: true });
      await writeFile(join(folderOfCertificates, 'ca.crt'), await readFile(certificate));
      const image = `${hostOf(encrypted)}/lab/library/busybox`;
      succeeds(await engine.podman('pull', '--cert-dir', folderOfCertificates, image));
      assert.match(
        succeeds(await engine.podman('run', '--rm', '--network=none', image, ...GREETING)),
        VERSION,
      );
    });

    test('by the settings in docs/registry-mirror.md', async () => {
      await using engine = await startPodman();
      const block = exampleOf(/\[\[registry\]\]/).replace(
        /^(location = ")dl\.example\.org(.*)$/gm,
        `$1${hostOf(plain)}$2\ninsecure = true`,
      );
      await writeFile(engine.env.CONTAINERS_REGISTRIES_CONF ?? '', block);
      succeeds(await engine.podman('pull', 'docker.io/library/busybox'));
    });

    test('by plain HTTP as an insecure registry', async () => {
      await using engine = await startPodman({ insecureRegistries: [hostOf(plain)] });
      succeeds(await engine.podman('pull', `${hostOf(plain)}/docker.io/library/busybox`));
    });
  });

  suite('skopeo', { skip: skipUnless('skopeo') }, () => {
    const skopeo = (...args: string[]) => run('skopeo', args);
    const remote = (name: string) => `docker://${hostOf(plain)}/${name}`;

    test('all platforms, byte for byte', async () => {
      const target = join(folder.path, 'all');
      const copy = ['copy', '--all', '--preserve-digests', '--src-tls-verify=false'];
      succeeds(await skopeo(...copy, remote('lab/library/busybox'), `dir:${target}`));
      assert.deepEqual(await readFile(join(target, 'manifest.json')), images.busybox.bytes);
    });

    test('charts, nested indexes, tags, and digests', async () => {
      const raw = ['inspect', '--raw', '--tls-verify=false'];
      for (const [name, { bytes }] of [
        ['lab/test/helm', images.helm],
        ['lab/test/nested', images.nested],
        ['lab/test/zstd', images.zstd],
        [`lab/library/busybox@${images.busyboxArm64.descriptor.digest}`, images.busyboxArm64],
      ] as const)
        assert.equal(succeeds(await skopeo(...raw, remote(name))), bytes.toString());
      const tags = succeeds(await skopeo('list-tags', '--tls-verify=false', remote('lab/library/busybox')));
      assert.deepEqual(JSON.parse(tags).Tags, ['1.35', 'latest']);
    });
  });
});
