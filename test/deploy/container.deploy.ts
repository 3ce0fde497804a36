import assert from 'node:assert/strict';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makeCertificates } from '../support/certificates.ts';
import { buildContainerImage } from '../support/container-image.ts';
import { download, startDownload } from '../support/download.ts';
import { type Dockerd, startDockerd } from '../support/engines.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { freePort, type RunResult, runOrThrow, temporaryFolder, waitFor } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { busyboxImage } from '../support/standard-images.ts';

const IMAGE = 'dockerproxy';
const OWN_NODE = 'dockerproxy:own-node';
const COMPOSE = join(import.meta.dirname, '..', '..', 'deploy', 'compose.yaml');
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
    const port = await freePort();
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

  test('a service that does not answer is unhealthy', async () => {
    const soon = ['--health-start-period=1s', '--health-retries=2'];
    await using container = await start({ DOCKERPROXY_PORT: '0' }, soon);
    assert.notEqual(await container.inspect('{{.State.Health.Status}}'), 'healthy');
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
    // As the image of Docker in Docker has them: for whoever is given the folder.
    for (const name of ['ca.pem', 'cert.pem', 'key.pem']) await chmod(join(client, name), 0o644);
    await chmod(client, 0o755);
    await chmod(folder.path, 0o755);
    const port = await freePort();
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

  test('compose.yaml: HTTPS by itself, and behind a proxy', async () => {
    await using bridged = await startDockerd({ bridged: true });
    const copy = 'docker --host "$1" save "$3" | docker --host "$2" load';
    await runOrThrow('sh', ['-euc', copy, 'sh', engine.dockerHost, bridged.dockerHost, IMAGE], SLOW);
    const up = async (profile: string, service: string, variables: Record<string, string> = {}) => {
      const env = {
        ...process.env,
        DOCKER_HOST: bridged.dockerHost,
        COMPOSE_PROJECT_NAME: profile,
        ...variables,
      };
      const compose = (...args: string[]) =>
        runOrThrow('docker-compose', ['--file', COMPOSE, '--profile', profile, ...args], { env, ...SLOW });
      await compose('up', '--detach', '--no-build');
      const container = (await compose('ps', '--quiet', service)).stdout.trim();
      const check = ['exec', container, 'node', '/opt/dockerproxy/src/main.ts', 'healthcheck'];
      await waitFor(async () => (await bridged.docker(...check)).code === 0, {
        timeout: 30_000,
        what: profile,
      });
      return {
        [Symbol.asyncDispose]: async () => void (await compose('down', '--volumes', '--timeout', '5')),
      };
    };
    /** From the machine whose ports are published. */
    const wget = async (...args: string[]) => {
      const network = `--net=/proc/${bridged.pid}/ns/net`;
      return (await runOrThrow('nsenter', [network, 'wget', '-q', '-O-', '--tries=1', ...args], SLOW)).stdout;
    };
    const own = { DOCKERPROXY_DOMAINS: 'dl.dockerproxy.test', DOCKERPROXY_ACME_EMAIL: 'ops@example.org' };
    await using _direct = await up('direct', 'direct', { ...own, DOCKERPROXY_ACME_STAGING: 'true' });
    assert.equal(await wget('http://127.0.0.1/healthz'), '{"status":"ok"}');
    assert.equal(await wget('--no-check-certificate', 'https://127.0.0.1/healthz'), '{"status":"ok"}');
    await using _proxied = await up('proxy', 'proxied');
    const client = '198.51.100.7';
    const told = await wget(`--header=X-Forwarded-For: ${client}`, 'http://127.0.0.1:8080/api/v1/limits');
    assert.equal(JSON.parse(told).client, client);
  });
});
