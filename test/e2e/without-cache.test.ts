import assert from 'node:assert/strict';
import { get, type IncomingMessage } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image, index } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';

const CLIENTS = 20;
/** Bytes. One is kept in memory whole, the other one is larger than the bytes that clients share. */
const [SMALL, LARGE] = [2_000_000, 60_000_000] as const;

interface Scene extends AsyncDisposable {
  readonly registry: Registry;
  readonly proxy: DockerProxy;
  readonly url: string;
  /** Digests of the layers. */
  readonly layers: string[];
}

async function setUp(...sizes: number[]): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry());
  const layers = await Promise.all(
    sizes.map(async (size) => stack.use(await randomLayer(size, `without-cache-${size}`))),
  );
  const platform = { os: 'linux', architecture: 'amd64' };
  await push(registry.url, 'test/app', 'latest', index([image({ platform, layers })]));
  const env = { DOCKERPROXY_INSECURE_REGISTRIES: registry.host, DOCKERPROXY_CACHE_SIZE: '0' };
  const proxy = stack.use(await startDockerProxy({ env }));
  await registry.reset();
  const held = stack.move();
  return {
    registry,
    proxy,
    url: `${proxy.url}/dl?myimage=${registry.host}/test/app`,
    layers: layers.map(({ descriptor }) => descriptor.digest),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** Returns the paths of the GETs for a kind of resource. */
async function getsOf({ registry }: Scene, kind: 'manifests' | 'blobs'): Promise<string[]> {
  const requests = await registry.requests();
  return requests
    .filter(({ method, path }) => method === 'GET' && path.includes(`/${kind}/`))
    .map(({ path }) => path.split('/').at(-1) ?? '');
}

suite('a service without a disk cache', { skip: skipUnless('docker-registry') }, () => {
  test('gets each manifest and small blob once for clients at the same time', async () => {
    await using scene = await setUp(SMALL);
    const replies = await Promise.all(Array.from({ length: CLIENTS }, () => httpCall(scene.url)));
    for (const { status, body } of replies) {
      assert.equal(status, 200);
      assert.deepEqual(body, replies[0]?.body);
    }
    assert.equal((await getsOf(scene, 'manifests')).length, 2, 'the index and the manifest');
    const again = await httpCall(scene.url);
    assert.deepEqual(again.body, replies[0]?.body);
    assert.equal((await getsOf(scene, 'manifests')).length, 2, 'later clients need a HEAD only');
  });

  test('a client that waits holds up no other, and gets the same verified bytes', async () => {
    await using scene = await setUp(LARGE);
    const slow = await new Promise<IncomingMessage>((resolve, reject) => {
      get(scene.url, resolve).once('error', reject);
    });
    const fast = await httpCall(scene.url);
    assert.equal(fast.status, 200);
    assert.deepEqual(await buffer(slow), fast.body);
    const requests = await scene.registry.requests();
    const [layer = ''] = scene.layers;
    const statuses = requests.filter(({ path }) => path.endsWith(layer)).map(({ status }) => status);
    assert.deepEqual(statuses.toSorted(), [200, 206], 'the slow client requests only its rest');
    assert.equal((await getsOf(scene, 'manifests')).length, 2);
  });
});
