import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { type Digest, parseDigest } from '../../src/oci/digest.ts';
import { parseReference } from '../../src/oci/reference.ts';
import type { DirectClient } from '../../src/registry/client.ts';
import {
  createMirroringClient,
  type Mirror,
  MirrorsAloneError,
} from '../../src/registry/mirroring-client.ts';
import { createOriginOutages } from '../../src/registry/origin-outages.ts';
import { startDroppingListener } from '../support/dropping-listener.ts';
import {
  answering,
  challenging,
  type Handler,
  type HostileRegistry,
  raw,
  startHostileRegistry,
} from '../support/hostile-registry.ts';
import { reservePort } from '../support/reserve-port.ts';
import { createStack, type Stack } from './stack.ts';

const never = new AbortController().signal;
const NAME = 'team/app';

const status =
  (code: number, headers: Record<string, string> = {}): Handler =>
  (_request, response) =>
    void response.writeHead(code, headers).end();
const reset: Handler = ({ socket }) => void socket.resetAndDestroy();
const closing: Handler = ({ socket }) => void socket.end();
const cutHead = raw('HTTP/1.1 200 OK\r\nContent-Le');
const cutBody = raw('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"schema');

/** Temporary faults: a server or a connection that fails once. */
const PASSING: [title: string, fault: Handler][] = [
  ['500', status(500)],
  ['502', status(502)],
  ['503', status(503)],
  ['504', status(504)],
  ['408', status(408)],
  ['429', status(429)],
  ['429 for 880.092µs', status(429, { 'retry-after': '880.092\u00b5s' })],
  ['503 for a second', status(503, { 'retry-after': '1' })],
  ['a reset', reset],
  ['an end of the connection', closing],
  ['a head that breaks off', cutHead],
  ['a body that breaks off', cutBody],
];

suite('metadata of a registry that fails', () => {
  let registry: HostileRegistry;
  let stack: Stack;
  let pauses: number[];
  let digest: Digest;
  let config: Descriptor;

  beforeEach(async () => {
    registry = await startHostileRegistry();
    pauses = [];
    stack = createStack({
      hosts: [registry.host],
      trusted: [registry.url],
      pause: async (milliseconds) => void pauses.push(milliseconds),
    });
    const honest = registry.honest(NAME);
    digest = parseDigest(honest.descriptor.digest);
    const { mediaType, size } = honest.config.descriptor;
    config = { mediaType, size, digest: parseDigest(honest.config.descriptor.digest) };
  });

  afterEach(async () => {
    await stack.http.close();
    await registry[Symbol.asyncDispose]();
  });

  const repository = () => parseReference(`${registry.host}/${NAME}`);
  const get = (reference = 'latest', signal = never) =>
    stack.client.manifest(repository(), reference, signal);
  const count = (prefix = `/v2/${NAME}/`) =>
    registry.requests().filter(({ url }) => url?.startsWith(prefix)).length;

  /** Fails the first requests with these faults, in order, then answers honestly. */
  const inTurn = (faults: readonly Handler[], honest: Handler): Handler => {
    let at = 0;
    return (request, response) => (faults[at++] ?? honest)(request, response);
  };
  const honestManifest: Handler = (request, response) => {
    const { bytes, descriptor } = registry.honest(NAME);
    const headers = { 'content-type': descriptor.mediaType, 'docker-content-digest': descriptor.digest };
    answering(bytes, headers)(request, response);
  };
  const failing = (...faults: Handler[]) =>
    registry.misbehave(NAME, { manifest: inTurn(faults, honestManifest) });

  for (const [title, fault] of PASSING) {
    test(`a manifest is asked for again after ${title}, by tag and by digest`, async () => {
      for (const reference of ['latest', digest]) {
        failing(fault, fault);
        assert.equal((await get(reference)).digest, digest);
      }
      // A truncated head looks like a reused connection that ends, so the request is repeated immediately.
      assert.ok(count() <= 8, `${count()} requests`);
      assert.ok(pauses.length <= 4);
    });
  }

  test('a manifest is asked for three times, with growing pauses', async () => {
    failing(...Array(9).fill(status(503)));
    await assert.rejects(get(), { code: 'registry-unavailable' });
    assert.equal(count(), 3);
    assert.deepEqual(pauses, [187.5, 375]);
  });

  test('a manifest is asked for no sooner than Retry-After says, and once where that is long', async () => {
    failing(status(429, { 'retry-after': '1' }));
    await get();
    assert.deepEqual(pauses, [1187.5]);
    failing(...Array(9).fill(status(429, { 'retry-after': '6' })));
    await assert.rejects(get(), { code: 'registry-rate-limited', retryAfter: 6 });
    assert.equal(count(), 3);
  });

  test('a registry that drops SYNs gets one connection attempt', async () => {
    await using listener = await startDroppingListener();
    await using impatient = createStack({
      hosts: [listener.host],
      connectTimeout: 50,
      pause: async (milliseconds) => void pauses.push(milliseconds),
    });
    const image = parseReference(`${listener.host}/${NAME}`);
    await assert.rejects(impatient.client.manifest(image, 'latest', never), {
      code: 'registry-timeout',
      isUnreachable: true,
    });
    assert.deepEqual(pauses, []);
  });

  for (const code of [400, 403, 404, 410, 501]) {
    test(`a manifest is asked for once where the answer is ${code}`, async () => {
      failing(...Array(9).fill(status(code)));
      await assert.rejects(get());
      assert.equal(count(), 1);
    });
  }

  for (const encoding of ['gzip', 'x-gzip', 'GZIP']) {
    test(`a manifest that comes as ${encoding}, unasked, is unpacked`, async () => {
      const { bytes } = registry.honest(NAME);
      failing(answering(gzipSync(bytes), { 'content-encoding': encoding }));
      const fetched = await get(digest);
      assert.deepEqual(Buffer.from(fetched.bytes), bytes);
    });
  }

  test('a manifest with a false Content-Encoding stays unchanged', async () => {
    for (const encoding of ['gzip', 'identity']) {
      failing(answering(registry.honest(NAME).bytes, { 'content-encoding': encoding }));
      assert.equal((await get(digest)).digest, digest);
    }
  });

  test('a manifest that decompresses to more than its limit is refused after one request', async () => {
    failing(answering(gzipSync(Buffer.alloc(8 * 1024 * 1024)), { 'content-encoding': 'gzip' }));
    await assert.rejects(get(), {
      code: 'registry-failed',
      message: /gzip body that cannot be decompressed/,
    });
    assert.equal(count(), 1);
  });

  test('a wrong or too long manifest is requested once', async () => {
    failing(answering('{}', { 'docker-content-digest': digest }));
    await assert.rejects(get(), { code: 'content-mismatch' });
    failing(answering(Buffer.alloc(4 * 1024 * 1024 + 1)));
    await assert.rejects(get(), { code: 'registry-failed', message: /more than 4194304 bytes/ });
    assert.equal(count(), 2);
  });

  test('all tries are within the deadline of one', async () => {
    const deadline = new AbortController();
    failing((_request, response) => {
      deadline.abort(new DOMException('Late', 'TimeoutError'));
      response.writeHead(503).end();
    });
    await assert.rejects(get('latest', deadline.signal), { code: 'registry-timeout' });
    assert.equal(count(), 1);
  });

  test('a list of tags is asked for again, with one budget for all pages', async () => {
    const link = { link: `</v2/${NAME}/tags/list?last=a>; rel="next"` };
    const pages = inTurn(
      [status(502), answering({ tags: ['a'] }, link), cutBody],
      answering({ tags: ['b'] }),
    );
    registry.at(`/v2/${NAME}/tags/list`, pages);
    const { tags } = await stack.client.tags(repository(), never);
    assert.deepEqual(tags, ['a', 'b']);
    assert.equal(count(), 4);
    registry.at(`/v2/${NAME}/tags/list`, inTurn([], status(502)));
    await assert.rejects(stack.client.tags(repository(), never), { code: 'registry-failed' });
    assert.equal(count(), 7);
  });

  test('a list of referrers is asked for again', async () => {
    const index = { schemaVersion: 2, manifests: [] };
    registry.at(`/v2/${NAME}/referrers/${digest}`, inTurn([status(503), reset], answering(index)));
    const found = await stack.client.referrers(repository(), digest, never);
    assert.equal(Buffer.from(found?.bytes ?? []).toString(), JSON.stringify(index));
  });

  test('a tag is resolved by a second HEAD', async () => {
    failing(status(502));
    assert.equal((await stack.client.head(repository(), 'latest', never))?.digest, digest);
    assert.deepEqual(
      registry.requests().map(({ method }) => method),
      ['HEAD', 'HEAD'],
    );
  });

  for (const [title, fault] of PASSING) {
    test(`a config is asked for again after ${title}`, async () => {
      const isBody = fault === cutBody;
      const broken = isBody ? raw(`HTTP/1.1 200 OK\r\nContent-Length: ${config.size}\r\n\r\n{"`) : fault;
      const honest = answering(Buffer.from(registry.honest(NAME).config.content as Uint8Array));
      registry.misbehave(NAME, { config: inTurn([broken, broken], honest) });
      const bytes = await buffer(await stack.client.blobs(repository()).read(config, undefined, never));
      assert.equal(bytes.length, config.size);
    });
  }

  suite('with a token server', () => {
    const token = answering({ token: 'opaque' });
    const guarded: Handler = (request, response) =>
      (request.headers.authorization === 'Bearer opaque'
        ? honestManifest
        : challenging(`${registry.url}/token`))(request, response);
    beforeEach(() => registry.misbehave(NAME, { manifest: guarded }));

    for (const [title, fault] of PASSING) {
      test(`a token is asked for again after ${title}`, async () => {
        registry.at('/token', inTurn([fault, fault], token));
        assert.equal((await get()).digest, digest);
        assert.ok(count('/token') <= 4);
      });
    }

    test('a token is asked for three times, whatever asks for it', async () => {
      registry.at('/token', status(503));
      await assert.rejects(get(), { code: 'registry-unavailable' });
      assert.equal(count('/token'), 3);
      const reading = stack.client.blobs(repository()).read(config, undefined, never);
      await assert.rejects(reading, { code: 'registry-unavailable' });
      assert.equal(count('/token'), 8, 'five for a blob');
    });

    test('a token is requested once if the server sends a long Retry-After or omits it', async () => {
      registry.at('/token', status(429, { 'retry-after': '1m30s' }));
      await assert.rejects(get(), { code: 'registry-rate-limited', retryAfter: 90 });
      registry.at('/token', answering({}));
      await assert.rejects(get(), { code: 'registry-failed' });
      assert.equal(count('/token'), 2);
    });

    test('a token that a POST asks for is asked for once', async () => {
      await using ours = createStack({
        hosts: [registry.host],
        credentials: { kind: 'identity-token', token: 'secret' },
      });
      registry.at('/token', status(503));
      const asked = ours.client.manifest(repository(), 'latest', never);
      await assert.rejects(asked, { code: 'registry-unavailable' });
      assert.equal(count('/token'), 1);
    });
  });

  suite('with mirrors', () => {
    let closing: AsyncDisposableStack;
    let mirrors: HostileRegistry[];
    let asked: Mirror[];

    beforeEach(async () => {
      closing = new AsyncDisposableStack();
      mirrors = [];
      for (let at = 0; at < 2; at++) mirrors.push(closing.use(await startHostileRegistry()));
      const circuit = { admits: () => true, succeeded: () => {}, failed: () => {} };
      asked = mirrors.map(({ host }): Mirror => {
        const { client } = closing.use(createStack({ hosts: [host], metadataRetries: 0, blobRetries: 0 }));
        const locate = () => parseReference(`${host}/${NAME}`);
        return { client, circuit, canPull: true, canResolve: true, locate };
      });
    });
    afterEach(() => closing.disposeAsync());

    const client = (origin: DirectClient = stack.client) => {
      const outages = createOriginOutages({
        ...{ now: () => 0, random: () => 1, onOpen: () => {}, onClose: () => {} },
      });
      return createMirroringClient({ client: origin, mirrorsOf: () => asked, outages });
    };
    const readConfig = async () => buffer(await client().blobs(repository()).read(config, undefined, never));

    test('tries do not multiply: each mirror gets two', async () => {
      const all = [registry, ...mirrors];
      for (const one of all) one.misbehave(NAME, { manifest: status(503), blob: status(503) });
      const counts = () => all.map((one) => one.requests().length);
      await assert.rejects(client().manifest(repository(), 'latest', never), {
        code: 'registry-unavailable',
      });
      assert.deepEqual(counts(), [3, 2, 2]);
      await assert.rejects(client().head(repository(), 'latest', never), {
        code: 'registry-unavailable',
      });
      assert.deepEqual(counts(), [5, 4, 4]);
      await assert.rejects(readConfig(), { code: 'registry-unavailable' });
      assert.deepEqual(counts(), [10, 6, 6]);
    });

    suite('and an unreachable registry', () => {
      /** Starts a client of a registry at a closed port. Counts the requests to that registry. */
      async function begin() {
        const host = `127.0.0.1:${await reservePort()}`;
        const { client: origin } = closing.use(createStack({ hosts: [host] }));
        let count = 0;
        const counting = <Args extends unknown[], T>(work: (...args: Args) => T) => {
          return (...args: Args): T => {
            count += 1;
            return work(...args);
          };
        };
        const [manifest, referrers] = [counting(origin.manifest), counting(origin.referrers)];
        return {
          image: parseReference(`${host}/${NAME}`),
          mirrored: client({ ...origin, manifest, referrers }),
          count: () => count,
        };
      }

      test('the registry is asked once for images that the mirrors lack', async () => {
        for (const mirror of mirrors) mirror.misbehave(NAME, { manifest: status(404) });
        const { image, mirrored, count } = await begin();
        for (const tag of ['one', 'two', 'three'])
          await assert.rejects(mirrored.manifest(image, tag, never), {
            code: 'registry-failed',
            message: `${image.domain} could not be read: it refused the connection. The mirrors that responded do not have the image.`,
          });
        await assert.rejects(mirrored.referrers(image, digest, never), MirrorsAloneError);
        assert.equal(count(), 1);
      });

      test('the registry is asked each time if no mirror responds', async () => {
        for (const mirror of mirrors) mirror.misbehave(NAME, { manifest: status(404) });
        const { image, mirrored, count } = await begin();
        await assert.rejects(mirrored.manifest(image, 'one', never), MirrorsAloneError);
        for (const mirror of mirrors) mirror.misbehave(NAME, { manifest: status(503) });
        await assert.rejects(mirrored.manifest(image, 'one', never), { code: 'registry-failed' });
        assert.equal(count(), 2);
      });
    });

    test('a registry that responds with an error is asked each time', async () => {
      for (const mirror of mirrors) mirror.misbehave(NAME, { manifest: status(404) });
      registry.misbehave(NAME, { manifest: status(500) });
      const mirrored = client();
      await assert.rejects(mirrored.manifest(repository(), 'one', never), MirrorsAloneError);
      registry.misbehave(NAME, { manifest: honestManifest });
      assert.equal((await mirrored.manifest(repository(), 'one', never)).digest, digest);
    });

    test('a mirror that fails once is tried again if the registry is unreachable', async () => {
      const broken = [status(404), status(503)];
      const [honestBlob, { bytes }] = [registry.honest(NAME).config.content, registry.honest(NAME)];
      registry.misbehave(NAME, { manifest: reset, blob: reset });
      for (const [at, mirror] of mirrors.entries()) {
        const faults = at === 0 ? Array(9).fill(broken[0]) : [broken[1]];
        mirror.misbehave(NAME, {
          manifest: inTurn(faults, answering(bytes)),
          config: inTurn(faults, answering(honestBlob)),
        });
      }
      assert.equal((await client().manifest(repository(), 'latest', never)).digest, digest);
      assert.equal((await readConfig()).length, config.size);
      assert.deepEqual(
        mirrors.map((one) => one.requests().length),
        [2, 4],
        'one that has answered is not asked again',
      );
    });

    test('a mirror that fails is not tried again if the registry answers', async () => {
      for (const mirror of mirrors) mirror.misbehave(NAME, { manifest: status(503), blob: status(503) });
      await client().manifest(repository(), 'latest', never);
      await readConfig();
      assert.deepEqual(
        mirrors.map((one) => one.requests().length),
        [2, 2],
      );
    });
  });
});
