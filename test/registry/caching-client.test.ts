import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { openBlobCache } from '../../src/blobs/blob-cache.ts';
import { createFolderLocks } from '../../src/blobs/folder-locks.ts';
import { detail } from '../../src/errors/details.ts';
import { type ErrorCode, ServiceError } from '../../src/errors.ts';
import { type Digest, sha256 } from '../../src/oci/digest.ts';
import type { Repository } from '../../src/oci/reference.ts';
import { type CachingClientOptions, createCachingClient } from '../../src/registry/caching-client.ts';
import type { DescribingClient, FetchedManifest, RegistryClient } from '../../src/registry/client.ts';
import { createDiskStore } from '../../src/registry/disk-store.ts';
import { createManifestStore } from '../../src/registry/manifest-store.ts';
import { createLargeDocuments } from '../../src/util/large-documents.ts';
import { memorySource } from '../blobs/samples.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const HOUR_MS = 3_600_000;
const always = new AbortController().signal;
const repository: Repository = { domain: 'registry.example', path: 'org/app' };
const [first, second] = [manifestOf('first'), manifestOf('second')];

interface Setup extends AsyncDisposable {
  readonly client: DescribingClient;
  readonly options: CachingClientOptions;
  /** The requests to the registry: `GET latest`, `HEAD latest`. */
  readonly asked: string[];
  readonly tags: Map<string, FetchedManifest>;
  /** The error of each request from now on. */
  fault: Error | undefined;
  /** The error of GET requests alone. */
  getFault: Error | undefined;
  /** Holds answers back. */
  until: Promise<unknown> | undefined;
  statesDigest: boolean;
  now: number;
}

async function setUp(staleIfError = 24 * HOUR_MS, tagTtl = 0): Promise<Setup> {
  const folder = await temporaryFolder();
  const asked: string[] = [];
  const tags = new Map([['latest', first]]);
  const manifests = new Map([first, second].map((manifest) => [manifest.digest as string, manifest]));
  const answer = async (method: string, reference: string): Promise<FetchedManifest> => {
    asked.push(`${method} ${reference}`);
    await setup.until;
    if (setup.fault !== undefined) throw setup.fault;
    if (method === 'GET' && setup.getFault !== undefined) throw setup.getFault;
    const found = tags.get(reference) ?? manifests.get(reference);
    if (found === undefined) throw failure('image-not-found');
    return found;
  };
  const registry: RegistryClient = {
    manifest: (_repository, reference) => answer('GET', reference),
    tags: async () => ({ tags: [], isComplete: true }),
    head: async (_repository, reference) => {
      const { digest, bytes, contentType } = await answer('HEAD', reference);
      return setup.statesDigest ? { digest, size: bytes.length, contentType } : undefined;
    },
    findBlob: async () => ({ size: 0 }),
    checkSizes: async () => {},
    referrers: async () => undefined,
    blobs: () => memorySource(),
  };
  const log = { damaged: () => {}, uncached: () => {} };
  const blobs = await openBlobCache({ folder: folder.path, limit: 2 ** 30, log });
  const options: CachingClientOptions = {
    client: registry,
    blobs,
    manifests: createManifestStore(createDiskStore(folder.path)),
    staleIfError,
    tagTtl,
    locks: createFolderLocks(folder.path, () => performance.now()),
    now: () => setup.now,
  };
  const setup: Setup = {
    client: createCachingClient(options),
    options,
    asked,
    tags,
    fault: undefined,
    getFault: undefined,
    until: undefined,
    statesDigest: true,
    now: Date.UTC(2026, 0, 1),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
  return setup;
}

const latest = async ({ client }: Setup): Promise<[Digest, number | undefined]> => {
  const { digest, staleSince } = await client.manifest(repository, 'latest', always);
  return [digest, staleSince];
};

suite('large manifests', () => {
  test('are held two at a time until they are stored', async () => {
    await using folder = await temporaryFolder();
    await using setup = await setUp();
    const large = createLargeDocuments(0);
    const stored = Promise.withResolvers<void>();
    let fetched = 0;
    const store = createManifestStore(createDiskStore(folder.path));
    const client = createCachingClient({
      ...setup.options,
      client: {
        ...setup.options.client,
        manifest: (_repository, reference) =>
          large.read(async () => {
            fetched += 1;
            return manifestOf(reference);
          }),
      },
      manifests: { ...store, putManifest: () => stored.promise },
      large,
    });
    const tags = ['a', 'b', 'c', 'd'];
    const all = Promise.all(tags.map((tag) => client.manifest(repository, tag, always)));
    await waitFor(() => fetched === 2, { what: 'two manifests' });
    await immediate();
    assert.equal(fetched, 2);
    stored.resolve();
    assert.deepEqual(
      (await all).map(({ digest }) => digest),
      tags.map((tag) => manifestOf(tag).digest),
    );
  });
});

suite('a manifest by digest', () => {
  test('is fetched once', async () => {
    await using setup = await setUp();
    for (let round = 0; round < 3; round++) {
      const { bytes, contentType } = await setup.client.manifest(repository, first.digest, always);
      assert.deepEqual(Buffer.from(bytes), first.bytes);
      assert.equal(contentType, first.contentType);
    }
    assert.deepEqual(setup.asked, [`GET ${first.digest}`]);
  });

  test('is fetched for each repository, for not each may have it', async () => {
    await using setup = await setUp();
    await setup.client.manifest(repository, first.digest, always);
    await setup.client.manifest({ ...repository, path: 'org/other' }, first.digest, always);
    assert.equal(setup.asked.length, 2);
  });

  test('needs no registry once it is cached, and is not stale', async () => {
    await using setup = await setUp();
    await latest(setup);
    setup.fault = failure('registry-failed');
    const { staleSince } = await setup.client.manifest(repository, first.digest, always);
    assert.equal(staleSince, undefined);
    assert.deepEqual(setup.asked, ['GET latest']);
  });
});

suite('a description', () => {
  const describe = async ({ client }: Setup, reference: string = 'latest') => {
    const { digest, size, staleSince } = await client.describe(repository, reference, always);
    return [digest, size, staleSince];
  };

  test('for a tag costs a HEAD and no GET, also if the tag moved', async () => {
    await using setup = await setUp();
    assert.deepEqual(await describe(setup), [first.digest, first.bytes.length, undefined]);
    await latest(setup);
    setup.asked.length = 0;
    setup.tags.set('latest', second);
    assert.deepEqual(await describe(setup), [second.digest, second.bytes.length, undefined]);
    assert.deepEqual(setup.asked, ['HEAD latest']);
  });

  test('for a tag is the last one while the registry is down, if its manifest was fetched by digest', async () => {
    await using setup = await setUp();
    await describe(setup);
    await setup.client.manifest(repository, first.digest, always);
    const since = setup.now;
    setup.now += HOUR_MS;
    setup.fault = failure('registry-failed');
    assert.deepEqual(await describe(setup), [first.digest, first.bytes.length, since]);
    assert.deepEqual(await latest(setup), [first.digest, since]);
    setup.now += 24 * HOUR_MS;
    await assert.rejects(describe(setup), { code: 'registry-failed' });
  });

  test('takes a GET where the registry refuses HEAD or states no digest', async () => {
    await using setup = await setUp();
    setup.statesDigest = false;
    assert.deepEqual(await describe(setup), [first.digest, first.bytes.length, undefined]);
    assert.deepEqual(setup.asked, ['HEAD latest', 'GET latest']);
  });

  test('for a digest asks the registry only for missing manifests', async () => {
    await using setup = await setUp();
    await describe(setup, first.digest);
    await setup.client.manifest(repository, first.digest, always);
    await describe(setup, first.digest);
    assert.deepEqual(setup.asked, [`HEAD ${first.digest}`, `GET ${first.digest}`]);
  });
});

suite('a tag', () => {
  test('is read from its file once and written once a second, although each request asks the registry', async () => {
    await using setup = await setUp();
    const calls: string[] = [];
    const { manifests } = setup.options;
    const client = createCachingClient({
      ...setup.options,
      manifests: {
        ...manifests,
        tag(...named) {
          calls.push('read');
          return manifests.tag(...named);
        },
        putTag(...named) {
          calls.push('write');
          return manifests.putTag(...named);
        },
      },
    });
    const ask = async () => (await client.manifest(repository, 'latest', always)).digest;
    await ask();
    assert.equal(calls.filter((call) => call === 'write').length, 1);
    calls.length = 0;
    for (let at = 0; at < 10; at += 1) assert.equal(await ask(), first.digest);
    assert.deepEqual(calls, []);
    setup.now += 1000;
    await ask();
    assert.deepEqual(calls, ['write']);
    setup.tags.set('latest', second);
    assert.equal(await ask(), second.digest);
    assert.deepEqual(calls, ['write', 'write']);
    assert.equal(setup.asked.filter((asked) => asked === 'HEAD latest').length, 12);
  });

  test('uses a later confirmation by another process', async () => {
    await using setup = await setUp();
    await latest(setup);
    const other = createCachingClient(setup.options);
    setup.now += HOUR_MS;
    setup.tags.set('latest', second);
    await other.manifest(repository, 'latest', always);
    const confirmed = setup.now;
    setup.fault = failure('registry-unavailable');
    setup.now += HOUR_MS;
    assert.deepEqual(await latest(setup), [second.digest, confirmed]);
  });

  test('costs a GET the first time and a HEAD from then on', async () => {
    await using setup = await setUp();
    for (let round = 0; round < 3; round++) assert.deepEqual(await latest(setup), [first.digest, undefined]);
    assert.deepEqual(setup.asked, ['GET latest', 'HEAD latest', 'HEAD latest']);
  });

  test('is asked for once in a while where the settings say so', async () => {
    await using setup = await setUp(HOUR_MS, 10_000);
    await latest(setup);
    setup.tags.set('latest', second);
    setup.now += 9_999;
    assert.deepEqual(await latest(setup), [first.digest, undefined]);
    assert.deepEqual(setup.asked, ['GET latest']);
    setup.now += 1;
    assert.deepEqual(await latest(setup), [second.digest, undefined]);
    setup.now -= HOUR_MS;
    assert.deepEqual(
      await latest(setup),
      [second.digest, undefined],
      'a clock that was ahead is not believed',
    );
    assert.deepEqual(setup.asked, ['GET latest', 'HEAD latest', `GET ${second.digest}`, 'HEAD latest']);
  });

  test('that moved is followed, and its new manifest fetched once', async () => {
    await using setup = await setUp();
    await latest(setup);
    setup.tags.set('latest', second);
    for (let round = 0; round < 2; round++) assert.deepEqual(await latest(setup), [second.digest, undefined]);
    setup.tags.set('latest', first);
    assert.deepEqual(await latest(setup), [first.digest, undefined]);
    assert.deepEqual(setup.asked, [
      'GET latest',
      'HEAD latest',
      `GET ${second.digest}`,
      'HEAD latest',
      'HEAD latest',
    ]);
  });

  test('at a registry that states no digest costs a GET each time', async () => {
    await using setup = await setUp();
    setup.statesDigest = false;
    await latest(setup);
    setup.tags.set('latest', second);
    assert.deepEqual(await latest(setup), [second.digest, undefined]);
    assert.deepEqual(setup.asked, ['GET latest', 'HEAD latest', 'GET latest']);
  });

  test('is resolved once for all who want it at the same time', async () => {
    await using setup = await setUp();
    const all = await Promise.all(Array.from({ length: 20 }, () => latest(setup)));
    assert.equal(new Set(all.map(String)).size, 1);
    await Promise.all(Array.from({ length: 20 }, () => latest(setup)));
    assert.deepEqual(setup.asked, ['GET latest', 'HEAD latest']);
  });

  test('is resolved to the end though one of those who want it leaves', async () => {
    await using setup = await setUp();
    const gate = Promise.withResolvers<void>();
    setup.until = gate.promise;
    const leaving = new AbortController();
    const left = setup.client.manifest(repository, 'latest', leaving.signal);
    const staying = latest(setup);
    leaving.abort();
    await assert.rejects(left, { name: 'AbortError' });
    gate.resolve();
    assert.deepEqual(await staying, [first.digest, undefined]);
    assert.equal(setup.asked.length, 1);
  });
});

suite('a tag while the registry does not answer', () => {
  for (const code of [
    'registry-failed',
    'registry-timeout',
    'registry-unavailable',
    'registry-rate-limited',
  ] as const) {
    test(`is what it last was: ${code}`, async () => {
      await using setup = await setUp();
      const known = setup.now;
      await latest(setup);
      setup.fault = failure(code);
      setup.now += 23 * HOUR_MS;
      assert.deepEqual(await latest(setup), [first.digest, known]);
      setup.fault = undefined;
      assert.deepEqual(await latest(setup), [first.digest, undefined]);
    });
  }

  for (const code of [
    'image-not-found',
    'registry-refused',
    'registry-credentials-refused',
    'content-mismatch',
    'address-refused',
  ] as const) {
    test(`is not made up where the registry has answered: ${code}`, async () => {
      await using setup = await setUp();
      await latest(setup);
      setup.fault = failure(code);
      await assert.rejects(latest(setup), { code });
    });
  }

  test('is also stale if it moved and the new manifest is unavailable', async () => {
    await using setup = await setUp();
    const known = setup.now;
    await latest(setup);
    setup.tags.set('latest', second);
    setup.getFault = failure('registry-rate-limited');
    setup.now += HOUR_MS;
    assert.deepEqual(await latest(setup), [first.digest, known]);
    setup.getFault = undefined;
    assert.deepEqual(await latest(setup), [second.digest, undefined]);
  });

  test('is known for as long as the settings say since it was last confirmed', async () => {
    await using setup = await setUp(HOUR_MS);
    await latest(setup);
    setup.now += HOUR_MS / 2;
    const confirmed = setup.now;
    await latest(setup);
    setup.fault = failure('registry-unavailable');
    setup.now += HOUR_MS - 1;
    assert.deepEqual(await latest(setup), [first.digest, confirmed]);
    setup.now += 1;
    await assert.rejects(latest(setup), { code: 'registry-unavailable' });
  });

  test('is not known where the settings turn that off', async () => {
    await using setup = await setUp(0);
    await latest(setup);
    setup.fault = failure('registry-unavailable');
    await assert.rejects(latest(setup), { code: 'registry-unavailable' });
  });

  test('fails where it was never known', async () => {
    await using setup = await setUp();
    setup.fault = failure('registry-unavailable');
    await assert.rejects(latest(setup), { code: 'registry-unavailable' });
  });

  test('is not known to another repository', async () => {
    await using setup = await setUp();
    await latest(setup);
    setup.fault = failure('registry-unavailable');
    const other = { ...repository, path: 'org/other' };
    await assert.rejects(setup.client.manifest(other, 'latest', always), { code: 'registry-unavailable' });
  });
});

function manifestOf(content: string): FetchedManifest {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, content }));
  return { bytes, digest: sha256(bytes), contentType: 'application/vnd.oci.image.manifest.v1+json' };
}

function failure(code: ErrorCode): ServiceError {
  return new ServiceError(code, detail('registry-failed', { host: code }));
}
