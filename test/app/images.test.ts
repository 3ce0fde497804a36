import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { pino } from 'pino';
import { createAccess } from '../../src/app/access.ts';
import { type Images, openImages } from '../../src/app/images.ts';
import { loadConfig } from '../../src/config/loader.ts';
import { parsePlatform } from '../../src/oci/platform.ts';
import { parseReference } from '../../src/oci/reference.ts';
import type { ArchiveRequest } from '../../src/sources/image-source.ts';
import { createMemoryCaches } from '../../src/util/memory-caches.ts';
import { answering, type HostileRegistry, startHostileRegistry } from '../support/hostile-registry.ts';
import { blob, manifest } from '../support/images.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const never = new AbortController().signal;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG = 'application/vnd.oci.image.config.v1+json';
/** The size that identifies a JSON bomb, because all other documents in this test are smaller. */
const LARGE = 100_000;

suite('images', { timeout: 120_000 }, () => {
  let resources: AsyncDisposableStack;
  let registry: HostileRegistry;
  let images: Images;

  before(async () => {
    resources = new AsyncDisposableStack();
    registry = resources.use(await startHostileRegistry());
    const folder = resources.use(await temporaryFolder());
    const argv = ['--cache-dir', join(folder.path, 'cache'), '--insecure-registries', registry.host];
    const config = loadConfig({ argv, environment: {}, home: folder.path, isRoot: false });
    const environment = {
      ...{ logger: pino({ level: 'silent' }), dockerConfigFolder: folder.path, variables: {}, version: '0' },
      killGroup() {},
      memoryLimit: Number.POSITIVE_INFINITY,
    };
    const caches = createMemoryCaches(() => 0);
    images = await openImages(
      config,
      environment,
      createAccess(config, () => []),
      { caches },
    );
    resources.defer(() => images.close());
  });
  after(() => resources.disposeAsync());

  const requestOf = (repository: string, more: Partial<ArchiveRequest> = {}): ArchiveRequest => ({
    ...{ references: [parseReference(`${registry.host}/${repository}`)], platform: undefined },
    ...{ format: 'docker', ...more },
  });

  /** Serves an index, its image, and the config, each with a member of 150,000 values. */
  const serveBombs = (repository: string): void => {
    const bomb = Array(150_000).fill(1);
    const honest = registry.honest(repository);
    const [layer] = honest.layers;
    const rootfs = { type: 'layers', diff_ids: [layer?.diffId] };
    const config = blob(
      CONFIG,
      Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs, bomb, repository })),
    );
    const descriptors = { config: config.descriptor, layers: [layer?.descriptor] };
    const body = { schemaVersion: 2, mediaType: IMAGE, ...descriptors, bomb };
    const image = manifest(IMAGE, body, [], []);
    const manifests = [image, honest].map(({ descriptor }, at) => ({
      ...descriptor,
      platform: { os: 'linux', architecture: at === 0 ? 'amd64' : 'arm64' },
    }));
    const served = new Map([image, honest].map(({ descriptor, bytes }) => [descriptor.digest, bytes]));
    const root = JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests, bomb, repository });
    registry.misbehave(repository, {
      manifest: (request, response) =>
        answering(served.get(request.url?.split('/').at(-1) ?? '') ?? root)(request, response),
      blob: (request, response) => answering(config.content)(request, response),
    });
  };

  const ways: [how: string, ask: (repository: string) => Promise<unknown>, documents: number][] = [
    ['a download', (repository) => images.source.open(requestOf(repository), never), 3],
    [
      'all platforms',
      (repository) => images.source.open(requestOf(repository, { platform: 'all', format: 'oci' }), never),
      2,
    ],
    [
      'some platforms',
      (repository) => {
        const platform = [parsePlatform('linux/amd64')];
        return images.source.open(requestOf(repository, { platform, format: 'oci' }), never);
      },
      // The index is rewritten, and parsed again for its links.
      4,
    ],
    [
      'a description',
      (repository) => {
        const reference = parseReference(`${registry.host}/${repository}`);
        return images.catalogue.describe({ reference, platform: undefined, format: 'docker' }, never);
      },
      3,
    ],
  ];
  for (const [how, ask, documents] of ways) {
    test(`${how} with a JSON bomb parses it only once, even from the cache`, async (context) => {
      const repository = `bombs/${how.replaceAll(' ', '-')}`;
      serveBombs(repository);
      const parse = context.mock.method(JSON, 'parse');
      const parsed = (): number =>
        parse.mock.calls.filter(({ arguments: [text] }) => `${text}`.length > LARGE).length;
      await ask(repository);
      assert.equal(parsed(), documents);
      for (let times = 0; times < 5; times += 1) await ask(repository);
      assert.equal(parsed(), documents);
      for (const [, other] of ways) await other(repository);
      const all = parsed();
      for (const [, other] of ways) await other(repository);
      assert.equal(parsed(), all, 'whichever way it is asked for');
    });
  }
});
