import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { FREE_REQUESTS } from '../../src/registry/upstream-budget.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { answering, type HostileRegistry, startHostileRegistry } from '../support/hostile-registry.ts';
import type { Blob } from '../support/images.ts';
import {
  createSigner,
  signatureLayer,
  signatureManifest,
  signatureTag,
  simpleSigning,
} from '../support/signatures.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import { digest, manifestOf, OCI_INDEX, outcome } from './hostile-bed.ts';

const FOREIGN = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
const IMAGES = 10;
/** The default budget of one request, and the requests that may be in flight when it is used up. */
const MOST = { one: 500 + 8, several: 1_500 + 8 };

suite('upstream amplification by one request', { timeout: 180_000 }, () => {
  let resources: AsyncDisposableStack;
  let registry: HostileRegistry;
  let proxy: DockerProxy;

  before(async () => {
    resources = new AsyncDisposableStack();
    registry = resources.use(await startHostileRegistry());
    const { publicKey } = resources.use(await createSigner());
    const policy = join(resources.use(await temporaryFolder()).path, 'policy.toml');
    await writeFile(
      policy,
      `[[rules]]\nimages = ["${registry.host}/signed/**"]\nkeys = ["${publicKey}"]\n` +
        '[[rules]]\nimages = ["**"]\nrequire = "none"\n',
    );
    proxy = resources.use(
      await startDockerProxy({
        env: {
          DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
          DOCKERPROXY_DOWNLOADS_PER_IP: '2',
          DOCKERPROXY_POLICY: policy,
        },
      }),
    );
  });
  after(() => resources.disposeAsync());

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

  /** Runs work while two downloads hold all slots of the client. */
  const withoutSlots = async (name: string, work: () => Promise<void>): Promise<void> => {
    const stop = new AbortController();
    const names = [`held/${name}/1`, `held/${name}/2`];
    const held = names.map((repository) => {
      registry.misbehave(repository, { layer: (_request, response) => response.flushHeaders() });
      return fetch(`${proxy.url}/dl?myimage=${registry.host}/${repository}`, { signal: stop.signal });
    });
    const ended = Promise.allSettled(held);
    // Both hold their slots, and their responses wait for the layer.
    const blobs = (repository: string) =>
      registry.requests().filter(({ url }) => url?.includes(`/${repository}/blobs/`));
    await waitFor(() => names.every((repository) => blobs(repository).length > 1));
    try {
      await work();
    } finally {
      stop.abort();
      await ended;
    }
    await waitFor(async () => {
      const limits = await fetch(`${proxy.url}/api/v1/limits`);
      return ((await limits.json()) as { downloads: { active: number } }).downloads.active === 0;
    });
  };

  test('a request for many images takes a download slot, one image does not', async () => {
    const images = foreignImages('slots', 20);
    const [image = ''] = images;
    await withoutSlots('images', async () => {
      assert.equal(await status(`/dl?${query(images)}`, 'HEAD'), 429);
      assert.equal(await status(`/dl?redirect=1&${query(images)}`), 429);
      assert.equal(await status(`/api/v1/delta?${query(images)}`), 429);
      assert.equal(await status(`/api/v1/image?myimage=${image}`), 429);
      assert.equal(await status(`/dl?myimage=${registry.host}/honest/slots`, 'HEAD'), 200);
      assert.equal(await status(`/api/v1/image?myimage=${registry.host}/honest/details`), 200);
    });
  });

  /** Serves a list of tags in many pages. */
  const manyTags = (repository: string, pages: number): string => {
    const path = `/v2/${repository}/tags/list`;
    registry.at(path, (request, response) => {
      const page = Number(new URL(request.url ?? '', registry.url).searchParams.get('page') ?? 0);
      const link = `<${path}?n=1000&page=${page + 1}>; rel="next"`;
      const tags = [`${page}.1`, `${page}.2`];
      answering({ name: repository, tags }, page < pages - 1 ? { link } : {})(request, response);
    });
    return `${registry.host}/${repository}`;
  };
  const sentTo = (repository: string): number => registry.requests(repository).length;

  test('a long list of tags takes a download slot, a short one does not', async () => {
    const [long, short] = [manyTags('tags/long', 30), manyTags('tags/short', 3)];
    await withoutSlots('tags', async () => {
      assert.equal(await status(`/api/v1/tags?repository=${long}`), 429);
      assert.equal(sentTo('tags/long'), FREE_REQUESTS);
      assert.equal(await status(`/api/v1/tags?repository=${short}`), 200);
    });
    assert.equal(await status(`/api/v1/tags?repository=${long}`), 200);
    assert.equal(sentTo('tags/long'), FREE_REQUESTS + 30);
  });

  test('similar tags from a long list take a download slot, and are omitted without one', async () => {
    registry.misbehave('tags/unknown', { manifest: (_request, response) => response.writeHead(404).end() });
    const image = `${manyTags('tags/unknown', 30)}:none`;
    await withoutSlots('similar', async () => {
      for (const path of ['/dl?', '/dl?redirect=1&', '/api/v1/image?']) {
        const before = sentTo('tags/unknown');
        const method = path === '/dl?' ? 'HEAD' : 'GET';
        assert.equal(await status(`${path}myimage=${image}`, method), 404);
        assert.ok(sentTo('tags/unknown') - before <= FREE_REQUESTS + 4, path);
      }
    });
  });

  /** Serves an image with many invalid signatures. */
  const signedImage = (repository: string, count: number): string => {
    const { descriptor } = registry.honest(repository);
    const payload = (at: number) => Buffer.concat([simpleSigning(descriptor.digest), Buffer.alloc(at, ' ')]);
    const layers = Array.from({ length: count }, (_, at): Blob => signatureLayer(payload(at), 'AAAA'));
    const { bytes } = signatureManifest(layers);
    const served = new Map(layers.map((layer) => [layer.descriptor.digest, layer.content]));
    const honest = registry.honest(repository);
    registry.misbehave(repository, {
      manifest: (request, response) => {
        if (request.url?.endsWith(signatureTag(descriptor.digest))) answering(bytes)(request, response);
        else answering(honest.bytes)(request, response);
      },
      blob: (request, response) => {
        const name = request.url?.split('/').at(-1) ?? '';
        answering(served.get(name) ?? honest.config.content)(request, response);
      },
    });
    return `${registry.host}/${repository}`;
  };

  test('many signatures take a download slot, even for HEAD', async () => {
    const image = signedImage('signed/many', 40);
    await withoutSlots('signatures', async () => {
      assert.equal(await status(`/dl?myimage=${image}`, 'HEAD'), 429);
      assert.equal(await status(`/dl?redirect=1&myimage=${image}`), 429);
      assert.equal(await status(`/api/v1/image?myimage=${image}`), 429);
      assert.ok(sentTo('signed/many') <= 3 * (FREE_REQUESTS + 8), `${sentTo('signed/many')} requests`);
    });
    assert.equal(await status(`/dl?myimage=${image}`, 'HEAD'), 403);
  });

  test('many signatures and pages of referrers take a download slot in the registry API, even for HEAD', async () => {
    signedImage('signed/pulled', 40);
    const { digest } = registry.honest('listed').descriptor;
    registry.at(`/v2/listed/referrers/${digest}`, (request, response) => {
      const at = Number(new URL(request.url ?? '', registry.url).searchParams.get('at') ?? 0);
      const link = { link: `</v2/listed/referrers/${digest}?at=${at + 1}>; rel="next"` };
      answering({ manifests: [] }, at < 19 ? link : {})(request, response);
    });
    const manifest = `/v2/signed/pulled/manifests/latest?ns=${registry.host}`;
    const referrers = `/v2/listed/referrers/${digest}?ns=${registry.host}`;
    await withoutSlots('pulled', async () => {
      assert.equal(await status(manifest, 'HEAD'), 429);
      assert.equal(await status(referrers), 429);
      assert.ok(sentTo('signed/pulled') <= FREE_REQUESTS + 8, `${sentTo('signed/pulled')} requests`);
      assert.ok(sentTo('listed') <= FREE_REQUESTS + 8, `${sentTo('listed')} requests`);
    });
    assert.equal(await status(manifest, 'HEAD'), 403);
    assert.equal(await status(referrers), 200);
  });

  test('the retries of ten images take a download slot', async () => {
    const images = Array.from({ length: IMAGES }, (_, at) => {
      registry.misbehave(`failing/${at}`, {
        manifest: (_request, response) => response.writeHead(503).end(),
      });
      return `myimage=${registry.host}/failing/${at}`;
    });
    await withoutSlots('retries', async () => {
      assert.equal(await status(`/dl?${images.join('&')}`, 'HEAD'), 429);
      const sent = registry.requests().filter(({ url }) => url?.startsWith('/v2/failing/')).length;
      assert.ok(sent <= FREE_REQUESTS + 8, `${sent} requests`);
    });
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
