import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatPlatform, parsePlatform } from '../../../src/oci/platform.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { createReferrerFinder } from '../../../src/sources/registry/referrers.ts';
import { type ResolvedTree, resolveTree } from '../../../src/sources/registry/tree-resolver.ts';
import { useHostileRegistry } from '../../registry/hostile-stack.ts';
import {
  type Descriptor,
  image as imageOf,
  index,
  type Manifest,
  manifest,
  sha256,
} from '../../support/images.ts';

const never = new AbortController().signal;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';

suite('the tree below an index from a hostile registry', { timeout: 600_000 }, () => {
  const { registry, stack } = useHostileRegistry();

  /** Serves manifests by their digests, and the first of them for the tag. */
  function serve(repository: string, manifests: readonly Manifest[]): void {
    const [root] = manifests;
    registry().misbehave(repository, {
      manifest: (request, response) => {
        const asked = request.url?.split('/').at(-1);
        const found = manifests.find(({ descriptor }) => descriptor.digest === asked) ?? root;
        response.writeHead(200, { 'content-type': found?.descriptor.mediaType }).end(found?.bytes);
      },
    });
  }

  const resolve = (repository: string, platforms: 'all' | string = 'all'): Promise<ResolvedTree> =>
    resolveTree(
      stack().client,
      parseReference(`${registry().host}/${repository}`),
      { platforms: platforms === 'all' ? platforms : [parsePlatform(platforms)] },
      never,
    );

  const descriptor = (at: number): Descriptor => ({
    mediaType: IMAGE,
    digest: sha256(Buffer.from(`${at}`)),
    size: 500,
    platform: { os: 'linux', architecture: 'amd64' },
  });
  const imageWith = (layers: number, name: string): Manifest =>
    manifest(
      IMAGE,
      {
        schemaVersion: 2,
        mediaType: IMAGE,
        config: { ...descriptor(0), mediaType: 'application/vnd.oci.image.config.v1+json' },
        layers: Array.from({ length: layers }, (_, at) => ({
          ...descriptor(at),
          mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
        })),
        annotations: { name },
      },
      [],
      [],
    );

  test('with hundreds of images is refused before any of them is requested', async () => {
    const manifests = Array.from({ length: 500 }, (_, at) => descriptor(at));
    serve('many', [manifest(INDEX, { schemaVersion: 2, mediaType: INDEX, manifests }, [], [])]);
    await assert.rejects(resolve('many'), { code: 'registry-failed', message: /more than 200 manifests/ });
    assert.equal(registry().requests('many').length, 1);
  });

  test('with hundreds of nested indexes is refused', async () => {
    const chain = [index([imageWith(1, 'deep')])];
    for (let at = 0; at < 300; at++) chain.unshift(index(chain.slice(0, 1)));
    serve('deep', chain);
    await assert.rejects(resolve('deep'), { code: 'registry-failed' });
    assert.ok(registry().requests('deep').length <= 201);
  });

  test('that names one image twice has it once', async () => {
    const image = imageWith(2, 'twice');
    serve('twice', [index([image, image]), image]);
    assert.equal((await resolve('twice')).manifests.length, 2);
  });

  test('has what refers to it by the list of its registry, where that has one', async () => {
    const image = imageOf({ platform: { os: 'linux', architecture: 'amd64' }, layers: [] });
    const signature = imageWith(1, 'signature');
    const { digest } = image.descriptor;
    const list = index([signature]);
    registry().misbehave('signed', {
      manifest: (request, response) => {
        const asked = request.url?.split('/').at(-1);
        const found =
          asked === 'latest' ? image : asked === signature.descriptor.digest ? signature : undefined;
        if (found === undefined) return void response.writeHead(404).end();
        response.writeHead(200, { 'content-type': found.descriptor.mediaType }).end(found.bytes);
      },
      blob: (_request, response) => void response.end(image.config.content),
    });
    const reference = parseReference(`${registry().host}/signed`);
    const clock = { now: 1000 };
    const search = createReferrerFinder({ client: stack().client, now: () => clock.now });
    const resolveAll = () =>
      resolveTree(stack().client, reference, { platforms: 'all', findReferrers: search().find }, never);
    const without = await resolveAll();
    assert.deepEqual(without.companions, []);
    registry().at(`/v2/signed/referrers/${digest}`, (_request, response) => {
      response.writeHead(200, { 'content-type': INDEX }).end(list.bytes);
    });
    clock.now += 30_001;
    const { companions = [], manifests } = await resolveAll();
    assert.deepEqual(
      companions.map(({ tag, root }) => [tag, root.digest]),
      [[digest.replace(':', '-'), list.descriptor.digest]],
    );
    assert.equal(manifests.length, 3);
    registry().at(`/v2/signed/referrers/${digest}`, (_request, response) => {
      response.writeHead(500).end();
    });
    await assert.rejects(resolveAll(), { code: /^registry-/ });
  });

  test('that is an artifact has its manifest, its config, and no platform', async () => {
    const config = { ...descriptor(0), mediaType: 'application/vnd.cncf.helm.config.v1+json' };
    const chart = manifest(IMAGE, { schemaVersion: 2, mediaType: IMAGE, config, layers: [] }, [], []);
    serve('chart', [chart]);
    const { manifests, configs, platform } = await resolve('chart');
    assert.deepEqual([manifests.length, configs.length, platform], [1, 1, undefined]);
  });

  test('has the platforms that its indexes state of images, each once', async () => {
    const stated = (architecture: string, name = architecture): Manifest => {
      const made = imageWith(1, name);
      return { ...made, descriptor: { ...made.descriptor, platform: { os: 'linux', architecture } } };
    };
    const [amd64, again, arm64] = [stated('amd64'), stated('amd64', 'again'), stated('arm64')];
    const inner = index([again, arm64], { attestations: true });
    serve('platforms', [index([amd64, inner]), inner, ...inner.children, amd64]);
    const { platforms } = await resolve('platforms');
    assert.deepEqual(platforms.map(formatPlatform), ['linux/amd64', 'linux/arm64']);
    assert.deepEqual((await resolve('platforms', 'linux/amd64')).platforms.map(formatPlatform), [
      'linux/amd64',
    ]);
  });

  test('for some platforms keeps every other member of the index', async () => {
    const [amd64, arm64] = ['amd64', 'arm64'].map((architecture) => {
      const made = imageWith(1, architecture);
      return { ...made, descriptor: { ...made.descriptor, platform: { os: 'linux', architecture } } };
    });
    assert.ok(amd64 && arm64);
    const whole = index([amd64, arm64], { annotations: { vendor: 'example' } });
    serve('some', [whole, amd64, arm64]);
    const { root, manifests } = await resolve('some', 'linux/arm64');
    const body = JSON.parse(Buffer.from(manifests[0].bytes).toString());
    assert.deepEqual(body.annotations, { vendor: 'example' });
    assert.equal(body.manifests.length, 1);
    assert.equal(root.digest, sha256(manifests[0].bytes));
    assert.equal(manifests[1]?.descriptor.digest, arm64.descriptor.digest);
  });
});
