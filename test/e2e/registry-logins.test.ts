import assert from 'node:assert/strict';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makeCertificate } from '../../bench/certificate.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { startDockerd, startPodman } from '../support/engines.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type HttpResponse, httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { type RunResult, run } from '../support/process.ts';
import { push } from '../support/push.ts';
import { basicCredentials, registryUser, startRegistry } from '../support/registry.ts';
import { busyboxImage } from '../support/standard-images.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { startTokenServer, type TokenServer } from '../support/token-server.ts';

const { name: user, password } = registryUser;
const GREETING = ['sh', '-c', 'busybox | head -1'];
const VERSION = /^BusyBox v1\.35/;

suite('a login at the registry API', {
  skip: skipUnless('docker-registry', 'busybox-amd64'),
  timeout: 600_000,
}, () => {
  const cleanup = new AsyncDisposableStack();
  let folder: string;
  let certificate: Awaited<ReturnType<typeof makeCertificate>>;
  let tokens: TokenServer;
  /** A registry with a token server, and one with a password file, whose requests are recorded. */
  let [lab, plant]: FaultProxy[] = [];

  before(async () => {
    folder = cleanup.use(await temporaryFolder()).path;
    certificate = await makeCertificate(folder);
    const anonymous = (repository: string): boolean => repository.startsWith('public/');
    tokens = cleanup.use(await startTokenServer({ anonymous }));
    const image = await busyboxImage('amd64');
    const recorded = async (auth: 'htpasswd' | TokenServer['auth']): Promise<FaultProxy> => {
      const registry = cleanup.use(await startRegistry({ auth }));
      const headers = auth === 'htpasswd' ? registry.headers : tokens.headers;
      for (const name of ['private/app', 'public/app'])
        await push(registry.url, name, 'v1', image, { headers });
      return cleanup.use(await startFaultProxy(registry.url));
    };
    lab = await recorded(tokens.auth);
    plant = await recorded('htpasswd');
  });

  after(() => cleanup.disposeAsync());

  const start = async (allow: readonly string[] = [`${lab?.host}/**`, `${plant?.host}/**`]) =>
    cleanup.use(
      await startDockerProxy({
        env: {
          DOCKERPROXY_ALLOW: allow.join(),
          DOCKERPROXY_INSECURE_REGISTRIES: `${lab?.host},${plant?.host},${new URL(tokens.url).host}`,
          DOCKERPROXY_REGISTRY_NAMES: `lab=${lab?.host},plant=${plant?.host}`,
          DOCKERPROXY_CLIENT_CREDENTIALS: 'on',
          DOCKERPROXY_TLS_CERT_FILE: certificate.certificate,
          DOCKERPROXY_TLS_KEY_FILE: certificate.key,
        },
      }),
    );

  /** Counts the passwords that each registry and the token server received since the last count. */
  const received = (): { lab: number; plant: number; tokens: number } => {
    const basics = ({ requests }: Pick<FaultProxy, 'requests'> | TokenServer): number =>
      requests.splice(0).filter(({ headers }) => headers.authorization?.startsWith('Basic ')).length;
    assert.ok(lab && plant);
    return { lab: basics(lab), plant: basics(plant), tokens: basics(tokens) };
  };

  suite('without a registry in its user name', () => {
    const headersOf = async (proxy: DockerProxy, name: string): Promise<{ authorization: string }> => {
      const headers = { authorization: basicCredentials({ name, password }) };
      const { body } = await httpCall(`${proxy.url}/v2/token`, { headers });
      return { authorization: `Bearer ${JSON.parse(`${body}`).token}` };
    };
    const pull = async (proxy: DockerProxy, name: string, image: string): Promise<HttpResponse> =>
      httpCall(`${proxy.url}/v2/${image}/manifests/v1`, {
        headers: await headersOf(proxy, name),
      });

    test('goes to none of several registries, and the error names the user name that does', async () => {
      const proxy = await start();
      received();
      for (const [image, host] of [
        ['lab/private/app', lab?.host],
        ['plant/private/app', plant?.host],
      ] as const) {
        const { status, body } = await pull(proxy, user, image);
        assert.equal(status, 404);
        assert.ok(`${body}`.includes(`For ${host}, use the user name ${host}/USER.`), `${body}`);
      }
      assert.equal((await pull(proxy, user, 'lab/public/app')).status, 200);
      assert.deepEqual(received(), { lab: 0, plant: 0, tokens: 0 });
    });

    test('goes to the only registry that the allowlist names', async () => {
      const proxy = await start([`${plant?.host}/private/*`, `${plant?.host}/public/**`]);
      assert.equal((await pull(proxy, user, 'plant/private/app')).status, 200);
      const { plant: count, ...others } = received();
      assert.ok(count > 0);
      assert.deepEqual(others, { lab: 0, tokens: 0 });
    });

    test('goes to no registry that only a wildcard allows', async () => {
      const proxy = await start(['127.0.0.1:*/**']);
      assert.equal((await pull(proxy, user, 'plant/private/app')).status, 404);
      assert.deepEqual(received(), { lab: 0, plant: 0, tokens: 0 });
    });

    test('goes to one registry if it states that registry after all', async () => {
      const proxy = await start();
      const name = `${plant?.host}/${user}`;
      assert.equal((await pull(proxy, name, 'plant/private/app')).status, 200);
      assert.equal((await pull(proxy, name, 'lab/private/app')).status, 404);
      assert.equal((await pull(proxy, name, 'lab/public/app')).status, 200);
      const { plant: count, ...others } = received();
      assert.ok(count > 0);
      assert.deepEqual(others, { lab: 0, tokens: 0 });
    });
  });

  suite('over TLS by', () => {
    let host: string;
    let certificates: string;
    const login = () => `${lab?.host}/${user}`;

    before(async () => {
      const proxy = await start();
      host = new URL(proxy.url).host;
      certificates = join(folder, 'certificates');
      await mkdir(certificates);
      await copyFile(certificate.certificate, join(certificates, 'ca.crt'));
    });

    const succeeds = ({ code, stdout, stderr }: RunResult): string => {
      assert.equal(code, 0, `${stderr}${stdout}`);
      return stdout;
    };
    const fails = ({ code, stderr }: RunResult, reason: RegExp): void => {
      assert.notEqual(code, 0);
      assert.match(stderr, reason);
    };

    test('docker opens private images, beside anonymous pulls', {
      skip: skipUnless('dockerd', 'docker'),
    }, async () => {
      await using engine = await startDockerd({ env: { SSL_CERT_FILE: certificate.certificate } });
      succeeds(await engine.docker('pull', `${host}/lab/public/app:v1`));
      fails(await engine.docker('pull', `${host}/lab/private/app:v1`), /missing or private/);
      succeeds(await engine.docker('login', '-u', login(), '-p', password, host));
      const image = `${host}/lab/private/app:v1`;
      succeeds(await engine.docker('pull', image));
      const printed = succeeds(await engine.docker('run', '--rm', '--network=none', image, ...GREETING));
      assert.match(printed, VERSION);
      fails(await engine.docker('pull', `${host}/plant/private/app:v1`), /use the user name/);
      succeeds(await engine.docker('login', '-u', login(), '-p', 'wrong', host));
      fails(await engine.docker('pull', image), /does not accept the credentials/);
      succeeds(await engine.docker('logout', host));
      fails(await engine.docker('pull', image), /missing or private/);
      succeeds(await engine.docker('pull', `${host}/lab/public/app:v1`));
    });

    test('podman opens private images, beside anonymous pulls', { skip: skipUnless('podman') }, async () => {
      await using engine = await startPodman();
      const trusted = ['--cert-dir', certificates];
      const pull = (name: string) => engine.podman('pull', ...trusted, `${host}/${name}`);
      succeeds(await pull('lab/public/app:v1'));
      fails(await pull('lab/private/app:v1'), /missing or private/);
      succeeds(await engine.podman('login', ...trusted, '-u', login(), '-p', password, host));
      succeeds(await pull('lab/private/app:v1'));
      const run = ['run', '--rm', '--network=none', `${host}/lab/private/app:v1`];
      assert.match(succeeds(await engine.podman(...run, ...GREETING)), VERSION);
      fails(await pull('plant/private/app:v1'), /use the user name/);
      succeeds(
        await engine.podman('login', ...trusted, '-u', `${plant?.host}/${user}`, '-p', password, host),
      );
      succeeds(await pull('plant/private/app:v1'));
    });

    test('ctr opens private images, beside anonymous pulls', {
      skip: skipUnless('dockerd', 'docker'),
    }, async () => {
      await using engine = await startDockerd();
      // ctr otherwise speaks plain HTTP to this machine.
      const hosts = join(folder, 'certs.d');
      await mkdir(join(hosts, host), { recursive: true });
      const settings = `[host."https://${host}"]\n  ca = "${certificate.certificate}"\n`;
      await writeFile(join(hosts, host, 'hosts.toml'), settings);
      const pull = (name: string, ...more: string[]) =>
        engine.ctr('images', 'pull', '--hosts-dir', hosts, ...more, `${host}/${name}`);
      succeeds(await pull('lab/public/app:v1'));
      fails(await pull('lab/private/app:v1'), /401|unauthorized|denied/i);
      succeeds(await pull('lab/private/app:v1', '--user', `${login()}:${password}`));
      succeeds(await pull('lab/public/app:v1', '--user', `${login()}:${password}`));
      fails(await pull('lab/private/app:v1', '--user', `${login()}:wrong`), /401|unauthorized|denied/i);
    });

    test('skopeo opens private images, beside anonymous pulls', { skip: skipUnless('skopeo') }, async () => {
      const inspect = (name: string, ...more: string[]) =>
        run('skopeo', ['inspect', '--cert-dir', certificates, ...more, `docker://${host}/${name}`]);
      succeeds(await inspect('lab/public/app:v1'));
      fails(await inspect('lab/private/app:v1'), /missing or private/);
      succeeds(await inspect('lab/private/app:v1', '--creds', `${login()}:${password}`));
      fails(await inspect('lab/private/app:v1', '--creds', `${login()}:wrong`), /does not accept/);
      const target = `dir:${join(folder, 'copied')}`;
      const creds = ['--src-creds', `${plant?.host}/${user}:${password}`, '--src-cert-dir', certificates];
      succeeds(await run('skopeo', ['copy', ...creds, `docker://${host}/plant/private/app:v1`, target]));
    });
  });
});
