import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { startDockerd, startPodman } from './engines.ts';
import { startFaultProxy } from './fault-proxy.ts';
import { httpCall } from './http-request.ts';
import { image, sha256 } from './images.ts';
import { skipUnless } from './packages.ts';
import { run, spawnUntil } from './process.ts';
import { push } from './push.ts';
import { randomLayer } from './random-layer.ts';
import { basicCredentials, startRegistry } from './registry.ts';
import { standardImages } from './standard-images.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { startTokenServer } from './token-server.ts';
import { waitFor } from './wait-for.ts';

const busyboxes = ['busybox-amd64', 'busybox-arm64'] as const;
const registryParts = ['docker-registry', ...busyboxes] as const;

test('a process that ends before it is ready is an error with its output', async () => {
  const failing = spawnUntil('sh', ['-c', 'echo reason >&2; exit 3'], () => false);
  await assert.rejects(failing, /ended with 3\nreason/);
});

test('a temporary folder is gone after its scope', async () => {
  let path = '';
  {
    await using folder = await temporaryFolder();
    path = folder.path;
    assert.ok(existsSync(path));
  }
  assert.ok(!existsSync(path));
});

test('skopeo reads the multi-arch image, and the registry has logged it', {
  skip: skipUnless(...registryParts, 'skopeo'),
}, async () => {
  await using registry = await startRegistry();
  const images = await standardImages(registry);
  await registry.reset();
  const inspected = await run('skopeo', [
    ...['inspect', '--raw', '--tls-verify=false'],
    `docker://${registry.host}/library/busybox:latest`,
  ]);
  assert.equal(inspected.code, 0, inspected.stderr);
  assert.equal(sha256(Buffer.from(inspected.stdout)), images.busybox.descriptor.digest);
  const paths = (await registry.requests()).map(({ method, path }) => `${method} ${path}`);
  assert.deepEqual(paths, ['GET /v2/', 'GET /v2/library/busybox/manifests/latest']);
});

test('the standard images have the same digests on every run', {
  skip: skipUnless(...registryParts),
}, async () => {
  await using registry = await startRegistry();
  const digests = async () =>
    Object.values(await standardImages(registry)).map(({ descriptor }) => descriptor.digest);
  assert.deepEqual(await digests(), await digests());
});

test('a registry keeps its port and its images over a restart', {
  skip: skipUnless('docker-registry'),
}, async () => {
  await using registry = await startRegistry();
  await using layer = await randomLayer(5_000_000, 'restart');
  const platform = { os: 'linux', architecture: 'amd64' };
  const digest = await push(registry.url, 'test/random', 'latest', image({ platform, layers: [layer] }));
  await registry.restart();
  const { body } = await httpCall(`${registry.url}/v2/test/random/blobs/${layer.descriptor.digest}`);
  assert.equal(sha256(body), layer.descriptor.digest);
  const manifest = await httpCall(`${registry.url}/v2/test/random/manifests/${digest}`, {
    headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
  });
  assert.equal(manifest.status, 200);
});

test('an htpasswd registry lets in its user alone', { skip: skipUnless(...registryParts) }, async () => {
  await using registry = await startRegistry({ auth: 'htpasswd' });
  await standardImages(registry);
  const status = async (headers: Record<string, string>) =>
    (await httpCall(`${registry.url}/v2/library/busybox/tags/list`, { headers })).status;
  assert.equal(await status({}), 401);
  assert.equal(await status({ authorization: basicCredentials({ name: 'alice', password: 'no' }) }), 401);
  assert.equal(await status({ authorization: basicCredentials() }), 200);
});

for (const algorithm of ['ES256', 'RS256'] as const) {
  test(`the registry takes ${algorithm} tokens, and refuses them once expired`, {
    skip: skipUnless(...registryParts, 'openssl', 'skopeo'),
  }, async () => {
    const anonymous = (repository: string) => repository === 'library/busybox';
    await using tokens = await startTokenServer({ algorithm, anonymous });
    await using registry = await startRegistry({ auth: tokens.auth });
    await standardImages(registry);
    const inspect = async (repository: string, ...flags: string[]) => {
      const image = `docker://${registry.host}/${repository}:latest`;
      return (await run('skopeo', ['inspect', '--raw', '--tls-verify=false', ...flags, image])).code;
    };
    assert.equal(await inspect('library/busybox'), 0);
    assert.notEqual(await inspect('test/zstd'), 0);
    assert.equal(await inspect('test/zstd', '--creds', 'alice:wonderland'), 0);
    assert.ok(tokens.requests.some(({ user, status }) => user === 'alice' && status === 200));

    const scope = 'scope=repository:library/busybox:pull';
    const list = async () => {
      const { body } = await httpCall(`${tokens.url}?service=${tokens.auth.service}&${scope}`);
      const { token } = JSON.parse(body.toString()) as { token: string };
      const headers = { authorization: `Bearer ${token}` };
      return (await httpCall(`${registry.url}/v2/library/busybox/tags/list`, { headers })).status;
    };
    assert.equal(await list(), 200);
    tokens.configure({ expiresIn: -1 });
    assert.equal(await list(), 401);
  });
}

test('the fault proxy forwards requests, and breaks the chosen ones', {
  skip: skipUnless(...registryParts),
}, async () => {
  await using registry = await startRegistry();
  const { busyboxAmd64 } = await standardImages(registry);
  await using proxy = await startFaultProxy(registry.url);
  const { digest = '', size = 0 } = busyboxAmd64.layers[0]?.descriptor ?? {};
  const url = `${proxy.url}/v2/library/busybox/blobs/${digest}`;
  const get = async (init: RequestInit = {}) => {
    const response = await fetch(url, init);
    return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
  };
  assert.equal(sha256((await get()).body), digest);

  proxy.inject(() => ({ kind: 'cut', after: 1000 }));
  await assert.rejects(get());
  proxy.inject(() => ({ kind: 'flip', at: size - 1 }));
  const flipped = (await get()).body;
  assert.equal(flipped.length, size);
  assert.notEqual(sha256(flipped), digest);
  proxy.inject(() => ({ kind: 'ignore-range' }));
  const whole = await get({ headers: { range: 'bytes=5-9' } });
  assert.deepEqual([whole.status, whole.body.length], [200, size]);
  proxy.inject((request) => (request.origin === 'registry' ? { kind: 'redirect' } : undefined));
  assert.equal(sha256((await get()).body), digest);
  assert.equal(proxy.requests.at(-1)?.origin, 'elsewhere');

  proxy.inject(() => ({ kind: 'stall', after: 1000 }));
  const patience = new AbortController();
  const stalled = get({ signal: patience.signal });
  await waitFor(() => proxy.requests.at(-1)?.sent === 1000, { what: 'the stall' });
  patience.abort();
  await assert.rejects(stalled, { name: 'AbortError' });
  await waitFor(() => proxy.requests.at(-1)?.state === 'aborted by client', { what: 'the abort' });
});

test('dockerd pulls, runs and saves; its containerd imports', {
  skip: skipUnless(...registryParts, 'dockerd', 'ctr'),
}, async () => {
  await using registry = await startRegistry();
  await standardImages(registry);
  await using folder = await temporaryFolder();
  await using engine = await startDockerd();
  const name = `${registry.host}/library/busybox:latest`;
  const archive = `${folder.path}/busybox.tar`;
  const pulled = await engine.docker('pull', name);
  assert.equal(pulled.code, 0, pulled.stderr);
  const ran = await engine.docker('run', '--rm', '--network=none', name, 'echo', 'it works');
  assert.equal(ran.stdout, 'it works\n', ran.stderr);
  assert.equal((await engine.docker('save', '-o', archive, name)).code, 0);
  const imported = await engine.ctr('images', 'import', archive);
  assert.equal(imported.code, 0, imported.stderr);
});

test('disposing an engine ends its containers and leaves no mount', {
  skip: skipUnless(...registryParts, 'dockerd'),
}, async () => {
  await using registry = await startRegistry();
  await standardImages(registry);
  const name = `${registry.host}/library/busybox:latest`;
  let pid = '';
  let socket = '';
  {
    await using engine = await startDockerd();
    const { stdout, stderr } = await engine.docker('run', '-d', '--network=none', name, 'sleep', '600');
    pid = (await engine.docker('inspect', '-f', '{{.State.Pid}}', stdout.trim())).stdout.trim();
    assert.ok(existsSync(`/proc/${pid}`), stderr);
    socket = engine.socket;
  }
  assert.ok(!existsSync(`/proc/${pid}`));
  assert.ok(!(await readFile('/proc/self/mounts', 'utf8')).includes(socket.replace(/docker\.sock$/, '')));
});

test('podman pulls and runs', { skip: skipUnless(...registryParts, 'podman') }, async () => {
  await using registry = await startRegistry();
  await standardImages(registry);
  await using engine = await startPodman({ insecureRegistries: [registry.host] });
  const name = `${registry.host}/test/shared:1`;
  const ran = await engine.podman('run', '--rm', '--network=none', name, 'cat', '/etc/one');
  assert.equal(ran.stdout, 'first\n', ran.stderr);
});
