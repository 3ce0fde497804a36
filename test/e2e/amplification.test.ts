import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { answering, type HostileRegistry, startHostileRegistry } from '../support/hostile-registry.ts';
import { waitFor } from '../support/process.ts';
import { digest, manifestOf, OCI_INDEX, outcome } from './hostile-bed.ts';

const FOREIGN = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
const IMAGES = 10;
/** By the defaults: what one request may send upstream, and what may be under way when it is spent. */
const MOST = { one: 500 + 8, several: 1_500 + 8 };

suite('upstream amplification by one request', { timeout: 180_000 }, () => {
  let registry: HostileRegistry;
  let proxy: DockerProxy;

  before(async () => {
    registry = await startHostileRegistry();
    proxy = await startDockerProxy({
      env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host, DOCKERPROXY_DOWNLOADS_PER_IP: '2' },
    });
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  });

  /** Images of foreign layers without URLs, each of which the registry says it has. */
  const foreignImages = (name: string, layers: number): string[] =>
    Array.from({ length: 2 * IMAGES }, (_, at) => {
      const repository = `${name}/${at}`;
      const honest = registry.honest(repository);
      const [first] = honest.layers;
      const diffIds = Array.from({ length: layers }, (_, layer) => digest(`${layer}`));
      const config = JSON.stringify({
        ...{ os: 'linux', architecture: 'amd64' },
        rootfs: { type: 'layers', diff_ids: diffIds },
      });
      registry.misbehave(repository, {
        manifest: manifestOf(honest, (body) => ({
          ...body,
          config: { ...body.config, digest: digest(config), size: config.length },
          layers: Array.from({ length: layers }, (_, layer) => ({
            ...first?.descriptor,
            ...{ mediaType: FOREIGN, digest: digest(`${repository} ${layer}`) },
          })),
        })),
        blob: (request, response) =>
          answering(request.url?.endsWith(digest(config)) ? config : '')(request, response),
      });
      return `${registry.host}/${repository}`;
    });

  const query = (images: readonly string[]): string =>
    [
      ...images.slice(0, IMAGES).map((image) => `myimage=${image}`),
      ...images.slice(IMAGES).map((image) => `have=${image}`),
    ].join('&');

  const status = async (path: string, method = 'GET'): Promise<number> => {
    const response = await fetch(`${proxy.url}${path}`, { method, redirect: 'manual' });
    await response.arrayBuffer();
    return response.status;
  };

  const honest = async (name: string): Promise<void> => {
    const found = await outcome(`${proxy.url}/dl?myimage=${registry.host}/honest/${name}`);
    assert.ok('end' in found && found.end === 'whole', JSON.stringify(found));
  };

  for (const [how, path, method] of [
    ['head', '/dl?', 'HEAD'],
    ['redirect', '/dl?redirect=1&', 'GET'],
    ['delta', '/api/v1/delta?', 'GET'],
    ['checksum', '/dl?checksum=1&', 'GET'],
  ] as const) {
    test(`${how} of 20 images of 150 foreign layers each is refused at the budget`, async () => {
      const images = foreignImages(how, 150);
      const before = registry.requests().length;
      const [refused] = await Promise.all([status(`${path}${query(images)}`, method), honest(how)]);
      assert.equal(refused, 422);
      const sent = registry.requests().length - before;
      assert.ok(sent <= MOST.one + 10, `${sent} requests`);
    });
  }

  test('what costs more than a handful of requests takes a download slot, one image does not', async () => {
    const stop = new AbortController();
    const held = ['held/1', 'held/2'].map((repository) => {
      registry.misbehave(repository, { layer: (_request, response) => response.flushHeaders() });
      return fetch(`${proxy.url}/dl?myimage=${registry.host}/${repository}`, { signal: stop.signal });
    });
    const ended = Promise.allSettled(held);
    // Both hold their slots, and their responses wait for the layer.
    const blobs = (repository: string) =>
      registry.requests().filter(({ url }) => url?.includes(`/${repository}/blobs/`));
    await waitFor(() => ['held/1', 'held/2'].every((repository) => blobs(repository).length > 1));
    const images = foreignImages('slots', 20);
    const [image = ''] = images;
    assert.equal(await status(`/dl?${query(images)}`, 'HEAD'), 429);
    assert.equal(await status(`/dl?redirect=1&${query(images)}`), 429);
    assert.equal(await status(`/api/v1/delta?${query(images)}`), 429);
    assert.equal(await status(`/api/v1/image?myimage=${image}`), 429);
    assert.equal(await status(`/dl?myimage=${registry.host}/honest/slots`, 'HEAD'), 200);
    assert.equal(await status(`/api/v1/image?myimage=${registry.host}/honest/details`), 200);
    stop.abort();
    await ended;
  });

  test('layers that are too many to be asked for are refused without one question', async () => {
    const images = foreignImages('thousands', 1000);
    assert.equal(await status(`/dl?${query(images)}`, 'HEAD'), 422);
    const asked = registry.requests().filter(({ url }) => url?.includes('/thousands/'));
    assert.deepEqual(
      asked.filter(({ method }) => method === 'HEAD'),
      [],
    );
  });

  test('all platforms of many images are refused at the budget', async () => {
    const images = Array.from({ length: 2 * IMAGES }, (_, at) => {
      const repository = `platforms/${at}`;
      const { bytes, descriptor } = registry.honest(repository);
      const entries = Array.from({ length: 150 }, (_, entry) => {
        const body = Buffer.from(`${bytes}${' '.repeat(entry)}`);
        return { ...descriptor, digest: digest(String(body)), size: body.length, body };
      });
      const served = new Map(entries.map((entry) => [entry.digest, entry.body]));
      registry.misbehave(repository, {
        manifest: (request, response) => {
          const body = served.get(/[^/]+$/.exec(request.url ?? '')?.[0] ?? '');
          const manifests = entries.map(({ body: _, ...entry }) => entry);
          const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
          answering(body ?? index)(request, response);
        },
      });
      return `${registry.host}/${repository}`;
    });
    const before = registry.requests().length;
    assert.equal(await status(`/dl?platform=all&format=oci&${query(images)}`, 'HEAD'), 422);
    const sent = registry.requests().length - before;
    assert.ok(sent <= MOST.several, `${sent} requests`);
  });

  test('a bundle of ten honest images passes, beside ten of have', async () => {
    const images = Array.from({ length: 2 * IMAGES }, (_, at) => `${registry.host}/bundle/${at}`);
    assert.equal(await status(`/dl?${query(images)}`, 'HEAD'), 200);
    assert.equal(await status(`/dl?platform=all&format=oci&${query(images)}`, 'HEAD'), 200);
  });
});
