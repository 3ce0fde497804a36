import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makeCertificates } from '../support/certificates.ts';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { startDockerd, startPodman } from '../support/engines.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { run, runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, registryUser, startRegistry } from '../support/registry.ts';
import { reservePort } from '../support/reserve-port.ts';
import { type StandardImages, standardImages } from '../support/standard-images.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

suite('every kind of engine', { skip: skipUnless('docker-registry', 'dockerd', 'curl') }, () => {
  let registry: Registry;
  let images: StandardImages;
  before(async () => {
    registry = await startRegistry();
    images = await standardImages(registry);
  });
  after(() => registry[Symbol.asyncDispose]());

  test('dockerd over TCP and TLS, with a certificate of its client', async () => {
    await using folder = await temporaryFolder();
    const { server, client } = await makeCertificates(folder.path);
    const address = `tcp://127.0.0.1:${await reservePort()}`;
    await using engine = await startDockerd({ args: listeningByTls(address, server) });
    const env = {
      DOCKERPROXY_SOURCE: 'engine',
      DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
      DOCKER_HOST: address,
      DOCKER_TLS_VERIFY: '1',
    };
    await using proxy = await startDockerProxy({ env: { ...env, DOCKER_CERT_PATH: client } });
    const archive = await httpCall(`${proxy.url}/dl?myimage=${registry.host}/library/busybox`);
    assert.equal(archive.status, 200, `${archive.body}`);
    const { stdout } = await engine.docker('image', 'ls', '--quiet');
    assert.notEqual(stdout, '', 'it is this engine that pulled');
    const file = join(folder.path, 'busybox.tar');
    await writeFile(file, archive.body);
    await using elsewhere = await startDockerd();
    const loaded = await elsewhere.docker('load', '--input', file);
    assert.equal(loaded.code, 0, loaded.stderr);
    const name = `${registry.host}/library/busybox`;
    const ran = await elsewhere.docker('run', '--rm', '--network=none', name, 'echo', 'it runs');
    assert.equal(ran.stdout, 'it runs\n', ran.stderr);

    // Configure the engine by a context instead of variables.
    const config = join(folder.path, 'config');
    const id = (await runOrThrow('sh', ['-c', 'printf tls | sha256sum'])).stdout.slice(0, 64);
    await mkdir(join(config, 'contexts/meta', id), { recursive: true });
    await mkdir(join(config, 'contexts/tls', id, 'docker'), { recursive: true });
    await writeFile(join(config, 'config.json'), JSON.stringify({ currentContext: 'tls' }));
    const meta = {
      Name: 'tls',
      Metadata: {},
      Endpoints: { docker: { Host: address, SkipTLSVerify: false } },
    };
    await writeFile(join(config, 'contexts/meta', id, 'meta.json'), JSON.stringify(meta));
    for (const name of ['ca.pem', 'cert.pem', 'key.pem']) {
      await writeFile(join(config, 'contexts/tls', id, 'docker', name), readFileSync(join(client, name)));
    }
    const { DOCKER_HOST: _, DOCKER_TLS_VERIFY: __, ...others } = env;
    const listed = await run('docker', ['--config', config, 'image', 'ls', '--quiet'], {
      env: { PATH: process.env.PATH },
    });
    assert.equal(listed.stdout, stdout, `Docker's own client reads the context, too: ${listed.stderr}`);
    const byContext = { ...others, DOCKER_CONFIG: config, DOCKER_HOST: '' };
    await using second = await startDockerProxy({ env: byContext });
    assert.equal((await httpCall(`${second.url}/dl?myimage=${registry.host}/library/busybox`)).status, 200);

    await assert.rejects(
      startDockerProxy({ env: { ...env, DOCKER_CERT_PATH: server } }),
      /No Docker engine answers at tcp:/,
    );
  });

  test('dockerd over TCP and TLS, killed while it pulls, returns with other certificates', async () => {
    await using folder = await temporaryFolder();
    await using line = await startFaultProxy(registry.url);
    const { server, client } = await makeCertificates(folder.path);
    const address = `tcp://127.0.0.1:${await reservePort()}`;
    await using engine = await startDockerd({ args: listeningByTls(address, server) });
    await using proxy = await startDockerProxy({
      env: {
        DOCKERPROXY_SOURCE: 'engine',
        DOCKERPROXY_INSECURE_REGISTRIES: line.host,
        DOCKER_HOST: address,
        DOCKER_TLS_VERIFY: '1',
        DOCKER_CERT_PATH: client,
      },
    });
    const url = `${proxy.url}/dl?myimage=${line.host}/library/busybox`;
    const isBlob = ({ path }: { path: string }): boolean => path.includes('/blobs/');
    const { promise: dead, resolve: die } = Promise.withResolvers<void>();
    line.inject((request) => (isBlob(request) ? { kind: 'hold', until: dead } : undefined));
    const answer = httpCall(url);
    await waitFor(() => line.requests.some(isBlob), { what: 'the pull to begin' });
    await engine.kill();
    die();
    line.inject(undefined);
    for (const broken of [await answer, await httpCall(url)]) {
      assert.deepEqual([broken.status, JSON.parse(`${broken.body}`).code], [502, 'engine-unreachable']);
    }

    // Restart the engine with another authority, whose files replace the old ones.
    const renewed = join(folder.path, 'renewed');
    await mkdir(renewed);
    const others = await makeCertificates(renewed);
    for (const name of ['ca.pem', 'cert.pem', 'key.pem']) {
      await copyFile(join(others.server, name), join(server, name));
      await copyFile(join(others.client, name), join(client, name));
    }
    await engine.restart();
    assert.equal((await httpCall(url)).status, 200);
  });

  test('podman', { skip: skipUnless('podman', 'crun') }, async () => {
    await using podman = await startPodman({ insecureRegistries: [registry.host] });
    await using service = await podman.serve();
    await using folder = await temporaryFolder();
    await using proxy = await startDockerProxy({
      env: {
        DOCKERPROXY_SOURCE: 'engine',
        DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
        DOCKER_HOST: service.dockerHost,
      },
    });
    assert.match(proxy.logs().find(({ apiVersion }) => apiVersion)?.msg ?? '', /^Podman 4\.\S+ at unix:/);
    const at = `${proxy.url}/dl?myimage=${registry.host}`;
    await using elsewhere = await startDockerd();
    for (const [query, expected] of [
      ['library/busybox', /Loaded image: \S+\/library\/busybox:latest/],
      ['library/busybox&platform=linux/arm64', /Loaded image: \S+\/library\/busybox:latest/],
      [`library/busybox@${images.busyboxArm64.descriptor.digest}`, /Loaded image ID: sha256:/],
      [
        `library/busybox:7@${images.busyboxArm64.descriptor.digest}`,
        /Loaded image: \S+\/library\/busybox:7\n/,
      ],
      [
        `library/busybox:8@${images.busybox.descriptor.digest}&stream=1`,
        /Loaded image: \S+\/library\/busybox:8\n/,
      ],
      [`test/shared:1&myimage=${registry.host}/test/shared:2`, /test\/shared:[12][\s\S]*test\/shared:[12]/],
    ] as const) {
      const file = join(folder.path, 'image.tar');
      await runOrThrow('curl', ['-sSf', '-o', file, `${at}/${query}`]);
      const loaded = await elsewhere.docker('load', '--input', file);
      assert.match(loaded.stdout, expected, `${query}: ${loaded.stderr}`);
    }
    const name = `${registry.host}/test/shared:1`;
    const ran = await elsewhere.docker('run', '--rm', '--network=none', name, 'cat', '/etc/one');
    assert.equal(ran.stdout, 'first\n', ran.stderr);

    for (const [query, status, code] of [
      ['test/none', 404, 'image-not-found'],
      ['library/busybox:none', 404, 'tag-not-found'],
      ['library/busybox&platform=linux/s390x', 404, 'platform-not-found'],
      ['test/arm-only', 404, 'platform-not-found'],
      ['test/helm', 422, 'not-an-image'],
    ] as const) {
      const answer = await httpCall(`${at}/${query}`);
      assert.deepEqual([answer.status, JSON.parse(`${answer.body}`).code], [status, code], `${answer.body}`);
    }
  });

  test('podman: what was pulled goes again, by tag, digest and ID; what has another tag stays', {
    skip: skipUnless('podman', 'crun'),
  }, async () => {
    await using podman = await startPodman({ insecureRegistries: [registry.host] });
    await using service = await podman.serve();
    await using proxy = await startDockerProxy({
      env: {
        DOCKERPROXY_SOURCE: 'engine',
        DOCKERPROXY_ENGINE_KEEP: '1.5MiB',
        DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
        DOCKER_HOST: service.dockerHost,
      },
    });
    const publish = async (name: string, content: string): Promise<string> => {
      await using random = await randomLayer(2 ** 20, content);
      const platform = { os: 'linux', architecture: 'amd64' };
      return await push(registry.url, name, 'latest', image({ platform, layers: [random] }));
    };
    const fetched = async (name: string): Promise<void> => {
      const answer = await httpCall(`${proxy.url}/dl?myimage=${registry.host}/${name}`);
      assert.equal(answer.status, 200, `${answer.body}`);
    };
    const isLeft = async (...names: string[]): Promise<void> => {
      const there = async (): Promise<string> => {
        const { stdout } = await podman.podman('image', 'ls', '--format', '{{.Repository}}:{{.Tag}}');
        return stdout.replaceAll(`${registry.host}/`, '').split('\n').filter(Boolean).sort().join();
      };
      await waitFor(async () => (await there()) === names.sort().join()).catch(async (error) => {
        throw new Error(`There is ${await there()}, not ${names}`, { cause: error });
      });
    };
    await publish('keep/a', 'first');
    await fetched('keep/a');
    await podman.podman('tag', `${registry.host}/keep/a`, 'localhost/mine/keep:1');
    await publish('keep/a', 'second');
    await fetched('keep/a');
    await isLeft('keep/a:latest', 'localhost/mine/keep:1');
    const digest = await publish('keep/b', 'of b');
    await fetched(`keep/b@${digest}`);
    await isLeft('keep/b:<none>', 'localhost/mine/keep:1');
    await publish('keep/c', 'of c');
    await fetched('keep/c');
    await isLeft('keep/c:latest', 'localhost/mine/keep:1');
    // The name moves to another image, so the first one keeps only its ID.
    await publish('keep/c', 'newer');
    await fetched('keep/c');
    await isLeft('keep/c:latest', 'localhost/mine/keep:1');
  });

  test('credentials of config.json go along, to their registry', async () => {
    await using locked = await startRegistry({ auth: 'htpasswd' });
    await standardImages(locked);
    await using engine = await startDockerd();
    await using folder = await temporaryFolder();
    const { name, password } = registryUser;
    const login = async (secret: string): Promise<void> => {
      const auth = Buffer.from(`${name}:${secret}`).toString('base64');
      await writeFile(
        join(folder.path, 'config.json'),
        JSON.stringify({ auths: { [locked.host]: { auth } } }),
      );
    };
    await login(password);
    await using proxy = await startDockerProxy({
      env: {
        DOCKERPROXY_SOURCE: 'engine',
        DOCKERPROXY_INSECURE_REGISTRIES: locked.host,
        DOCKER_HOST: engine.dockerHost,
        DOCKER_CONFIG: folder.path,
      },
    });
    const url = `${proxy.url}/dl?myimage=${locked.host}/library/busybox`;
    assert.equal((await httpCall(url)).status, 200);
    await login('wrong');
    const refused = await httpCall(url);
    assert.deepEqual(
      [refused.status, JSON.parse(`${refused.body}`).code],
      [502, 'registry-credentials-refused'],
    );
  });
});

/** Flags of dockerd for a listener that speaks TLS to clients of its authority alone. */
function listeningByTls(address: string, certificates: string): string[] {
  const pem = (name: string): string => join(certificates, name);
  return [
    ...[`--host=${address}`, '--tlsverify', `--tlscacert=${pem('ca.pem')}`],
    ...[`--tlscert=${pem('cert.pem')}`, `--tlskey=${pem('key.pem')}`],
  ];
}
