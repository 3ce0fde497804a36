import assert from 'node:assert/strict';
import { readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { type BlobCache, openBlobCache } from '../../../src/blobs/blob-cache.ts';
import { ServiceError } from '../../../src/errors.ts';
import { parsePlatform } from '../../../src/oci/platform.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { type ConnectOptions, connectEngine } from '../../../src/sources/engine/connect.ts';
import type { Archive, ArchiveRequest, ImageSource, Progress } from '../../../src/sources/image-source.ts';
import { filesIn } from '../../blobs/samples.ts';
import { type FakeEngine, type FakeEngineOptions, startFakeEngine } from '../../support/fake-engine.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { waitFor } from '../../support/wait-for.ts';

const AMD64 = 'linux/amd64';
const IMAGE = '127.0.0.1:1/a';
const MIB = 2 ** 20;

interface Parts extends AsyncDisposable {
  fake: FakeEngine;
  cache: BlobCache;
  folder: string;
  source: ImageSource;
  /** Opens the archive of an image that is kept on the disk. */
  open(signal: AbortSignal, image?: string): Promise<Archive>;
}

interface Options extends Partial<ConnectOptions> {
  limit?: number;
  fakeEngine?: Partial<FakeEngineOptions>;
  cacheFolder?: string;
}

/** Starts a source with all its parts; only the engine is a stand-in. */
async function startParts(options: Options = {}): Promise<Parts> {
  const { limit = 2 ** 30, fakeEngine = {}, cacheFolder: given, ...more } = options;
  const stack = new AsyncDisposableStack();
  const kind: FakeEngineOptions = { apiVersion: '1.51', store: 'containerd', ...fakeEngine };
  const fake = stack.use(await startFakeEngine(kind));
  const folder = stack.use(await temporaryFolder());
  const cacheFolder = given ?? join(folder.path, 'cache');
  const cacheLog = { damaged: () => {}, uncached: () => {} };
  const cache = await openBlobCache({ folder: cacheFolder, limit, log: cacheLog });
  const notHere = async (): Promise<never> => assert.fail('nobody is asked but the engine');
  const { source } = await connectEngine({
    variables: { DOCKER_HOST: fake.dockerHost },
    configFolder: folder.path,
    credentials: { find: async () => undefined },
    policy: 'always',
    defaultPlatform: parsePlatform(AMD64),
    maxSize: 2 ** 40,
    ...{ pulls: 2, pullQueue: 2, keep: 2 ** 40, stateDir: folder.path, storage: cache.storage },
    checkRegistry: async () => {},
    registries: { describe: notHere, tags: notHere },
    log: { connected: () => {}, removed: () => {}, notKept: () => {}, untidy: assert.ifError },
    ...more,
  });
  const open = async (signal: AbortSignal, image = IMAGE): Promise<Archive> => {
    const opened = await source.open(requestOf(image), signal);
    assert.ok(opened.size !== undefined, 'it is kept');
    return opened;
  };
  fake.publish(`${IMAGE}:latest`, [AMD64]);
  return {
    ...{ fake, cache, folder: cacheFolder, source, open },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function requestOf(image: string): ArchiveRequest {
  return { references: [parseReference(image)], platform: undefined, format: 'docker' };
}

suite('archives of an engine', () => {
  test('an opened archive can be read, however full the cache becomes meanwhile', async () => {
    await using parts = await startParts({ limit: 70 * MIB });
    const gone = new AbortController();
    const archive = await parts.open(gone.signal);
    const makeRoom = async (): Promise<boolean> => {
      for (const name of await filesIn(parts.folder)) {
        const path = join(parts.folder, name);
        await utimes(path, new Date(0), (await stat(path)).mtime);
      }
      return parts.cache.storage.reserve(69.5 * MIB, () => {});
    };
    assert.equal(await makeRoom(), false);
    assert.equal((await buffer(archive.read(undefined, gone.signal))).length, archive.size);
    // Another request finds it, and holds it by itself.
    const second = new AbortController();
    await parts.open(second.signal);
    gone.abort();
    assert.equal(await makeRoom(), false);
    second.abort();
    assert.equal(await makeRoom(), true);
  });

  test('the folder of the cache may be deleted while it runs', async () => {
    await using parts = await startParts();
    const { signal } = new AbortController();
    const first = await parts.open(signal);
    await rm(parts.folder, { recursive: true });
    const second = await parts.open(signal);
    assert.equal(second.etag, first.etag);
    assert.equal((await buffer(second.read(undefined, signal))).length, second.size);
  });

  test('another engine, store or platform results in another file', async () => {
    await using folder = await temporaryFolder();
    const { signal } = new AbortController();
    const spools = async (): Promise<number> => (await readdir(join(folder.path, 'spools'))).length;
    for (const [at, fakeEngine] of [
      { store: 'overlay2' },
      { store: 'btrfs' },
      { store: 'overlay2', apiVersion: '1.44' },
    ].entries()) {
      for (const _ of ['made', 'found']) {
        await using parts = await startParts({
          fakeEngine: fakeEngine as Partial<FakeEngineOptions>,
          cacheFolder: folder.path,
        });
        await parts.open(signal);
        assert.equal(await spools(), at + 1);
      }
    }
  });

  test('a few are saved at once, the others wait, and past that they get a Retry-After', async () => {
    await using parts = await startParts({ pulls: 1, pullQueue: 1, policy: 'missing' });
    const { signal } = new AbortController();
    const { promise: saved, resolve: save } = Promise.withResolvers<void>();
    for (const name of ['b', 'c', 'd']) {
      parts.fake.publish(`127.0.0.1:1/${name}:latest`, [AMD64]);
      parts.fake.pull(`127.0.0.1:1/${name}:latest`);
    }
    const saves = (): number => parts.fake.requests.filter((request) => /images\/get/.test(request)).length;
    parts.fake.hang(saved, (request) => /images\/get/.test(request));
    const first = parts.open(signal, '127.0.0.1:1/b');
    await waitFor(() => saves() === 1, { what: 'the first save' });
    const stages: string[] = [];
    const onProgress = ({ stage }: Progress): void => void stages.push(stage);
    const second = parts.source.open({ ...requestOf('127.0.0.1:1/c'), onProgress }, signal);
    await waitFor(() => stages.includes('queued'), { what: 'the second to wait' });
    await assert.rejects(parts.open(signal, '127.0.0.1:1/d'), { code: 'engine-busy', status: 503 });
    assert.equal(saves(), 1);
    save();
    await Promise.all([first, second]);
    assert.deepEqual(stages.slice(0, 2), ['queued', 'saving']);
  });
});

suite('an archive that an engine saves without all blobs', () => {
  for (const [engine, store, apiVersion] of [
    ['Docker 20.10', 'overlay2', '1.41'],
    ['Docker 29', 'overlay2', '1.51'],
    ['the containerd store of Docker 29', 'containerd', '1.51'],
    ['the containerd store of Docker 28', 'containerd', '1.48'],
  ] as const) {
    test(`from ${engine} is an error and is not cached, and a later whole archive is served`, async () => {
      await using parts = await startParts({ fakeEngine: { store, apiVersion } });
      const { signal } = new AbortController();
      const published = parts.fake.publish(`${IMAGE}:latest`, [AMD64, 'linux/arm64']);
      const config = published.configs.get(AMD64)?.slice('sha256:'.length) ?? '';
      const layer = published.layers.get(AMD64)?.slice('sha256:'.length) ?? '';
      const lost = new Set([`blobs/sha256/${config}`, `blobs/sha256/${layer}`, `${config}/layer.tar`]);
      const spools = (): Promise<string[]> => readdir(join(parts.folder, 'spools'));
      for (const file of lost) {
        parts.fake.leaveOut((saved) => saved === file);
        if (file.startsWith('blobs') === (store === 'overlay2' && apiVersion === '1.41')) continue;
        await assert.rejects(parts.open(signal), (error) => {
          assert.ok(error instanceof ServiceError);
          assert.equal(error.status, 502);
          assert.match(error.message, new RegExp(`Missing files: 1, such as "${file}"`));
          assert.match(`${error.cause}`, /compression/);
          return true;
        });
        assert.deepEqual(await spools(), []);
      }
      parts.fake.leaveOut(() => false);
      await parts.open(signal);
      assert.equal((await spools()).length, 1);
    });
  }

  test('breaks off before its end if it is sent while it is made', async () => {
    await using parts = await startParts();
    const { signal } = new AbortController();
    const open = async (): Promise<[Buffer, unknown]> => {
      const archive = await parts.source.open({ ...requestOf(IMAGE), stream: true }, signal);
      assert.ok(archive.size === undefined);
      const chunks: Buffer[] = [];
      try {
        for await (const chunk of await archive.start(signal)) chunks.push(chunk as Buffer);
      } catch (error) {
        return [Buffer.concat(chunks), error];
      }
      return [Buffer.concat(chunks), undefined];
    };
    const [whole, nothing] = await open();
    assert.equal(nothing, undefined);
    assert.deepEqual(whole.subarray(-1024), Buffer.alloc(1024));
    parts.fake.leaveOut((file) => file === 'blobs/sha256/none' || file.startsWith('oci-layout'));
    assert.equal((await open())[1], undefined, 'it names no such file');
    const { layers } = parts.fake.publish(`${IMAGE}:latest`, [AMD64]);
    parts.fake.leaveOut((file) => file.endsWith(layers.get(AMD64)?.slice('sha256:'.length) ?? '-'));
    const [broken, error] = await open();
    assert.ok(error instanceof ServiceError && error.code === 'engine-failed');
    assert.ok(broken.length > 0 && broken.length < whole.length);
    assert.notDeepEqual(broken.subarray(-1024), Buffer.alloc(1024));
  });

  test('with a bundle of two platforms is an error', async () => {
    await using parts = await startParts();
    const { signal } = new AbortController();
    const { manifests, layers } = parts.fake.publish(`${IMAGE}:latest`, [AMD64, 'linux/arm64']);
    const references = [...manifests.values()].map((digest) => parseReference(`${IMAGE}@${digest}`));
    const request = { ...requestOf(IMAGE), references };
    const whole = await parts.source.open(request, signal);
    assert.equal(whole.digests.length, 2);
    parts.fake.leaveOut((file) => file.endsWith(layers.get('linux/arm64')?.slice('sha256:'.length) ?? '-'));
    await assert.rejects(parts.source.open({ ...request, references: references.toReversed() }, signal), {
      code: 'engine-failed',
    });
  });

  test('that the engine refuses to save for its platform is reported as such', async () => {
    await using parts = await startParts();
    const { signal } = new AbortController();
    const words = `no suitable export target found: image with reference ${IMAGE}:latest was found but does not provide the specified platform (${AMD64})`;
    parts.fake.refuse((request) => /images\/get/.test(request), 404, words);
    await assert.rejects(parts.open(signal), (error) => {
      assert.ok(error instanceof ServiceError);
      assert.equal(error.status, 502);
      assert.match(error.message, /lacks layers of the image/);
      assert.match(`${error.cause}`, /no suitable export target found: .*compression/);
      return true;
    });
  });
});
