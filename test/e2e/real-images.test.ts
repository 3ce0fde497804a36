import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { answering, type HostileRegistry, startHostileRegistry } from '../support/hostile-registry.ts';
import { httpCall } from '../support/http-request.ts';
import { type Blob, blob, type Descriptor, type Manifest, manifest, sha256 } from '../support/images.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';

/** The shape of a published image: the sizes of its index, manifests and configs. */
interface Shape {
  /** Linux images, each with an attestation if `attested`. */
  readonly linux: number;
  readonly attested?: boolean;
  /** Windows images, each with a foreign first layer. */
  readonly windows?: number;
  /** Layers of each image. */
  readonly layers: number;
  /** Entries of the history of each config. */
  readonly history: number;
  /** Bytes of labels in each config. */
  readonly labels?: number;
}

/**
 * Ten of the largest indexes, manifests and configs that are published.
 *
 * - Counts of platforms, attestations, layers and history entries of official images are from
 *   docker-library/repo-info. `repos/hello-world/remote/latest.md` has 9 Linux images, 9 attestations and 2 Windows
 *   images (September 2026). `repos/golang/remote/1-bookworm.md` has 7 layers, 11 entries and attestations of 2
 *   documents (July 2026). `repos/golang/remote` has tags of Linux and Windows images in one index.
 * - kubernetes/kubernetes `test/images/agnhost/BASEIMAGE`: Linux and Windows images in one index.
 * - Docker's overlay2 supports 125 to 128 layers, so images have at most these.
 * - NVIDIA's and data science images state tens of labels and variables, and have 20 to 60 layers.
 */
const SHAPES: Readonly<Record<string, Shape>> = {
  'hello-world': { linux: 9, attested: true, windows: 2, layers: 1, history: 2 },
  golang: { linux: 9, attested: true, windows: 4, layers: 7, history: 11 },
  agnhost: { linux: 6, windows: 8, layers: 12, history: 40 },
  buildkit: { linux: 12, attested: true, layers: 5, history: 20 },
  binfmt: { linux: 20, attested: true, layers: 3, history: 10 },
  cuda: { linux: 2, layers: 60, history: 120, labels: 10_000 },
  tensorflow: { linux: 2, attested: true, layers: 40, history: 100 },
  deepest: { linux: 10, attested: true, layers: 127, history: 300 },
  'long-history': { linux: 2, attested: true, layers: 100, history: 4_000 },
  'long-labels': { linux: 8, attested: true, layers: 20, history: 60, labels: 100_000 },
};

const ARCHITECTURES = ['amd64', 'arm64', '386', 'ppc64le', 's390x', 'riscv64', 'mips64le', 'loong64'];

/** Creates an index whose layers don't exist, because these tests read none. */
function published(name: string, shape: Shape): Manifest {
  const { linux, attested = false, windows = 0, layers, history, labels = 0 } = shape;
  const layerOf = (id: string, mediaType = LAYER): Descriptor => ({
    ...{ mediaType, digest: sha256(Buffer.from(`${name} ${id}`)), size: 10_000_000 },
    ...(mediaType === FOREIGN && { urls: [`https://mcr.microsoft.com/v2/windows/blobs/${id}`] }),
  });
  const imageOf = (id: string, own: readonly Descriptor[], platform: object): Manifest => {
    const text = JSON.stringify({
      ...platform,
      config: { Labels: { 'org.example.readme': 'x'.repeat(labels) } },
      history: Array.from({ length: history }, (_, at) => ({
        ...{ created: '2026-07-14T02:29:39Z', empty_layer: at >= layers, comment: 'buildkit.dockerfile.v0' },
        created_by: `RUN set -eux; apt-get install -y --no-install-recommends ${name} ${id} ${at} # buildkit`,
      })),
      rootfs: { type: 'layers', diff_ids: own.map(({ digest }) => sha256(Buffer.from(digest))) },
    });
    const config = blob(CONFIG, Buffer.from(text));
    const body = { schemaVersion: 2, mediaType: IMAGE, config: config.descriptor, layers: own };
    const one = manifest(IMAGE, body, [config], []);
    return {
      ...one,
      descriptor: { ...one.descriptor, platform: platform as Descriptor['platform'] } as Descriptor,
    };
  };
  const images = Array.from({ length: linux }, (_, at) => {
    const [architecture = '', variant] = [ARCHITECTURES[at % 8], at < 8 ? undefined : `v${at}`];
    const own = Array.from({ length: layers }, (_, layer) => layerOf(`${at} ${layer}`));
    return imageOf(`${at}`, own, { os: 'linux', architecture, ...(variant && { variant }) });
  });
  const onWindows = Array.from({ length: windows }, (_, at) => {
    const own = Array.from({ length: layers + 2 }, (_, layer) =>
      layerOf(`windows-${at}-${layer}`, layer === 0 ? FOREIGN : LAYER),
    );
    return imageOf(`w${at}`, own, { os: 'windows', architecture: 'amd64', 'os.version': `10.0.${at}` });
  });
  const attestations = (attested ? images : []).map(({ descriptor: { digest } }, at) => {
    const documents = ['sbom', 'provenance'].map((kind) => ({
      ...layerOf(`${at} ${kind}`, 'application/vnd.in-toto+json'),
      annotations: { 'in-toto.io/predicate-type': `https://example.org/${kind}` },
    }));
    const { descriptor, ...rest } = imageOf(`a${at}`, documents, { os: 'unknown', architecture: 'unknown' });
    const annotations = {
      'vnd.docker.reference.digest': digest,
      'vnd.docker.reference.type': 'attestation-manifest',
    };
    return { ...rest, descriptor: { ...descriptor, annotations } };
  });
  const children = [...images, ...attestations, ...onWindows];
  const manifests = children.map(({ descriptor }) => descriptor);
  return manifest(INDEX, { schemaVersion: 2, mediaType: INDEX, manifests }, [], children);
}

suite('the largest real images', { timeout: 300_000 }, () => {
  let resources: AsyncDisposableStack;
  let registry: HostileRegistry;
  let proxy: DockerProxy;

  before(async () => {
    resources = new AsyncDisposableStack();
    registry = resources.use(await startHostileRegistry());
    for (const [name, shape] of Object.entries(SHAPES)) {
      for (const tag of ['new', 'old']) serve(`${tag}/${name}`, published(`${tag} ${name}`, shape));
    }
    proxy = resources.use(
      await startDockerProxy({
        env: {
          DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
          // The defaults of the service instead of those of the tests.
          ...{ DOCKERPROXY_DOWNLOADS_PER_IP: undefined, DOCKERPROXY_MAX_DOWNLOADS: undefined },
        },
      }),
    );
  });
  after(() => resources.disposeAsync());

  const serve = (repository: string, root: Manifest): void => {
    const all = new Map<string, { type: string; bytes: Uint8Array }>();
    const add = (one: Manifest): void => {
      all.set(one.descriptor.digest, { type: one.descriptor.mediaType, bytes: one.bytes });
      for (const { descriptor, content } of one.blobs as (Blob & { content: Uint8Array })[])
        all.set(descriptor.digest, { type: descriptor.mediaType, bytes: content });
      one.children.forEach(add);
    };
    add(root);
    const latest = { type: INDEX, bytes: root.bytes };
    registry.misbehave(repository, {
      manifest(request, response) {
        const found = all.get(request.url?.split('/').at(-1) ?? '') ?? latest;
        answering(found.bytes, { 'content-type': found.type })(request, response);
      },
      blob(request, response) {
        const found = all.get(request.url?.split('/').at(-1) ?? '');
        if (found === undefined) response.writeHead(404).end();
        else answering(found.bytes)(request, response);
      },
    });
  };

  const parameters = (parameter: string, tag: string): string =>
    Object.keys(SHAPES)
      .map((name) => `${parameter}=${registry.host}/${tag}/${name}`)
      .join('&');

  const assertFound = async (query: string): Promise<void> => {
    const ways: [path: string, method: string, status: number][] = [
      ['/dl?redirect=1&', 'GET', 307],
      ['/dl?', 'HEAD', 200],
      ...(query.includes('&have=') ? [['/api/v1/delta?', 'GET', 200] as [string, string, number]] : []),
    ];
    for (const [path, method, expected] of ways) {
      const { status, body } = await httpCall(`${proxy.url}${path}${query}`, { method });
      assert.equal(status, expected, `${path}${query}: ${body}`);
    }
  };

  for (const name of Object.keys(SHAPES)) {
    test(`${name} is accepted for one, some and all platforms`, async () => {
      const image = `myimage=${registry.host}/new/${name}`;
      await assertFound(image);
      await assertFound(`${image}&format=oci&platform=linux/amd64,linux/arm64`);
      await assertFound(`${image}&format=oci&platform=all`);
      const { status } = await httpCall(`${proxy.url}/api/v1/image?${image}`);
      assert.equal(status, 200);
    });
  }

  for (const [how, more] of [
    ['one platform', ''],
    ['some platforms', '&format=oci&platform=linux/amd64,linux/arm64'],
    ['all platforms', '&format=oci&platform=all'],
  ] as const) {
    test(`all ten are accepted as a bundle for ${how}, with ten more as have`, async () => {
      await assertFound(`${parameters('myimage', 'new')}${more}`);
      await assertFound(`${parameters('myimage', 'new')}&${parameters('have', 'old')}${more}`);
    });
  }
});
