import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makeCertificates } from '../support/certificates.ts';
import { buildContainerImage } from '../support/container-image.ts';
import { download, startDownload } from '../support/download.ts';
import { buildEngineImage } from '../support/engine-image.ts';
import { type Dockerd, startDockerd } from '../support/engines.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { type RunResult, runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { reservePort } from '../support/reserve-port.ts';
import { busyboxImage } from '../support/standard-images.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const IMAGE = 'dockerproxy';
const OWN_NODE = 'dockerproxy:own-node';
const ENGINE = 'dockerproxy-test/engine';
const deploy = join(import.meta.dirname, '..', '..', 'deploy');
const COMPOSE = join(deploy, 'compose.yaml');
const SLOW = { timeout: 120_000 };
const LAYER_BYTES = 64 * 1024 * 1024;
const skip = skipUnless(
  'dockerd',
  'docker-compose',
  'wget',
  'ip',
  'debootstrap',
  'docker-registry',
  'busybox-amd64',
);

suite('the container', { skip, timeout: 600_000 }, () => {
  let stack: AsyncDisposableStack;
  let engine: Dockerd;
  let registry: Registry;

  before(async () => {
    stack = new AsyncDisposableStack();
    engine = stack.use(await startDockerd());
    registry = stack.use(await startRegistry());
    await push(registry.url, 'library/busybox', 'latest', await busyboxImage('amd64'));
    await using random = await randomLayer(LAYER_BYTES, 'container');
    await push(registry.url, 'big', 'latest', await busyboxImage('amd64', { layers: [random] }));
    await buildContainerImage(engine, IMAGE, OWN_NODE);
  });
  after(() => stack[Symbol.asyncDispose]());

  /** As compose.yaml runs it, but with the network of this machine. */
  async function start(variables: Record<string, string> = {}, flags: string[] = []) {
    const port = await reservePort();
    const settings = {
      DOCKERPROXY_TLS: 'off',
      DOCKERPROXY_PORT: `${port}`,
      DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
      ...variables,
    };
    const container = await docker(
      ...['run', '--detach', '--network=host', '--read-only', '--cap-drop=ALL', '--health-interval=1s'],
      ...['--security-opt=no-new-privileges:true', '--volume=cache:/var/cache/dockerproxy', ...flags],
      ...Object.entries(settings).map(([name, value]) => `--env=${name}=${value}`),
      IMAGE,
    );
    const inspect = (format: string) => docker('inspect', `--format=${format}`, container);
    await waitFor(async () => (await inspect('{{.State.Health.Status}}')) !== 'starting', {
      timeout: 60_000,
    });
    return {
      url: `http://127.0.0.1:${port}`,
      name: container,
      inspect,
      [Symbol.asyncDispose]: async () => {
        await engine.docker('rm', '--force', '--volumes', container);
      },
    };
  }

  async function docker(...args: string[]): Promise<string> {
    const { code, stdout, stderr }: RunResult = await engine.docker(...args);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  }

  test('it tells its version and its settings', async () => {
    assert.match(
      await docker('run', '--rm', '--network=none', '--read-only', IMAGE, '--version'),
      /^\d+\.\d+\.\d+$/,
    );
    const told = await docker('run', '--rm', '--network=none', IMAGE, 'check-config', '--tls=off');
    assert.match(told, /^state_dir = "\/var\/lib\/dockerproxy"/m);
    assert.match(told, /^cache_dir = "\/var\/cache\/dockerproxy"/m);
  });

  test('it serves, read-only and without root, and is healthy', async (context) => {
    await using container = await start();
    assert.equal(await container.inspect('{{.State.Health.Status}}'), 'healthy');
    const { status } = await download(`${container.url}/dl?myimage=${registry.host}/library/busybox`);
    assert.equal(status, 200);
    const process = await readFile(`/proc/${await container.inspect('{{.State.Pid}}')}/status`, 'utf8');
    assert.match(process, /^Uid:\t65532\t65532\t65532\t65532$/m);
    assert.match(process, /^CapBnd:\t0{16}$/m);
    assert.equal(await docker('diff', container.name), '');
    // The base image has no shell and no npm.
    for (const name of ['sh', 'ls']) {
      const { stdout, stderr } = await engine.docker('exec', container.name, name);
      assert.match(`${stdout}${stderr}`, /executable file not found/);
    }
    const [bytes, base] = [IMAGE, 'dockerproxy-test/base'].map((name) =>
      docker('inspect', '--format={{.Size}}', name),
    );
    const added = Number(await bytes) - Number(await base);
    context.diagnostic(`${Math.round(added / 2 ** 20)} MiB on top of its base`);
    assert.ok(added < 200 * 2 ** 20);
  });

  test('it runs on the Node.js of its base, where it is built so', async () => {
    const run = (...args: string[]) => docker('run', '--rm', '--network=none', ...args);
    assert.match(await run(OWN_NODE, '--version'), /^\d+\.\d+\.\d+$/);
    const where = ['-e', 'console.log(process.execPath)'];
    assert.equal(await run('--entrypoint=node', OWN_NODE, ...where), '/usr/local/bin/node');
    assert.match(await run('--entrypoint=node', IMAGE, ...where), /^\/opt\/dockerproxy\/node_modules\//);
  });

  test('a service that does not answer, or stalls, is unhealthy', async () => {
    await using both = new AsyncDisposableStack();
    const [silent, hanging] = await Promise.all([
      start({ DOCKERPROXY_PORT: '0' }, ['--health-retries=2', '--health-start-period=1s']),
      start({}, ['--health-retries=2']),
    ]);
    for (const container of [silent, hanging]) both.use(container);
    assert.notEqual(await silent.inspect('{{.State.Health.Status}}'), 'healthy');
    const health = () => hanging.inspect('{{.State.Health.Status}}');
    assert.equal(await health(), 'healthy');
    // Kill all processes, because workers continue to serve without their primary.
    const [, ...pids] = (await docker('top', hanging.name, '-eo', 'pid')).split('\n').map(Number);
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    await waitFor(async () => (await health()) === 'unhealthy', { timeout: 60_000, what: 'unhealthy' });
    const told = await hanging.inspect('{{range .State.Health.Log}}{{.Output}}{{end}}');
    assert.match(told, /\/healthz does not respond/);
  });

  test('its volumes outlive it', async () => {
    for (const requests of [1, 0]) {
      await using container = await start();
      await registry.reset();
      await download(`${container.url}/dl?myimage=${registry.host}/big`);
      const layers = (await registry.requests()).filter(
        ({ path, bytes }) => /\/blobs\//.test(path) && bytes > LAYER_BYTES,
      );
      assert.equal(layers.length, requests);
    }
  });

  test('a stop lets a download under way end', async () => {
    await using container = await start();
    const ongoing = startDownload(`${container.url}/dl?myimage=${registry.host}/big`, { pauseAt: 1 });
    await waitFor(() => ongoing.received() > 0);
    const stopped = docker('stop', '--time=45', container.name);
    await waitFor(
      async () => (await httpCall(`${container.url}/healthz`).catch(() => undefined)) === undefined,
    );
    ongoing.resume();
    assert.ok((await ongoing.done).size > LAYER_BYTES);
    await stopped;
    assert.equal(await container.inspect('{{.State.ExitCode}}'), '0');
  });

  test('with an engine of its own, over TCP and TLS', async () => {
    await using folder = await temporaryFolder();
    const { server, client } = await makeCertificates(folder.path);
    // World-readable, as in the image of Docker in Docker.
    for (const name of ['ca.pem', 'cert.pem', 'key.pem']) await chmod(join(client, name), 0o644);
    await chmod(client, 0o755);
    await chmod(folder.path, 0o755);
    const port = await reservePort();
    const address = `tcp://127.0.0.1:${port}`;
    await using inner = await startDockerd({
      args: [
        ...[`--host=${address}`, '--tlsverify', `--tlscacert=${join(server, 'ca.pem')}`],
        ...[`--tlscert=${join(server, 'cert.pem')}`, `--tlskey=${join(server, 'key.pem')}`],
      ],
    });
    const variables = {
      DOCKERPROXY_SOURCE: 'engine',
      DOCKER_HOST: address,
      DOCKER_TLS_VERIFY: '1',
      DOCKER_CERT_PATH: '/certs/client',
    };
    await using container = await start(variables, [`--volume=${client}:/certs/client:ro`]);
    const { status, size } = await download(`${container.url}/dl?myimage=${registry.host}/library/busybox`);
    assert.equal(status, 200);
    assert.ok(size > 1_000_000);
    const { stdout } = await inner.docker('images', '--format={{.Repository}}');
    assert.equal(stdout.trim(), `${registry.host}/library/busybox`);
  });

  suite('by compose.yaml', () => {
    let bridged: Dockerd;

    before(async () => {
      bridged = stack.use(await startDockerd({ bridged: true }));
      await buildEngineImage(engine, ENGINE);
      const copy = 'docker --host "$1" save "$3" "$4" | docker --host "$2" load';
      const images = [IMAGE, ENGINE];
      await runOrThrow('sh', ['-euc', copy, 'sh', engine.dockerHost, bridged.dockerHost, ...images], SLOW);
    });

    /** @param more the content of a file beside it */
    async function up(profile: string, service: string, variables: Record<string, string>, more = '') {
      await using made = new AsyncDisposableStack();
      const folder = made.use(await temporaryFolder());
      const override = join(folder.path, 'compose.override.yaml');
      if (more !== '') await writeFile(override, more);
      const env = {
        ...process.env,
        DOCKER_HOST: bridged.dockerHost,
        COMPOSE_PROJECT_NAME: profile,
        DOCKERPROXY_ENGINE_IMAGE: ENGINE,
        ...variables,
      };
      const files = [COMPOSE, ...(more === '' ? [] : [override])].map((file) => `--file=${file}`);
      const compose = (...args: string[]) =>
        runOrThrow('docker-compose', [...files, '--profile', profile, ...args], { env, ...SLOW });
      made.defer(async () => void (await compose('down', '--volumes', '--timeout', '5')));
      await compose('up', '--detach', '--no-build');
      const containerOf = async (name: string) => (await compose('ps', '--quiet', name)).stdout.trim();
      const check = ['node', '/opt/dockerproxy/bin/dockerproxy.js', 'healthcheck'];
      const container = await containerOf(service);
      await waitFor(async () => (await bridged.docker('exec', container, ...check)).code === 0, {
        timeout: 30_000,
        what: profile,
      });
      const held = made.move();
      return { containerOf, [Symbol.asyncDispose]: () => held.disposeAsync() };
    }
    /** Sends the request from the machine with the published ports. */
    async function wget(...args: string[]): Promise<string> {
      const network = `--net=/proc/${bridged.pid}/ns/net`;
      return (await runOrThrow('nsenter', [network, 'wget', '-q', '-O-', '--tries=1', ...args], SLOW)).stdout;
    }

    test('HTTPS by itself, with metrics as the guide has them', async () => {
      const guide = await readFile(join(deploy, 'README.md'), 'utf8');
      const [, metrics = ''] = /^ {2}```yaml\n([\s\S]*?)^ {2}```$/m.exec(guide) ?? [];
      const own = { DOCKERPROXY_DOMAINS: 'dl.dockerproxy.test', DOCKERPROXY_ACME_EMAIL: 'ops@example.org' };
      await using _direct = await up(
        'direct',
        'direct',
        { ...own, DOCKERPROXY_ACME_STAGING: 'true' },
        metrics,
      );
      assert.equal(await wget('http://127.0.0.1/healthz'), '{"status":"ok"}');
      assert.equal(await wget('--no-check-certificate', 'https://127.0.0.1/healthz'), '{"status":"ok"}');
      assert.match(await wget('http://127.0.0.1:9464/metrics'), /^dockerproxy_build_info/m);
    });

    test('behind a proxy', async () => {
      await using _proxied = await up('proxy', 'proxied', {});
      const client = '198.51.100.7';
      const told = await wget(`--header=X-Forwarded-For: ${client}`, 'http://127.0.0.1:8080/api/v1/limits');
      assert.equal(JSON.parse(told).client, client);
    });

    test('behind a proxy, another container cannot forge its address', async () => {
      await using shape = await up('proxy', 'proxied', {});
      const container = await shape.containerOf('proxied');
      // The request leaves from an address of the network that is not its gateway.
      const ask = `const { networkInterfaces } = await import('node:os');
        const [own] = Object.values(networkInterfaces()).flat().filter(({ internal, family }) => !internal && family === 'IPv4');
        const answer = await fetch('http://' + own.address + ':8080/api/v1/limits', { headers: { 'x-forwarded-for': '198.51.100.7' } });
        console.log(JSON.stringify([own.address, (await answer.json()).client]));`;
      const { stdout } = await bridged.docker('exec', container, 'node', '--input-type=module', '-e', ask);
      const [own, client] = JSON.parse(stdout) as [string, string];
      assert.equal(client, own);
    });

    test('with an engine in a container, by the certificates that this makes', async () => {
      const image = `${registry.host}/library/busybox`;
      const more = JSON.stringify({
        services: {
          // The file has no network that reaches the test's registry, so the test adds one.
          'with-engine': {
            environment: { DOCKERPROXY_PULL: 'never', DOCKERPROXY_INSECURE_REGISTRIES: registry.host },
          },
          // Tests in a container cannot grant all capabilities. These suffice as long as the service starts no engine.
          docker: {
            privileged: false,
            cap_add: ['SYS_ADMIN'],
            security_opt: ['seccomp:unconfined', 'apparmor:unconfined'],
          },
        },
      });
      await using shape = await up('engine', 'with-engine', {}, more);
      await docker('pull', '--quiet', image);
      const load = 'docker --host "$1" save "$3" | docker --host "$2" exec -i "$4" docker load';
      const inner = await shape.containerOf('docker');
      await runOrThrow('sh', ['-euc', load, 'sh', engine.dockerHost, bridged.dockerHost, image, inner], SLOW);
      await using folder = await temporaryFolder();
      const file = join(folder.path, 'busybox.tar');
      await wget(`--output-document=${file}`, `http://127.0.0.1:8080/dl?myimage=${image}`);
      const { stdout } = await runOrThrow('tar', ['-xOf', file, 'manifest.json']);
      assert.ok(stdout.includes(`"RepoTags":["${image}:latest"]`), stdout);
    });
  });
});
