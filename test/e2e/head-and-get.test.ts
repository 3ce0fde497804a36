import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type HostileRegistry, startHostileRegistry } from '../support/hostile-registry.ts';
import { type HttpResponse, httpCall } from '../support/http-request.ts';
import { type Blob, blob, type Layer, layer, type Manifest, manifest } from '../support/images.ts';
import { serveImage } from '../support/serve-image.ts';

const OCI = 'application/vnd.oci.image.';
const AMD64 = { os: 'linux', architecture: 'amd64' };
const HEADERS = [
  ...['content-type', 'content-length', 'content-disposition', 'etag', 'cache-control'],
  ...['docker-content-digest', 'dockerproxy-notice', 'accept-ranges', 'link'],
];

/** An unusual property of an image. */
interface Oddity {
  words?: object;
  configType?: string | null;
  layerType?: string;
  /** Written as Latin-1. */
  author?: string;
  layers?: number;
  diffIds?: number;
  configDelta?: number;
  layerDelta?: number;
  indexDelta?: number;
  /** The layer whose size changes; all layers if absent. */
  wrongLayer?: number;
}

/** The code of its refusal; undefined if an archive is available. */
type Outcome = 'platform-not-found' | 'not-an-image' | 'size-mismatch' | undefined;

/**
 * Only a platform that an index states in full counts. Entries other than images are skipped if their platform is
 * missing.
 */
function outcomeIn(place: string, outcome: Outcome): Outcome {
  if (place === 'in an index' && outcome === 'platform-not-found') return undefined;
  const isSkipped = place === 'in an index that states no platform' && outcome === 'not-an-image';
  return isSkipped ? 'platform-not-found' : outcome;
}

suite('HEAD and GET of an odd image', { timeout: 120_000 }, () => {
  let registry: HostileRegistry;
  let proxy: DockerProxy;
  let content: Layer[];

  before(async () => {
    registry = await startHostileRegistry();
    proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host } });
    content = await Promise.all(
      ['a', 'b', 'c'].map((name) => layer({ files: { [name]: name.repeat(5000) } })),
    );
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  function made(odd: Oddity): Manifest {
    const { words = AMD64, configType = `${OCI}config.v1+json`, layerType, author = 'me' } = odd;
    const layers = content.slice(0, odd.layers ?? 2);
    const rootfs = { type: 'layers', diff_ids: layers.slice(0, odd.diffIds).map(({ diffId }) => diffId) };
    const config = blob('', Buffer.from(JSON.stringify({ ...words, author, rootfs }), 'latin1'));
    const { digest, size } = config.descriptor;
    const body = {
      schemaVersion: 2,
      mediaType: `${OCI}manifest.v1+json`,
      config: { mediaType: configType, digest, size: size + (odd.configDelta ?? 0) },
      layers: layers.map(({ descriptor }, at) => ({
        ...descriptor,
        ...(layerType !== undefined && { mediaType: layerType }),
        size: descriptor.size + ((odd.wrongLayer ?? at) === at ? (odd.layerDelta ?? 0) : 0),
      })),
    };
    return manifest(body.mediaType, body, [config, ...layers] as Blob[], []);
  }

  function indexed(one: Manifest, platform: object | undefined, delta = 0): Manifest {
    const mediaType = `${OCI}index.v1+json`;
    const size = one.descriptor.size + delta;
    const manifests = [{ ...one.descriptor, size, ...(platform && { platform }) }];
    return manifest(mediaType, { schemaVersion: 2, mediaType, manifests }, [], [one]);
  }

  const ask = (method: 'HEAD' | 'GET', image: string): Promise<HttpResponse> =>
    httpCall(`${proxy.url}/dl?myimage=${registry.host}/${image}`, { method });

  const oddities: [title: string, odd: Oddity, outcome: Outcome][] = [
    ['nothing', {}, undefined],
    ['no operating system and no architecture', { words: {} }, undefined],
    ['empty words of its platform', { words: { os: '', architecture: '' } }, undefined],
    ['no operating system', { words: { architecture: 'amd64' } }, undefined],
    [
      'another architecture and no operating system',
      { words: { architecture: 'arm64' } },
      'platform-not-found',
    ],
    ['another platform', { words: { os: 'linux', architecture: 's390x' } }, 'platform-not-found'],
    ['words that are none', { words: { os: 7 } }, 'not-an-image'],
    ...['application/octet-stream', 'application/json', 'text/html', '', null].map(
      (configType): [string, Oddity, Outcome] => [
        `a config of type ${configType}`,
        { configType },
        undefined,
      ],
    ),
    // An artifact, whose files are sent.
    ['a config of another type', { configType: 'application/vnd.cncf.helm.config.v1+json' }, undefined],
    ['layers of no type', { layerType: 'application/octet-stream' }, undefined],
    ['an author in Latin-1', { author: 'Jos\u00e9' }, undefined],
    ['no layers', { layers: 0 }, undefined],
    ['fewer layers in its config', { diffIds: 1 }, 'not-an-image'],
    // Docker, podman, skopeo and crane take these.
    ['a manifest that is longer than its index states', { indexDelta: -3 }, undefined],
    ['a manifest that is shorter than its index states', { indexDelta: 3 }, undefined],
    ['a config that is longer than stated', { configDelta: -3 }, 'size-mismatch'],
    ['a config that is shorter than stated', { configDelta: 3 }, 'size-mismatch'],
  ];
  for (const [at, [title, odd, outcome]] of oddities.entries()) {
    for (const place of ['alone', 'in an index', 'in an index that states no platform'] as const) {
      const expected = outcomeIn(place, outcome);
      test(`${title}, ${place}: ${expected ?? 'found'}`, async () => {
        const one = made(odd);
        const stated = place === 'in an index' ? AMD64 : undefined;
        const root = place === 'alone' ? one : indexed(one, stated, odd.indexDelta);
        // Two repositories, so that the responses share no cached data.
        const [first, second] = ['head', 'get'].map((name) => `odd/${name}/${at}-${place.length}`);
        assert.ok(first && second);
        for (const repository of [first, second]) serveImage(registry, repository, root);
        const [head, get] = [await ask('HEAD', first), await ask('GET', second)];
        assert.equal(get.status === 200 ? undefined : JSON.parse(`${get.body}`).code, expected);
        assert.equal(head.status, get.status);
        if (get.status !== 200) return;
        const again = await ask('HEAD', second);
        for (const name of HEADERS) assert.equal(again.headers[name], get.headers[name], name);
        assert.equal(Number(get.headers['content-length']), get.body.length);
      });
    }
  }

  for (const layerDelta of [-3, 3]) {
    test(`layers of which the manifest states ${layerDelta} bytes too many are refused before the first byte, and then by HEAD`, async () => {
      const image = `odd/layers/${layerDelta}`.replace('-', 'less');
      serveImage(registry, image, made({ layerDelta }));
      for (const method of ['GET', 'HEAD', 'GET'] as const) {
        const answer = await ask(method, image);
        assert.equal(answer.status, 422);
        if (method === 'GET') assert.equal(JSON.parse(`${answer.body}`).code, 'size-mismatch');
      }
      const details = await httpCall(`${proxy.url}/api/v1/image?myimage=${registry.host}/${image}`);
      assert.notEqual(details.status, 200, 'the page says so, too');
      const part = await httpCall(`${proxy.url}/dl?myimage=${registry.host}/${image}`, {
        headers: { range: 'bytes=4000-' },
      });
      assert.equal(part.status, 422);
    });
  }

  for (const layerDelta of [-3, 3]) {
    test(`a last layer of which the manifest states ${layerDelta} bytes too many never looks whole, and is refused once it was seen`, async () => {
      const image = `odd/last/${layerDelta}`.replace('-', 'less');
      serveImage(registry, image, made({ layers: 3, wrongLayer: 2, layerDelta }));
      // On a busy machine, the first byte may be sent before the registry has responded for the last layer.
      const first = await ask('GET', image).catch(() => undefined);
      assert.ok(first === undefined || first.status === 422);
      for (const method of ['GET', 'HEAD'] as const) assert.equal((await ask(method, image)).status, 422);
    });
  }
});
