import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, suite, test } from 'node:test';
import type { FaultHook } from '../support/fault-proxy.ts';
import { skipUnless } from '../support/packages.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  blobPath,
  type CacheBed,
  filesOf,
  incomingPath,
  isKept,
  isQuiet,
  isRight,
  onlyVerified,
  type PublishedImage,
  sizeOf,
  startCacheBed,
  startOf,
} from './cache-bed.ts';

const SIZE = 8_000_000;
const HALF = 4_000_000;

suite('a registry that breaks off or lies', { skip: skipUnless('docker-registry') }, () => {
  let bed: CacheBed;
  let published: PublishedImage;
  let other: PublishedImage;

  before(async () => {
    bed = await startCacheBed();
    published = await bed.publish('test/faulty', [SIZE]);
    other = await bed.publish('test/other', [SIZE]);
  });
  after(() => bed[Symbol.asyncDispose]());

  const forLayer =
    (decide: FaultHook): FaultHook =>
    (request) =>
      request.method === 'GET' && request.path.endsWith(published.layer.digest) ? decide(request) : undefined;

  const faults: [string, () => FaultHook][] = [
    ['inverts a bit early', () => () => ({ kind: 'flip', at: 1000 })],
    ['inverts a bit of the last byte', () => () => ({ kind: 'flip', at: published.layer.size - 1 })],
    ['ends the body early, and then says 404', () => cutThen({ kind: 'answer', status: 404 })],
    ['ends the body early, and inverts a bit of the rest', () => cutThen({ kind: 'flip', at: 500_000 })],
    [
      'ends the body early, and then sends another range',
      () =>
        cutThen({
          kind: 'answer',
          status: 206,
          headers: { 'content-range': `bytes 0-${published.layer.size - 1}/${published.layer.size}` },
          body: Buffer.alloc(published.layer.size),
        }),
    ],
    [
      'sends a shorter blob',
      () => () => ({
        kind: 'answer',
        status: 200,
        headers: { 'content-length': `${published.layer.size - 1}` },
        body: Buffer.alloc(published.layer.size - 1),
      }),
    ],
    [
      'sends a longer blob',
      () => () => ({ kind: 'answer', status: 200, body: Buffer.alloc(published.layer.size + 1) }),
    ],
    [
      'sends other bytes',
      () => () => ({ kind: 'answer', status: 200, body: Buffer.alloc(published.layer.size) }),
    ],
    [
      'sends more than there is, in chunks',
      () => () => ({
        kind: 'answer',
        status: 200,
        headers: { 'transfer-encoding': 'chunked' },
        body: Buffer.alloc(published.layer.size + 1),
      }),
    ],
  ];
  for (const [what, makeHook] of faults) {
    test(`that ${what}: the clients see a failed download, nothing wrong is kept, the next one is right`, async () => {
      await using proxy = await bed.startAnew();
      const { folder } = proxy;
      bed.upstream.inject(forLayer(makeHook()));
      const clients = [1, 2, 3].map(() => bed.begin(proxy, published));
      for (const client of clients) {
        const ended = await client.done.catch(() => undefined);
        assert.ok(ended === undefined || ended.status >= 400, 'refused before the first byte, or broken off');
        assert.ok(client.received() < published.expected.size);
      }
      assert.equal(await sizeOf(blobPath(folder, published.layer.digest)), undefined);
      await onlyVerified(folder);
      bed.upstream.inject(undefined);
      await bed.check(proxy, published);
      await isKept(folder, published.layer);
      await onlyVerified(folder);
      await isQuiet(proxy);
    });
  }

  /** Cuts the first response halfway. The next request gets the other fault. */
  function cutThen(fault: ReturnType<FaultHook>): FaultHook {
    return (request) => (startOf(request) === 0 ? { kind: 'cut', after: HALF } : fault);
  }

  test('that breaks off again and again: the download goes on by Range, and the whole is kept', async () => {
    await using proxy = await bed.startAnew();
    bed.upstream.inject(forLayer(() => ({ kind: 'cut', after: 3_000_000 })));
    await bed.check(proxy, published);
    assert.equal(bed.gets(published.layer.digest).length, 3);
    await isKept(proxy.folder, published.layer);
    await onlyVerified(proxy.folder);
  });

  test('that ignores ranges: stored bytes are not written twice', async () => {
    await using proxy = await bed.startAnew();
    bed.upstream.inject(
      forLayer((request) =>
        startOf(request) === 0 ? { kind: 'cut', after: HALF } : { kind: 'ignore-range' },
      ),
    );
    await bed.check(proxy, published);
    await isKept(proxy.folder, published.layer);
    await onlyVerified(proxy.folder);
  });

  test('that disconnects in the middle of a layer and recovers leaves the download whole', async () => {
    await using proxy = await bed.startAnew();
    const gate = Promise.withResolvers<void>();
    bed.upstream.inject(
      forLayer(() => {
        const times = bed.gets(published.layer.digest).length;
        if (times === 1) return { kind: 'cut', after: HALF };
        return times === 2 ? { kind: 'hold', until: gate.promise } : undefined;
      }),
    );
    const clients = [1, 2].map(() => bed.begin(proxy, published));
    await waitFor(() => bed.gets(published.layer.digest).length === 2, { what: 'a request for the rest' });
    await bed.registry.stop();
    gate.resolve();
    await waitFor(() => bed.gets(published.layer.digest).length === 3, { what: 'another one' });
    await bed.registry.restart();
    for (const client of clients) isRight(await client.done, published);
    await isKept(proxy.folder, published.layer);
    await onlyVerified(proxy.folder);
    await isQuiet(proxy);
  });

  test('that sends a shorter blob without saying so: the bytes are refused, and the next fetch starts from 0', async () => {
    await using proxy = await bed.startAnew();
    bed.upstream.inject(
      forLayer((request) =>
        startOf(request) === 0
          ? { kind: 'answer', status: 200, body: Buffer.alloc(published.layer.size - 1) }
          : { kind: 'answer', status: 404 },
      ),
    );
    await assert.rejects(bed.get(proxy, published));
    bed.upstream.inject(undefined);
    // The fetch continues from the stored bytes, and only the last byte shows that they are wrong.
    await assert.rejects(bed.get(proxy, published));
    await onlyVerified(proxy.folder);
    await bed.check(proxy, published);
    await isKept(proxy.folder, published.layer);
    await isQuiet(proxy);
  });

  test('that stays closed breaks the download, which the next client continues', async () => {
    await using proxy = await bed.startAnew();
    bed.upstream.inject(
      forLayer((request) => (startOf(request) === 0 ? { kind: 'cut', after: HALF } : { kind: 'drop' })),
    );
    await assert.rejects(bed.get(proxy, published));
    const left = (await sizeOf(incomingPath(proxy.folder, published.layer))) ?? 0;
    assert.ok(left > HALF - 1_000_000, `${left} bytes are left`);
    bed.reset();
    await bed.check(proxy, published);
    assert.deepEqual(bed.gets(published.layer.digest).map(startOf), [left]);
  });

  test('that is refused by one blob still gives the others', async () => {
    await using proxy = await bed.startAnew();
    bed.upstream.inject(forLayer(() => ({ kind: 'answer', status: 404 })));
    assert.equal((await bed.get(proxy, published)).status, 422);
    await bed.check(proxy, other);
    await isQuiet(proxy);
  });

  test('damaged files on the disk are fetched again and logged', async () => {
    await using proxy = await bed.startAnew();
    const { folder } = proxy;
    await bed.check(proxy, published);
    await isKept(folder, published.layer);
    await writeFile(blobPath(folder, published.layer.digest), Buffer.alloc(published.layer.size));
    await bed.check(proxy, published);
    assert.equal(bed.gets(published.layer.digest).length, 2);
    const warnings = proxy.logs().filter(({ level, msg }) => level === 40 && msg.includes('was changed'));
    assert.deepEqual([...new Set(warnings.map(({ digest }) => digest))], [published.layer.digest]);
    await isKept(folder, published.layer);
    await onlyVerified(folder);
    assert.ok((await filesOf(folder)).size > 0);
  });
});
