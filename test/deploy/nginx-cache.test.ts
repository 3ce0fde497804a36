import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makeCertificate } from '../../bench/certificate.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Download, download } from '../support/download.ts';
import { assertForgedHeadersIgnored } from '../support/forged-headers.ts';
import { httpCall } from '../support/http-request.ts';
import { image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { spawnUntil } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { reservePort } from '../support/reserve-port.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const FILE = join(import.meta.dirname, '..', '..', 'deploy', 'nginx', 'dockerproxy.conf');
const SLICE = 256 * 1024;

suite('nginx with a cache in slices, as deploy/nginx has it', {
  skip: skipUnless('nginx', 'docker-registry', 'openssl'),
  timeout: 600_000,
}, () => {
  let stack: AsyncDisposableStack;
  let registry: Registry;
  let proxy: DockerProxy;
  let ca: Buffer;
  let front: string;
  /** Path and query of the same image by its tag and by its digest. */
  let byTag: string;
  let byDigest: string;
  let size: number;

  before(async () => {
    stack = new AsyncDisposableStack();
    const layer = stack.use(await randomLayer(3_000_000, 'slices'));
    registry = stack.use(await startRegistry());
    const made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [layer] });
    await push(registry.url, 'team/app', 'one', made);
    const env = {
      DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
      DOCKERPROXY_TRUST_PROXY: '127.0.0.1',
      // Without the service's cache, cached responses come from nginx.
      DOCKERPROXY_CACHE_SIZE: '0',
    };
    proxy = stack.use(await startDockerProxy({ env }));
    const folder = stack.use(await temporaryFolder());
    const { certificate, key } = await makeCertificate(folder.path);
    ca = await readFile(certificate);
    const port = await reservePort();
    front = `https://127.0.0.1:${port}`;
    const site = (await readFile(FILE, 'utf8'))
      .replace('/var/cache/nginx/dockerproxy', join(folder.path, 'cache'))
      .replace('max_size=100g', 'max_size=100m')
      .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
      .replace('/etc/ssl/dl.example.org.pem', certificate)
      .replace('/etc/ssl/dl.example.org.key', key)
      .replace('127.0.0.1:8080', new URL(proxy.url).host)
      .replace('slice 16m', `slice ${SLICE}`);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `${name}_temp_path ${join(folder.path, name)};`,
    );
    const settings = `${process.getuid?.() === 0 ? 'user root;' : ''} daemon off; worker_processes 1;
      pid ${join(folder.path, 'nginx.pid')}; events {} http { access_log off; ${temporary.join(' ')}\n${site}}`;
    const file = join(folder.path, 'nginx.conf');
    await writeFile(file, settings);
    const answers = () =>
      httpCall(`${front}/healthz`).then(
        ({ status }) => status === 200,
        () => false,
      );
    stack.use(await spawnUntil('nginx', ['-p', folder.path, '-c', file, '-e', 'stderr'], answers));

    byTag = `/dl?myimage=${registry.host}/team/app:one`;
    const { headers } = await httpCall(`${front}${byTag}&redirect=1`);
    byDigest = headers.location ?? '';
    size = Number((await httpCall(`${front}${byDigest}`, { method: 'HEAD' })).headers['content-length']);
  });

  after(() => stack.disposeAsync());

  const get = (path: string, headers: Record<string, string> = {}): Promise<Download> =>
    download(`${front}${path}`, { headers, tls: { ca } });
  const blobGets = async (): Promise<number> =>
    (await registry.requests()).filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'))
      .length;

  test('many clients at once cost each slice once, and get every byte', async () => {
    const expected = await download(`${proxy.url}${byDigest}`);
    await registry.reset();
    const downloads = await Promise.all(Array.from({ length: 8 }, () => get(byDigest)));
    assert.deepEqual(
      new Set(downloads.map(({ sha256, size, status }) => `${status} ${size} ${sha256}`)),
      new Set([`200 ${expected.size} ${expected.sha256}`]),
    );
    // A HEAD request cached the first slice, and a slice can contain pieces of two blobs.
    const slices = Math.ceil(size / SLICE);
    const gets = await blobGets();
    assert.ok(gets >= slices - 1 && gets <= slices + 1, `${gets} for ${slices} slices`);
  });

  test('ranges and conditions are answered from it', async () => {
    const whole = await get(byDigest);
    await registry.reset();
    const { etag = '' } = whole.headers;
    const part = await get(byDigest, { range: `bytes=1000000-${size - 1}`, 'if-range': etag });
    assert.deepEqual([part.status, part.size], [206, size - 1_000_000]);
    assert.equal(part.headers['content-range'], `bytes 1000000-${size - 1}/${size}`);
    assert.equal((await get(byDigest, { 'if-none-match': etag })).status, 304);
    assert.equal((await get(byDigest, { range: `bytes=${size}-` })).status, 416);
    assert.equal(await blobGets(), 0);
  });

  test('a file by tag is asked for each time', async () => {
    await get(byTag);
    await registry.reset();
    await get(byTag);
    assert.ok((await blobGets()) > 0);
    const bundle = `${byDigest}&myimage=${registry.host}/team/app:one`;
    await get(bundle);
    await registry.reset();
    await get(bundle);
    assert.ok((await blobGets()) > 0, 'one of its images has no digest');
  });

  test('refusals are not cached', async () => {
    const pinned = `/dl?myimage=evil.example/a@sha256:${'a'.repeat(64)}`;
    const { status, headers } = await httpCall(`${front}${pinned}`);
    assert.equal(status, 403);
    assert.equal(headers['cache-control'], 'no-store');
  });

  test('headers from a client do not change the addresses that the service names', async () => {
    for (const path of [byTag, byDigest])
      assert.deepEqual(await assertForgedHeadersIgnored(front, path), new Set([front]));
  });

  test('cached files are served while the service does not run', async () => {
    const { sha256 } = await get(byDigest);
    await proxy.stop();
    const again = await get(byDigest);
    assert.deepEqual([again.status, again.sha256], [200, sha256]);
    assert.equal((await get(byTag)).status, 502);
  });
});
