import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, afterEach, before, beforeEach, suite, test } from 'node:test';
import { pino } from 'pino';
import { createAccess } from '../../src/app/access.ts';
import { openRegistries, type Registries } from '../../src/app/registries.ts';
import { loadConfig } from '../../src/config/loader.ts';
import type { Config } from '../../src/config/schema.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { parseDigest, sha256 } from '../../src/oci/digest.ts';
import { parseReference, type Reference } from '../../src/oci/reference.ts';
import { createDockerConfigCredentials } from '../../src/registry/credentials.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { type Image, image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { startRedirector } from '../support/redirector.ts';
import { basicCredentials, type Registry, registryUser, startRegistry } from '../support/registry.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const never = new AbortController().signal;
const MEBIBYTE = 1024 * 1024;

interface OpenOptions {
  configJson?: string;
  insecure?: string[];
  mirrorPatience?: number;
}

suite('registries by way of their mirrors', {
  skip: skipUnless('docker-registry'),
  timeout: 90_000,
}, () => {
  let stack: AsyncDisposableStack;
  /** The registry, and the proxy through which the mirror requests it. */
  let registry: Registry;
  let origin: FaultProxy;
  /** A real pull-through cache of the registry, behind a proxy that injects faults. */
  let mirror: FaultProxy;
  let pullThrough: Registry;
  let folder: TemporaryFolder;
  let certificates: Certificates;
  let published: Image;
  let layer: Descriptor;
  let opened: Registries[];
  let log: string[];

  before(async () => {
    stack = new AsyncDisposableStack();
    folder = stack.use(await temporaryFolder());
    registry = stack.use(await startRegistry());
    origin = stack.use(await startFaultProxy(registry.url));
    pullThrough = stack.use(await startRegistry({ mirrorOf: registry.url }));
    mirror = stack.use(await startFaultProxy(pullThrough.url));
    certificates = await makeCertificates(folder.path);
    const random = stack.use(await randomLayer(2 * MEBIBYTE, 'mirrors'));
    published = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [random] });
    layer = { ...random.descriptor, digest: parseDigest(random.descriptor.digest) };
    await push(registry.url, 'team/app', 'one', published);
  });

  after(() => stack.disposeAsync());

  beforeEach(() => {
    for (const proxy of [origin, mirror]) {
      proxy.inject(undefined);
      proxy.requests.length = 0;
    }
    opened = [];
    log = [];
  });

  afterEach(() => Promise.all(opened.map((registries) => registries.close())));

  /** Creates the registries from the text of a settings file. */
  async function open(
    toml: string,
    { configJson = '{}', insecure = [origin.host], mirrorPatience }: OpenOptions = {},
  ): Promise<Registries> {
    const file = join(folder.path, 'settings.toml');
    await writeFile(file, `insecure_registries = ${JSON.stringify(insecure)}\n${toml}`);
    await writeFile(join(folder.path, 'config.json'), configJson);
    const config: Config = loadConfig({
      argv: ['--config', file],
      environment: {},
      home: folder.path,
      isRoot: false,
    });
    const { guard, allowlist } = createAccess(config, () => []);
    const registries = openRegistries(config, {
      ...{ guard, allowlist },
      credentials: createDockerConfigCredentials(folder.path),
      logger: pino(
        { level: 'info' },
        { write: (line) => log.push((JSON.parse(line) as { msg: string }).msg) },
      ),
      userAgent: 'test',
      ...(mirrorPatience !== undefined && { mirrorPatience }),
    });
    opened.push(registries);
    return registries;
  }

  const mirrored = (...mirrors: string[]): string =>
    `[registries."${origin.host}"]\nmirrors = ${JSON.stringify(mirrors)}\n`;
  const named = (tag = 'one'): Reference => parseReference(`${origin.host}/team/app:${tag}`);
  const readLayer = async ({ client }: Registries): Promise<Buffer> =>
    buffer(await client.blobs(named()).read(layer, undefined, never));
  const check = async (registries: Registries): Promise<void> => {
    const { digest } = await registries.client.manifest(named(), 'one', never);
    assert.equal(digest, published.descriptor.digest);
    assert.equal(sha256(await readLayer(registries)), layer.digest);
  };

  test('everything comes from the mirror, which gets the registry as ns, and nothing from the registry', async () => {
    const registries = await open(mirrored(mirror.url));
    await check(registries);
    assert.equal((await registries.client.head(named(), 'one', never))?.digest, published.descriptor.digest);
    assert.deepEqual((await registries.client.tags(named(), never)).tags, ['one']);
    assert.ok(await registries.client.findBlob(named(), layer.digest, never));
    assert.deepEqual(origin.requests, []);
    for (const { path } of mirror.requests) {
      assert.equal(new URL(path, mirror.url).searchParams.get('ns'), origin.host, path);
    }
  });

  test('a range comes from the mirror, too', async () => {
    const { client } = await open(mirrored(mirror.url));
    const part = await buffer(await client.blobs(named()).read(layer, { start: 100, end: 5000 }, never));
    const whole = await readLayer(await open(''));
    assert.deepEqual(part, whole.subarray(100, 5000));
  });

  test('they are asked in their order, and the registry last', async () => {
    await using second = await startFaultProxy(registry.url);
    mirror.inject(() => ({ kind: 'answer', status: 500 }));
    await check(await open(mirrored(mirror.url, second.url)));
    assert.equal(mirror.requests.length, 1, 'one failure leaves it out');
    assert.equal(second.requests.length, 2);
    assert.equal(origin.requests.length, 0);
  });

  test('blobs that a mirror lacks come from the registry, and the mirror is still asked', async () => {
    await using empty = await startRegistry();
    await using front = await startFaultProxy(empty.url);
    await check(await open(mirrored(front.url)));
    assert.deepEqual(
      front.requests.map(({ status }) => status),
      [404, 404],
    );
    assert.equal(origin.requests.length, 2);
    assert.deepEqual(log, []);
  });

  test('a missing digest or blob at a mirror is requested from the registry', async () => {
    const { client } = await open(mirrored(mirror.url));
    mirror.inject(({ path }) =>
      path.includes('/blobs/')
        ? { kind: 'answer', status: 404 }
        : { kind: 'strip', headers: ['docker-content-digest'] },
    );
    assert.equal((await client.head(named(), 'one', never))?.digest, published.descriptor.digest);
    assert.ok(await client.findBlob(named(), layer.digest, never));
    const nothing = { ...layer, digest: parseDigest(`sha256:${'0'.repeat(64)}`) };
    origin.requests.length = 0;
    assert.equal(await client.findBlob(named(), nothing.digest, never), undefined);
    assert.equal(origin.requests.length, 1, 'the registry is asked once');
  });

  for (const [what, fault] of [
    ['breaks off before it answers', { kind: 'drop' }],
    ['fails', { kind: 'answer', status: 502 }],
    ['limits us', { kind: 'answer', status: 429, headers: { 'retry-after': '30' } }],
    ['does not let us in', { kind: 'answer', status: 401 }],
  ] as const) {
    test(`a mirror that ${what} costs nothing but its part`, async () => {
      mirror.inject(() => fault);
      await check(await open(mirrored(mirror.url)));
      assert.equal(origin.requests.length, 2);
    });
  }

  test('a mirror that refuses connections is omitted, and the log says so once', async () => {
    const away = 'http://127.0.0.1:9';
    const registries = await open(mirrored(away));
    await check(registries);
    await check(registries);
    assert.equal(log.length, 1, log.join('\n'));
    assert.match(log[0] ?? '', /^Skipping mirror 127\.0\.0\.1:9 for 1 s: .*refused/);
  });

  for (const header of [{}, { 'retry-after': '880.092µs' }, { 'retry-after': 'soon' }]) {
    test(`a mirror that limits us with ${JSON.stringify(header)} is omitted for a second, not a minute`, async () => {
      mirror.inject(() => ({ kind: 'answer', status: 429, headers: header }));
      await check(await open(mirrored(mirror.url)));
      assert.match(log.join(), /Skipping mirror .* for 1 s: /);
    });
  }

  test('a mirror of two registries is omitted for both', async () => {
    await using other = await startFaultProxy(registry.url);
    mirror.inject(() => ({ kind: 'answer', status: 500 }));
    const both = `${mirrored(mirror.url)}[registries."${other.host}"]\nmirrors = ["${mirror.url}"]\n`;
    const { client } = await open(both);
    await client.manifest(named(), 'one', never);
    // The registry is not listed for plain HTTP, so the request fails. Its mirror was not asked before.
    await assert.rejects(client.manifest(parseReference(`${other.host}/team/app:one`), 'one', never));
    assert.equal(mirror.requests.length, 1);
    assert.equal(log.length, 1);
  });

  test('a mirror that dies in the middle of a blob is followed by the registry from there on', async () => {
    mirror.inject(({ path }) => (path.includes('/blobs/') ? { kind: 'cut', after: MEBIBYTE } : undefined));
    await check(await open(mirrored(mirror.url)));
    const [, blob] = mirror.requests;
    const rest = origin.requests.at(-1);
    assert.match(rest?.headers.range ?? '', /^bytes=\d+-\d+$/);
    const from = Number(/\d+/.exec(rest?.headers.range ?? '')?.[0]);
    assert.ok(from > 0 && from <= (blob?.sent ?? 0), `from ${from}`);
  });

  test('a mirror that stalls, before or within a blob, is given up', async () => {
    // Real time, because undici measures it.
    const mirrorPatience = 1000;
    mirror.inject(() => ({ kind: 'stall', after: 0 }));
    await check(await open(mirrored(mirror.url), { mirrorPatience }));
    assert.equal(mirror.requests.length, 1);

    mirror.inject(({ path }) => (path.includes('/blobs/') ? { kind: 'stall', after: MEBIBYTE } : undefined));
    await check(await open(mirrored(mirror.url), { mirrorPatience }));
    assert.match(origin.requests.at(-1)?.headers.range ?? '', /^bytes=\d+-/);
  });

  test('a manifest that a mirror made up is refused, and comes from the registry', async () => {
    mirror.inject(() => ({ kind: 'flip', at: 20 }));
    const registries = await open(mirrored(mirror.url));
    const { digest } = await registries.client.manifest(named(), published.descriptor.digest, never);
    assert.equal(digest, published.descriptor.digest);
    assert.match(log[0] ?? '', /Skipping mirror .* for 60 s/);
  });

  test('a blob whose size is a lie comes from the registry', async () => {
    mirror.inject(({ path }) =>
      path.includes('/blobs/') ? { kind: 'answer', status: 200, body: 'something else' } : undefined,
    );
    await check(await open(mirrored(mirror.url)));
  });

  test('a lie in the middle of a blob never looks whole, and the next one comes from the registry', async () => {
    mirror.inject(({ path }) => (path.includes('/blobs/') ? { kind: 'flip', at: MEBIBYTE } : undefined));
    const registries = await open(mirrored(mirror.url));
    await assert.rejects(readLayer(registries), { code: 'content-mismatch' });
    assert.equal(sha256(await readLayer(registries)), layer.digest);
    assert.equal(mirror.requests.length, 1);
  });

  test('if one breaks off and the next one lies of the size, the registry goes on', async () => {
    await using liar = await startFaultProxy(registry.url, {
      hook: ({ path }) => (path.includes('/blobs/') ? { kind: 'answer', status: 200, body: 'x' } : undefined),
    });
    mirror.inject(({ path }) => (path.includes('/blobs/') ? { kind: 'cut', after: MEBIBYTE } : undefined));
    await check(await open(mirrored(mirror.url, liar.url)));
    assert.match(origin.requests.at(-1)?.headers.range ?? '', /^bytes=\d+-/);
  });

  test('wrong bytes of a mirror that breaks off are detected in the registry’s continuation', async () => {
    mirror.inject(({ path }) =>
      path.includes('/blobs/')
        ? [
            { kind: 'flip', at: 10 },
            { kind: 'cut', after: MEBIBYTE },
          ]
        : undefined,
    );
    const registries = await open(mirrored(mirror.url));
    await assert.rejects(readLayer(registries), { code: 'content-mismatch' });
    assert.equal(sha256(await readLayer(registries)), layer.digest);
  });

  test('a mirror may be behind a path, as a project of Harbor is', async () => {
    mirror.inject(() => ({ kind: 'answer', status: 404 }));
    await check(await open(mirrored(`${mirror.url}/hub-cache`)));
    assert.equal(mirror.requests[0]?.path.split('?')[0], '/v2/hub-cache/team/app/manifests/one');
  });

  test('each host gets its own credentials and no other’s', async () => {
    await using closed = await startRegistry({ auth: 'htpasswd', mirrorOf: registry.url });
    await using front = await startFaultProxy(closed.url);
    const auth = Buffer.from(`${registryUser.name}:${registryUser.password}`).toString('base64');
    const other = Buffer.from('bob:builder').toString('base64');
    await check(
      await open(mirrored(front.url), {
        configJson: JSON.stringify({ auths: { [front.host]: { auth }, [origin.host]: { auth: other } } }),
      }),
    );
    assert.deepEqual(origin.requests, []);
    const sent = new Set(front.requests.map(({ headers }) => headers.authorization));
    assert.deepEqual(sent, new Set([undefined, basicCredentials()]));
  });

  test('a mirror at a private address is reached, where it redirects to one is not', async () => {
    mirror.inject(() => ({ kind: 'redirect' }));
    const registries = await open(mirrored(mirror.url));
    await check(registries);
    assert.ok(mirror.requests.every(({ origin: reached }) => reached === 'registry'));
    assert.equal(origin.requests.length, 2);
    assert.match(log[0] ?? '', /Skipping mirror/);
  });

  test('redirects of other registries to a mirror are refused', async () => {
    origin.inject(() => ({ kind: 'answer', status: 307, headers: { location: `${mirror.url}/v2/` } }));
    const elsewhere = '[registries."other.lan"]\n';
    const registries = await open(`${elsewhere}mirrors = ["${mirror.url}"]\n`);
    await assert.rejects(registries.client.manifest(named(), 'one', never), { code: 'address-refused' });
    assert.deepEqual(mirror.requests, []);
  });

  test('a mirror over TLS is known by its authority, which others do not know', async () => {
    const tls = {
      certificate: join(certificates.server, 'cert.pem'),
      key: join(certificates.server, 'key.pem'),
    };
    await using secure = await startRegistry({ tls, mirrorOf: registry.url });
    const ca = join(certificates.server, 'ca.pem');
    await check(await open(`${mirrored(secure.url)}ca = ["${ca}"]\n`));
    assert.deepEqual(origin.requests, []);

    await check(await open(mirrored(secure.url)));
    assert.match(log.at(-1) ?? '', /Skipping mirror.*certificate/);
    assert.equal(origin.requests.length, 2);
  });

  test('a folder of hosts.toml files does the same', async () => {
    const registryFolder = join(folder.path, 'certs.d', origin.host);
    await mkdir(registryFolder, { recursive: true });
    await writeFile(
      join(registryFolder, 'hosts.toml'),
      `server = "${origin.url}"
      [host."${mirror.url}"]
      capabilities = ["pull"]
      header = { X-Api-Key = "s3cret" }`,
    );
    const registries = await open(`certs_dir = "${join(folder.path, 'certs.d')}"\n`);
    await registries.client.manifest(named(), 'one', never);
    assert.equal(mirror.requests.length, 0, 'it must not say what a tag means');
    assert.deepEqual(
      origin.requests.map(({ headers }) => headers['x-api-key']),
      [undefined],
    );
    await readLayer(registries);
    assert.equal(mirror.requests[0]?.headers['x-api-key'], 's3cret');
  });

  test('a registry that is in both places is a mistake', async () => {
    await mkdir(join(folder.path, 'both', origin.host), { recursive: true });
    await writeFile(join(folder.path, 'both', origin.host, 'hosts.toml'), `server = "${origin.url}"\n`);
    const both = `certs_dir = "${join(folder.path, 'both')}"\n${mirrored(mirror.url)}ca = ["/no/such.pem"]\n`;
    await assert.rejects(open(both), ({ mistakes }: { mistakes: string[] }) => {
      assert.match(mistakes.join('\n'), /such\.pem does not exist.*\n.* is both in the registries/);
      return true;
    });
  });

  test('a redirect opens a private repository of another registry only if clients may fetch it there', async () => {
    await using hidden = await startRegistry({ auth: 'htpasswd' });
    await using first = await startRedirector();
    await push(hidden.url, 'team/app', 'one', published, { headers: hidden.headers });
    first.target = `${hidden.url}/v2/team/app`;
    const auth = btoa(`${registryUser.name}:${registryUser.password}`);
    const credentials = JSON.stringify({ auths: { [hidden.host]: { auth } } });
    const read = async (...allow: string[]): Promise<string> => {
      const insecure = [origin.host, first.host, hidden.host];
      const { client } = await open(`allow = ${JSON.stringify(allow)}\n`, {
        configJson: credentials,
        insecure,
      });
      return (await client.manifest(parseReference(`${first.host}/any/app`), 'one', never)).digest;
    };
    const { digest } = published.descriptor;
    assert.equal(await read(`${first.host}/**`, `${hidden.host}/team/**`), digest);
    await assert.rejects(read(`${first.host}/**`), { code: 'image-not-found' });
    await assert.rejects(read(`${first.host}/**`, `${hidden.host}/other/**`), { code: 'image-not-found' });
  });

  test('the real mirror asks the registry once for each blob', async () => {
    await registry.reset();
    const registries = await open(mirrored(pullThrough.url));
    await check(registries);
    await check(registries);
    const gets = (await registry.requests()).filter(
      ({ method, path }) => method === 'GET' && path.includes(layer.digest),
    );
    assert.ok(gets.length <= 1, `${gets.length}`);
    assert.equal((await httpCall(`${pullThrough.url}/v2/`)).status, 200);
  });
});
