import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { openBlobCache } from '../../src/blobs/blob-cache.ts';
import { createFolderLocks } from '../../src/blobs/folder-locks.ts';
import { type Digest, sha256 } from '../../src/oci/digest.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { createCachingClient } from '../../src/registry/caching-client.ts';
import type { FetchedManifest, RegistryClient } from '../../src/registry/client.ts';
import { createDiskStore } from '../../src/registry/disk-store.ts';
import { createManifestStore } from '../../src/registry/manifest-store.ts';
import { type Handler, startHostileRegistry } from '../support/hostile-registry.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { createStack } from './stack.ts';

const never = new AbortController().signal;
const NAME = 'team/app';
const TYPE = 'application/vnd.oci.image.index.v1+json';

interface Bed extends AsyncDisposable {
  /** Replaces the response to a HEAD, or to a GET of the tag or of a digest. */
  on(what: 'HEAD' | 'tag' | 'digest', handler: Handler): void;
  /** Moves the tag to a new manifest. */
  move(): Digest;
  latest(): Promise<FetchedManifest>;
  /** Actions of a handler. */
  readonly honest: Handler;
  /** Returns the methods of requests since the last call, and whether each was for a tag or a digest. */
  asked(): string[];
}

/** A registry, honest by default, behind a client that has fetched its tag once. */
async function startBed(): Promise<Bed> {
  const stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const registry = stack.use(await startHostileRegistry());
  const { client: direct } = stack.use(createStack({ hosts: [registry.host] }));
  const blobs = await openBlobCache({
    folder: folder.path,
    limit: 2 ** 30,
    log: { damaged: () => {}, uncached: () => {} },
  });
  const client: RegistryClient = createCachingClient({
    client: direct,
    blobs,
    manifests: createManifestStore(createDiskStore(folder.path)),
    staleIfError: 60_000,
    tagTtl: 0,
    locks: createFolderLocks(folder.path, () => performance.now()),
    now: () => Date.now(),
  });
  const handlers = new Map<string, Handler>();
  let generation = 0;
  const bytes = () =>
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: TYPE, manifests: [], generation }));
  const honest: Handler = (request, response) => {
    const body = bytes();
    const headers = {
      'content-type': TYPE,
      'docker-content-digest': sha256(body),
      'content-length': body.length,
    };
    response.writeHead(200, headers).end(request.method === 'HEAD' ? undefined : body);
  };
  let seen = 0;
  registry.misbehave(NAME, {
    manifest(request, response) {
      const isByDigest = request.url?.includes('sha256') === true;
      const handler = handlers.get(request.method === 'HEAD' ? 'HEAD' : isByDigest ? 'digest' : 'tag');
      if (handler) return handler(request, response);
      honest(request, response);
    },
  });
  const bed: Bed = {
    honest,
    on: (what, handler) => void handlers.set(what, handler),
    move() {
      generation += 1;
      return sha256(bytes());
    },
    latest: () => client.manifest(parseReference(`${registry.host}/${NAME}`), 'latest', never),
    asked() {
      const since = registry.requests().slice(seen);
      seen += since.length;
      return since.map(({ method, url = '' }) => `${method} ${url.includes('sha') ? 'digest' : 'tag'}`);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
  await bed.latest();
  bed.asked();
  return bed;
}

const status =
  (code: number, headers: Record<string, string> = {}): Handler =>
  (_request, response) =>
    void response.writeHead(code, headers).end();
const ok = (digest?: string): Handler =>
  status(200, digest === undefined ? {} : { 'docker-content-digest': digest });

suite('a cached tag of a registry that answers GET', () => {
  const refusals: [title: string, head: Handler, heads?: number][] = [
    ...[400, 401, 403, 404, 405, 410, 501].map((code): [string, Handler] => [`${code}`, status(code)]),
    ['401 with a challenge', status(401, { 'www-authenticate': 'Basic realm="x"' })],
    ['204', status(204)],
    ['a redirect without an end', status(307, { location: '/v2/team/app/manifests/latest' }), 11],
    ['no digest', ok()],
    ['a digest of an unknown algorithm', ok('blake3:00')],
    ['a digest in capitals', ok(`SHA256:${'A'.repeat(64)}`)],
    ['a digest that is cut off', ok('sha256:0123')],
    ...[500, 502, 503].map((code): [string, Handler, number] => [`${code}, twice`, status(code), 2]),
    // One of them fails on a reused connection, which is repeated immediately.
    ['a reset, thrice', ({ socket }) => void socket.resetAndDestroy(), 3],
  ];
  for (const [title, head, heads = 1] of refusals) {
    test(`is asked by GET where HEAD brings ${title}`, async () => {
      await using bed = await startBed();
      bed.on('HEAD', head);
      for (let round = 0; round < 2; round++) {
        const moved = bed.move();
        const { digest, staleSince } = await bed.latest();
        assert.deepEqual([digest, staleSince], [moved, undefined]);
        const asked = bed.asked();
        assert.deepEqual(asked, [...Array(asked.length - 1).fill('HEAD tag'), 'GET tag']);
        assert.ok(asked.length - 1 <= heads, `${asked}`);
      }
    });
  }

  for (const code of [400, 403, 404]) {
    test(`is asked by GET where the digest of HEAD brings ${code}`, async () => {
      await using bed = await startBed();
      bed.on('digest', status(code));
      const moved = bed.move();
      const { digest, staleSince } = await bed.latest();
      assert.deepEqual([digest, staleSince], [moved, undefined]);
      assert.deepEqual(bed.asked(), ['HEAD tag', 'GET digest', 'GET tag']);
    });
  }

  test('is requested by GET if the digest from HEAD does not match its manifest', async () => {
    await using bed = await startBed();
    bed.on('HEAD', ok(`sha256:${'0'.repeat(64)}`));
    const moved = bed.move();
    assert.equal((await bed.latest()).digest, moved);
  });

  test('is unchanged if HEAD says so, with one request', async () => {
    await using bed = await startBed();
    await bed.latest();
    assert.deepEqual(bed.asked(), ['HEAD tag']);
  });
});

suite('a cached tag of a registry that fails', () => {
  test('is stale only after all tries', async () => {
    await using bed = await startBed();
    bed.on('HEAD', status(502));
    bed.on('tag', status(503));
    bed.move();
    assert.ok((await bed.latest()).staleSince);
    assert.deepEqual(bed.asked(), ['HEAD tag', 'HEAD tag', 'GET tag', 'GET tag', 'GET tag']);
  });

  test('is updated if only the last try succeeds', async () => {
    await using bed = await startBed();
    bed.on('HEAD', status(502));
    const moved = bed.move();
    let failures = 0;
    bed.on('tag', (request, response) =>
      failures++ < 2 ? status(503)(request, response) : bed.honest(request, response),
    );
    const { digest, staleSince } = await bed.latest();
    assert.deepEqual([digest, staleSince], [moved, undefined]);
  });

  for (const [title, fault] of [
    ['one 503', status(503)],
    ['one reset', ({ socket }) => void socket.resetAndDestroy()],
  ] satisfies [string, Handler][]) {
    test(`is new after ${title}, where it has moved`, async () => {
      await using bed = await startBed();
      const moved = bed.move();
      let failures = 0;
      bed.on('HEAD', (request, response) =>
        failures++ === 0
          ? fault(request, response)
          : status(200, { 'docker-content-digest': moved })(request, response),
      );
      const { digest, staleSince } = await bed.latest();
      assert.deepEqual([digest, staleSince], [moved, undefined]);
      assert.deepEqual(bed.asked(), ['HEAD tag', 'HEAD tag', 'GET digest']);
    });
  }

  test('is not requested by GET if HEAD reports a rate limit', async () => {
    await using bed = await startBed();
    bed.on('HEAD', status(429, { 'retry-after': '3600' }));
    bed.move();
    assert.ok((await bed.latest()).staleSince);
    assert.deepEqual(bed.asked(), ['HEAD tag']);
  });
});
