import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { temporaryCertificate } from '../../src/tls/self-signed-provider.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { skipUnless } from '../support/packages.ts';
import { type Pebble, startPebble } from '../support/pebble.ts';
import { runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { busyboxImage } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

/**
 * Tests README's promises for an own domain by README's commands: ports 80 and 443, the name in DNS, images of Docker
 * Hub. The test runs itself in a private network with its own /etc, which contain all of that.
 */
const IS_INSIDE = process.env.DOCKERPROXY_TEST_NETWORK === 'own';
const DOMAIN = 'dl.dockerproxy.test';
const HUB = 'registry-1.docker.io';
const HUB_ADDRESS = '127.0.0.2';
const NAMES = `127.0.0.1 localhost ${DOMAIN}\n::1 localhost\n${HUB_ADDRESS} ${HUB}\n`;
const POLICIES = '/etc/chromium/policies/managed';

const canIsolate = process.getuid?.() === 0 ? false : 'a network of its own needs root';
const skip =
  skipUnless('pebble', 'docker-registry', 'ip', 'wget', 'curl', 'tar', 'busybox-amd64') || canIsolate;

if (IS_INSIDE) inside();
else {
  test('on a domain of one’s own', { skip, timeout: 150_000 }, async () => {
    await using folder = await temporaryFolder();
    const hosts = join(folder.path, 'hosts');
    await writeFile(hosts, NAMES);
    const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
    const isolate = [
      ...['ip link set lo up', 'mount --bind "$1" /etc/hosts', 'mkdir -p /etc/chromium'],
      ...['mount -t tmpfs tmpfs /etc/chromium', 'exec "$2" "$3"'],
    ].join(' && ');
    await runOrThrow(
      'unshare',
      ['--net', '--mount', 'sh', '-c', isolate, 'sh', hosts, process.execPath, import.meta.filename],
      { env: { ...env, DOCKERPROXY_TEST_NETWORK: 'own' }, timeout: 140_000 },
    );
  });
}

function inside(): void {
  suite('on a domain of one’s own, inside', { timeout: 120_000 }, () => {
    let folder: TemporaryFolder;
    let pebble: Pebble;
    let registry: Registry;
    let proxy: DockerProxy;

    before(async () => {
      folder = await temporaryFolder();
      pebble = await startPebble({ httpPort: 80 });
      const hub = temporaryCertificate([HUB], Date.now());
      const files = { certificate: join(folder.path, 'hub.pem'), key: join(folder.path, 'hub.key') };
      await writeFile(files.certificate, hub.cert);
      await writeFile(files.key, hub.key);
      registry = await startRegistry({ address: HUB_ADDRESS, port: 443, tls: files });
      await push(registry.url, 'library/busybox', 'latest', await busyboxImage('amd64'));
      const trusted = join(folder.path, 'trusted.pem');
      await writeFile(trusted, `${await readFile(pebble.caFile, 'utf8')}${hub.cert}`);
      proxy = await startDockerProxy({
        env: {
          ...{ DOCKERPROXY_PORT: undefined, DOCKERPROXY_HTTPS_PORT: undefined, NODE_EXTRA_CA_CERTS: trusted },
          // The stand-in for Docker Hub has a private address of its own, so that port 443 is free.
          ...{ DOCKERPROXY_ALLOW: 'docker.io/**', DOCKERPROXY_HOST: '127.0.0.1' },
          DOCKERPROXY_DOMAINS: DOMAIN,
          DOCKERPROXY_ACME_EMAIL: 'ops@example.org',
          DOCKERPROXY_ACME_DIRECTORY: pebble.directory,
        },
      });
      await waitFor(() => proxy.logs().some(({ msg }) => /^New certificate: /.test(msg)), {
        timeout: 60_000,
      });
    });
    after(async () => {
      await proxy?.[Symbol.asyncDispose]();
      await registry?.[Symbol.asyncDispose]();
      await pebble?.[Symbol.asyncDispose]();
      await folder?.[Symbol.asyncDispose]();
    });

    test('it serves on the usual ports', () => assert.equal(proxy.url, 'https://127.0.0.1:443'));

    test('wget and curl get busybox without a warning, by HTTPS and from HTTP', async () => {
      const target = join(folder.path, 'downloads');
      const url = `${DOMAIN}/dl?myimage=busybox`;
      const trust = ['--ca-certificate', pebble.rootFile];
      const { stderr } = await runOrThrow('wget', [
        ...['--content-disposition', '--directory-prefix', target, ...trust, `https://${url}`],
      ]);
      assert.doesNotMatch(stderr, /WARNING|ERROR/);
      assert.deepEqual(await readdir(target), ['busybox.tar']);
      const { stdout } = await runOrThrow('tar', ['--list', '--file', join(target, 'busybox.tar')]);
      assert.match(stdout, /^manifest\.json$/m);

      const copy = join(folder.path, 'copy.tar');
      await runOrThrow('curl', ['-sSfL', '--cacert', pebble.rootFile, '-o', copy, `http://${url}`]);
      assert.equal(await sha256(copy), await sha256(join(target, 'busybox.tar')));
      await runOrThrow('wget', ['-q', '-O', copy, ...trust, `http://${DOMAIN}/dl/busybox.tar`]);
      assert.equal(await sha256(copy), await sha256(join(target, 'busybox.tar')));
    });

    test('Node trusts it', async () => {
      const program = `console.log((await fetch('https://${DOMAIN}/readyz')).status)`;
      const env = { ...process.env, NODE_EXTRA_CA_CERTS: pebble.rootFile };
      const { stdout } = await runOrThrow(process.execPath, ['--input-type=module', '-e', program], { env });
      assert.equal(stdout, '200\n');
    });

    test('Chromium shows the page, from http:// on, and would not without the root', {
      skip: skipUnless('chromium'),
    }, async () => {
      assert.doesNotMatch(await dumpDom('stranger'), /name="myimage"/);
      await mkdir(POLICIES, { recursive: true });
      const root = new X509Certificate(await readFile(pebble.rootFile)).raw.toString('base64');
      await writeFile(join(POLICIES, 'root.json'), JSON.stringify({ CACertificates: [root] }));
      assert.match(await dumpDom('friend'), /name="myimage"/);
    });

    /** Returns the page as Chromium renders it. */
    async function dumpDom(profile: string): Promise<string> {
      const { stdout } = await runOrThrow('chromium', [
        ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
        ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
        ...[`--user-data-dir=${join(folder.path, profile)}`, '--dump-dom', `http://${DOMAIN}/`],
      ]);
      return stdout;
    }
  });
}

async function sha256(file: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
}
