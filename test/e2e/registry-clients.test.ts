import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makeCertificate } from '../../bench/certificate.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Dockerd, startDockerd, startPodman } from '../support/engines.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { sha256 } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { type RunResult, run } from '../support/process.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { type StandardImages, standardImages } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

/** The output of this command in a real container proves that the image arrived complete. */
const GREETING = ['sh', '-c', 'busybox | head -1'];
const VERSION = /^BusyBox v1\.35/;

const PAGE = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'registry-mirror.md'), 'utf8');

/** Returns the first example of a language in docs/registry-mirror.md that matches. */
function exampleOf(language: string, pattern: RegExp): string {
  const blocks = [...PAGE.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)];
  const found = blocks.find(([, ofBlock, block = '']) => ofBlock === language && pattern.test(block));
  return found?.[2] ?? assert.fail(`no example in ${language} matches ${pattern}`);
}

/** Returns the setting in the text of docs/registry-mirror.md that matches. */
function settingOf(pattern: RegExp): string {
  return pattern.exec(PAGE)?.[1] ?? assert.fail(`no setting matches ${pattern}`);
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
    const mirrored = ['docker.io', 'ghcr.io', 'quay.io'].map(
      (name) => `[registries."${name}"]\nmirrors = ["${registry.url}"]\n`,
    );
    await writeFile(settings, mirrored.join(''));
    for (const tag of ['1', '1.2']) await push(registry.url, 'org/app', tag, images.busybox);
    await push(registry.url, 'org/charts/app', '1.2.3', images.helm);
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
  /** Rewrites an example for the service over TLS. */
  const adapted = (example: string): string => example.replaceAll('dl.example.org', hostOf(encrypted));
  /** The commands of the page that begin with a program. */
  const commandsOf = (program: string): string[] =>
    exampleOf('sh', /^docker pull/)
      .split('\n')
      .filter((line) => line.startsWith(`${program} `))
      .map((line) => adapted(line.replace(/ +#.*/, '')));
  const succeeds = ({ code, stdout, stderr }: RunResult): string => {
    assert.equal(code, 0, `${stderr}${stdout}`);
    return stdout;
  };

  /** Starts the service for a registry that refuses the first request for a blob, with `Retry-After` in seconds. */
  const startLimited = async (retryAfter: string) => {
    await using stack = new AsyncDisposableStack();
    const upstream = stack.use(await startFaultProxy(registry.url));
    const env = {
      DOCKERPROXY_INSECURE_REGISTRIES: upstream.host,
      DOCKERPROXY_REGISTRY_NAMES: `lab=${upstream.host}`,
    };
    const proxy = stack.use(await startDockerProxy({ env }));
    let refusals = 0;
    upstream.inject(({ path }) => {
      if (!path.includes('/blobs/') || refusals > 0) return undefined;
      refusals += 1;
      return { kind: 'answer', status: 429, headers: { 'retry-after': retryAfter } };
    });
    const held = stack.move();
    return {
      ...{ host: hostOf(proxy), refusals: () => refusals },
      [Symbol.asyncDispose]: () => held.disposeAsync(),
    };
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

    test('as a mirror of Docker Hub by the settings in docs/registry-mirror.md, through TLS', async () => {
      const settings = JSON.parse(adapted(exampleOf('json', /registry-mirrors/)));
      const args = settings['registry-mirrors'].map((url: string) => `--registry-mirror=${url}`);
      await using engine = await startDockerd({ args, env: { SSL_CERT_FILE: certificate } });
      await pullAndRun(engine, 'busybox');
      await pullAndRun(engine, `busybox@${images.busybox.descriptor.digest}`);
    });

    test('as a mirror of Docker Hub for its BuildKit', async () => {
      // BuildKit uses plain HTTP for a mirror on loopback, whatever its URL is.
      await using engine = await startDockerd({ args: [`--registry-mirror=${plain?.url}`] });
      await using context = await temporaryFolder();
      for (const base of ['busybox', `${hostOf(plain)}/lab/library/busybox:1.35`]) {
        await writeFile(join(context.path, 'Dockerfile'), `FROM ${base}\nCOPY Dockerfile /from\n`);
        // The client needs a plugin for BuildKit, which the engine has.
        const build = 'http://docker/build?version=2&t=built';
        const post = `tar -c Dockerfile | curl -sS --unix-socket ${engine.socket} -H content-type:application/x-tar -T - -X POST '${build}'`;
        const log = succeeds(await engine.sh(post, context.path));
        assert.doesNotMatch(log, /errorDetail/);
        const read = await engine.docker('run', '--rm', '--network=none', 'built', 'cat', '/from');
        assert.match(succeeds(read), /^FROM /);
      }
    });

    test('by the commands in docs/registry-mirror.md, through TLS', async () => {
      await using engine = await startDockerd({ env: { SSL_CERT_FILE: certificate } });
      const commands = commandsOf('docker');
      assert.equal(commands.length, 3);
      for (const command of commands) succeeds(await engine.sh(command, folder.path));
    });

    test('and shows the sentence of a limit', async () => {
      await using limited = await startDockerProxy({
        env: {
          DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
          DOCKERPROXY_REGISTRY_NAMES: `lab=${registry.host}`,
          DOCKERPROXY_RATE_LIMIT: '1/day',
        },
      });
      await using engine = await startDockerd();
      const pull = () => engine.docker('pull', `${hostOf(limited)}/lab/library/busybox`);
      succeeds(await pull());
      const { code, stderr } = await pull();
      assert.notEqual(code, 0);
      assert.match(stderr, /toomanyrequests: \w+.*\./);
    });

    test('while its registry limits requests for blobs', async () => {
      await using bed = await startLimited('1');
      await using engine = await startDockerd();
      succeeds(await engine.docker('pull', `${bed.host}/lab/library/busybox`));
      assert.equal(bed.refusals(), 1);
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

  test('containerd, which tries again after a limit', { skip: skipUnless('dockerd', 'docker') }, async () => {
    await using bed = await startLimited('60');
    await using engine = await startDockerd();
    succeeds(await engine.ctr('images', 'pull', '--plain-http', `${bed.host}/lab/library/busybox:latest`));
    assert.equal(bed.refusals(), 1);
  });

  suite('containerd by the settings in docs/registry-mirror.md', {
    skip: skipUnless('dockerd', 'docker'),
  }, () => {
    const trusted = () => settingOf(/`(ca = "[^"]*")`/).replace(/"[^"]*"/, `"${certificate}"`);

    test('for containerd and nerdctl', async () => {
      await using engine = await startDockerd();
      const hosts = join(folder.path, 'default.d');
      await mkdir(join(hosts, '_default'), { recursive: true });
      const server = settingOf(/`(server = "[^"]*")`/);
      const lines = [server, exampleOf('ini', /\[host\./).trimEnd(), `  ${trusted()}\n`];
      await writeFile(join(hosts, '_default', 'hosts.toml'), adapted(lines.join('\n')));
      for (const name of ['docker.io/library/busybox:latest', 'ghcr.io/org/app:1.2', 'quay.io/org/app:1'])
        succeeds(await engine.ctr('images', 'pull', '--hosts-dir', hosts, name));
      const denied = await engine.ctr('images', 'pull', '--hosts-dir', hosts, 'registry.example/app:1');
      assert.match(denied.stderr, new RegExp(`${hostOf(encrypted)}.*403`));
    });

    // The files that k3s writes from registries.yaml; older versions name the path of the API.
    for (const path of ['', '/v2'])
      test(`for k3s, whose hosts.toml has the URL with the path "${path}"`, async () => {
        await using engine = await startDockerd();
        const hosts = join(folder.path, `k3s${path.replace('/', '-')}.d`);
        await mkdir(join(hosts, '_default'), { recursive: true });
        const [, url] = /^ +- "(https:.*)"$/m.exec(adapted(exampleOf('yaml', /endpoint:/))) ?? [];
        const host = `[host."${url}${path}"]\n  capabilities = ["pull", "resolve"]\n  ca = ["${certificate}"]\n`;
        await writeFile(
          join(hosts, '_default', 'hosts.toml'),
          `# File generated by k3s. DO NOT EDIT.\n\n\n${host}`,
        );
        for (const name of ['docker.io/library/busybox:latest', 'ghcr.io/org/app:1.2'])
          succeeds(await engine.ctr('images', 'pull', '--hosts-dir', hosts, name));
      });

    test('for kind, whose patch containerd reads', async () => {
      const [, patch = ''] =
        /containerdConfigPatches:\n +- \|-\n([\s\S]*)$/.exec(exampleOf('yaml', /kind: Cluster/)) ?? [];
      const file = join(folder.path, 'config.toml');
      await writeFile(file, `version = 2\n${patch.replace(/^ {4}/gm, '')}`);
      const dumped = succeeds(await run('containerd', ['--config', file, 'config', 'dump']));
      assert.match(dumped, /config_path = "\/etc\/containerd\/certs\.d"/);
    });
  });

  test('Helm, by the requests that its client sends', async () => {
    const base = `${encrypted?.url}/v2/ghcr.io/org/charts/app`;
    const types = [
      'application/vnd.docker.distribution.manifest.v2+json',
      'application/vnd.docker.distribution.manifest.list.v2+json',
      'application/vnd.oci.image.manifest.v1+json',
      'application/vnd.oci.image.index.v1+json',
      'application/vnd.oci.artifact.manifest.v1+json',
    ];
    const headers = { accept: types.join(', '), 'user-agent': 'Helm/3.19.0' };
    const tags = await httpCall(`${base}/tags/list`, { headers });
    assert.deepEqual(JSON.parse(tags.body.toString()).tags, ['1.2.3']);
    const { digest, mediaType, size } = images.helm.descriptor;
    const resolved = await httpCall(`${base}/manifests/1.2.3`, { method: 'HEAD', headers });
    assert.equal(resolved.headers['docker-content-digest'], digest);
    assert.equal(resolved.headers['content-type'], mediaType);
    assert.equal(resolved.headers['content-length'], `${size}`);
    const fetched = await httpCall(`${base}/manifests/${digest}`, { headers: { accept: mediaType } });
    assert.deepEqual(fetched.body, images.helm.bytes);
    const { config, layers } = JSON.parse(fetched.body.toString());
    for (const blob of [config, ...layers]) {
      const whole = await httpCall(`${base}/blobs/${blob.digest}`);
      assert.equal(whole.headers['content-length'], `${blob.size}`);
      assert.equal(sha256(whole.body), blob.digest);
      // The client seeks by ranges if the response says that it may.
      assert.equal(whole.headers['accept-ranges'], 'bytes');
      const part = await httpCall(`${base}/blobs/${blob.digest}`, {
        headers: { range: `bytes=1-${blob.size - 1}` },
      });
      assert.deepEqual([part.status, part.body], [206, whole.body.subarray(1)]);
    }
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
      const block = exampleOf('ini', /registry\.mirror/).replace(
        /^(location = ")dl\.example\.org(.*)$/gm,
        `$1${hostOf(plain)}$2\ninsecure = true`,
      );
      await writeFile(engine.env.CONTAINERS_REGISTRIES_CONF ?? '', block);
      succeeds(await engine.podman('pull', 'docker.io/library/busybox'));
    });

    test('by the settings in docs/registry-mirror.md that replace the registry', async () => {
      await using engine = await startPodman();
      const block = adapted(exampleOf('ini', /^prefix = /m));
      await writeFile(engine.env.CONTAINERS_REGISTRIES_CONF ?? '', block);
      const pull = (name: string) =>
        engine.sh(`SSL_CERT_FILE=${certificate} podman pull ${name}`, folder.path);
      succeeds(await pull('docker.io/library/busybox'));
      const absent = await pull('docker.io/library/absent');
      assert.notEqual(absent.code, 0);
      assert.match(absent.stderr, new RegExp(`in ${hostOf(encrypted)}/docker\\.io/library/absent`));
    });

    test('by the command in docs/registry-mirror.md, through TLS', async () => {
      await using engine = await startPodman();
      const [command] = commandsOf('podman');
      succeeds(await engine.sh(`SSL_CERT_FILE=${certificate} ${command}`, folder.path));
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

    test('by the command in docs/registry-mirror.md, through TLS', async () => {
      const [command = ''] = commandsOf('skopeo');
      const env = { ...process.env, SSL_CERT_FILE: certificate };
      succeeds(await run('sh', ['-c', command], { cwd: folder.path, env }));
      const copied = JSON.parse(await readFile(join(folder.path, 'app', 'index.json'), 'utf8'));
      assert.equal(copied.manifests[0].digest, images.busyboxAmd64.descriptor.digest);
      const all = [
        'copy',
        '--all',
        '--preserve-digests',
        `docker://${hostOf(encrypted)}/lab/library/busybox`,
      ];
      succeeds(await run('skopeo', [...all, `dir:${join(folder.path, 'encrypted')}`], { env }));
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
