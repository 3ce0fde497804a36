import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { createServer } from 'node:tls';
import { makeCertificates } from '../support/certificates.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { startFakeEngine } from '../support/fake-engine.ts';
import { startForwardProxy } from '../support/forward-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image } from '../support/images.ts';
import { listen } from '../support/listen.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { startRedis } from '../support/redis.ts';
import { startRegistry } from '../support/registry.ts';
import { startSearch } from '../support/search-server.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** A mirror of Docker Hub over TLS, whose private authority is not in any store yet. */
async function startTlsRegistry() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const { server } = await makeCertificates(folder.path);
  const tls = { certificate: join(server, 'cert.pem'), key: join(server, 'key.pem') };
  const registry = stack.use(await startRegistry({ tls }));
  const made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [] });
  await push(registry.url, 'library/busybox', 'latest', made);
  const owned = stack.move();
  return {
    caFile: join(folder.path, 'ca.pem'),
    folder: folder.path,
    start: (env: NodeJS.ProcessEnv, via: string[] = []): Promise<DockerProxy> =>
      startDockerProxy({
        env: {
          ...{ NODE_EXTRA_CA_CERTS: undefined, SSL_CERT_FILE: undefined, SSL_CERT_DIR: undefined },
          ...{ DOCKERPROXY_REGISTRIES: `docker.io=${registry.url}`, ...env },
        },
        via,
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Terminates TLS in front of a server without TLS, at a URL or the path of a socket. */
async function startTlsRelay(folder: string, target: string) {
  const url = URL.parse(target);
  const address = url === null ? { path: target } : { port: Number(url.port), host: '127.0.0.1' };
  const [cert, key] = await Promise.all(['cert.pem', 'key.pem'].map((name) => readFile(join(folder, name))));
  const server = createServer({ cert, key }, (client) => {
    const onward = connect(address);
    for (const [one, other] of [
      [client, onward],
      [onward, client],
    ] as const) {
      one.once('error', () => other.destroy()).once('close', () => other.destroy());
    }
    client.pipe(onward).pipe(client);
  });
  return listen(server);
}

async function statusOf({ url }: DockerProxy): Promise<number> {
  return (await httpCall(`${url}/dl?myimage=busybox`)).status;
}

suite('certificate authorities of the system', {
  skip: skipUnless('docker-registry', 'namespaces'),
  timeout: 600_000,
}, () => {
  test('are trusted from SSL_CERT_FILE and SSL_CERT_DIR, with one folder or several', async () => {
    await using registry = await startTlsRegistry();
    const [one, other] = [join(registry.folder, 'one'), join(registry.folder, 'other')];
    for (const path of [one, other]) await mkdir(path);
    await copyFile(registry.caFile, join(other, 'any-name.pem'));
    await writeFile(join(other, 'README'), 'no certificate');
    for (const env of [
      { SSL_CERT_FILE: registry.caFile },
      { SSL_CERT_FILE: '/nowhere', SSL_CERT_DIR: other },
      { SSL_CERT_DIR: `${one}:${other}` },
    ]) {
      await using proxy = await registry.start(env);
      assert.equal(await statusOf(proxy), 200, JSON.stringify(env));
    }
    await using proxy = await registry.start({ SSL_CERT_DIR: one });
    assert.equal(await statusOf(proxy), 502, 'an authority that is in no store');
  });

  test('are trusted from the store of the machine', async () => {
    await using registry = await startTlsRegistry();
    // A mount of its own over /etc/ssl/certs, as update-ca-certificates would write it.
    const install = [
      'mkdir "$1/certs" && cp -L /etc/ssl/certs/*.pem "$1/certs/"',
      'cp "$1/ca.pem" "$1/certs/company.pem"',
      'mount --bind "$1/certs" /etc/ssl/certs && shift && exec "$@"',
    ].join(' && ');
    const via = ['unshare', '--mount', 'sh', '-c', install, 'sh', registry.folder];
    await using proxy = await registry.start({}, via);
    assert.equal(await statusOf(proxy), 200);
  });

  test('may be missing without affecting those of NODE_EXTRA_CA_CERTS and of a registry', async () => {
    await using registry = await startTlsRegistry();
    const empty = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /etc/ssl && exec "$@"', 'sh'];
    await using proxy = await registry.start({ NODE_EXTRA_CA_CERTS: registry.caFile }, empty);
    assert.equal(await statusOf(proxy), 200);
  });

  test('are trusted for a proxy, the search and Redis, too', {
    skip: skipUnless('redis-server'),
  }, async () => {
    await using folder = await temporaryFolder();
    const { server } = await makeCertificates(folder.path);
    await using registry = await startRegistry();
    await push(
      registry.url,
      'team/app',
      'one',
      image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [] }),
    );
    await using forward = await startForwardProxy({ names: { 'registry.invalid': '127.0.0.1' } });
    await using search = await startSearch([{ repo_name: 'busybox' }]);
    await using redis = await startRedis();
    await using proxyRelay = await startTlsRelay(server, forward.url);
    await using searchRelay = await startTlsRelay(server, search.url);
    await using redisRelay = await startTlsRelay(server, redis.url);
    const host = `registry.invalid:${new URL(registry.url).port}`;
    await using proxy = await startDockerProxy({
      env: {
        ...{ NODE_EXTRA_CA_CERTS: undefined, SSL_CERT_FILE: join(server, 'ca.pem'), SSL_CERT_DIR: undefined },
        ...{ DOCKERPROXY_INSECURE_REGISTRIES: host, http_proxy: `https://${proxyRelay.host}` },
        DOCKERPROXY_SEARCH_URL: `https://${searchRelay.host}/v2/search/repositories/`,
        DOCKERPROXY_REDIS_URL: `rediss://${redisRelay.host}`,
      },
    });
    assert.equal((await httpCall(`${proxy.url}/dl?myimage=${host}/team/app:one`)).status, 200);
    assert.match(`${(await httpCall(`${proxy.url}/api/v1/search?q=busybox`)).body}`, /busybox/);
    const ready = JSON.parse(`${(await httpCall(`${proxy.url}/readyz`)).body}`);
    assert.equal(ready.checks.redis.connected, true);
  });

  test('are trusted for an engine that has no ca.pem', async () => {
    await using folder = await temporaryFolder();
    const { server } = await makeCertificates(folder.path);
    await using engine = await startFakeEngine({ apiVersion: '1.41', store: 'overlay2' });
    await using relay = await startTlsRelay(server, engine.socketPath);
    const env = {
      ...{ NODE_EXTRA_CA_CERTS: undefined, SSL_CERT_FILE: join(server, 'ca.pem'), SSL_CERT_DIR: undefined },
      ...{ DOCKERPROXY_SOURCE: 'engine', DOCKER_HOST: `tcp://${relay.host}`, DOCKER_TLS_VERIFY: '1' },
    };
    await using proxy = await startDockerProxy({ env });
    const ready = JSON.parse(`${(await httpCall(`${proxy.url}/readyz`)).body}`);
    assert.equal(ready.checks.source.ready, true, JSON.stringify(ready));
  });
});
