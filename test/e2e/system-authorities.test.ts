import assert from 'node:assert/strict';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { makeCertificates } from '../support/certificates.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { temporaryFolder } from '../support/process.ts';
import { push } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';

/** A registry by TLS as the mirror of Docker Hub, whose private authority is in no store yet. */
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

async function statusOf({ url }: DockerProxy): Promise<number> {
  return (await httpCall(`${url}/dl?myimage=busybox`)).status;
}

suite('certificate authorities of the system', {
  skip: skipUnless('docker-registry', 'openssl', 'namespaces'),
  timeout: 180_000,
}, () => {
  test('are trusted where SSL_CERT_FILE or SSL_CERT_DIR names them, one folder or several', async () => {
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

  test('are trusted where they are installed in the store of the machine', async () => {
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

  test('may be missing: those of NODE_EXTRA_CA_CERTS and of a registry are trusted all the same', async () => {
    await using registry = await startTlsRegistry();
    const empty = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /etc/ssl && exec "$@"', 'sh'];
    await using proxy = await registry.start({ NODE_EXTRA_CA_CERTS: registry.caFile }, empty);
    assert.equal(await statusOf(proxy), 200);
  });
});
