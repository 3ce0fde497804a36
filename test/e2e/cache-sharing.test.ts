import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { download } from '../support/download.ts';
import { skipUnless } from '../support/packages.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  blobPath,
  type CacheBed,
  incomingPath,
  isKept,
  isQuiet,
  isRight,
  livesWell,
  onlyVerified,
  openFiles,
  type PublishedImage,
  sizeOf,
  startCacheBed,
  startOf,
} from './cache-bed.ts';

const SIZE = 12_000_000;

suite('clients share what is fetched', { skip: skipUnless('docker-registry') }, () => {
  let bed: CacheBed;
  let large: PublishedImage;
  let layered: PublishedImage;

  before(async () => {
    bed = await startCacheBed();
    large = await bed.publish('test/large', [SIZE]);
    layered = await bed.publish('test/layered', [1, 70_000, 2_000_000, 0, 3_000_000, 65_536, 1_000_000]);
  });
  after(() => bed[Symbol.asyncDispose]());

  test('50 cold clients of one image cost one request for each blob and one for the manifest', async () => {
    await using proxy = await bed.startAnew();
    await Promise.all(Array.from({ length: 50 }, () => bed.check(proxy, layered)));
    for (const { digest } of layered.layers) assert.equal(bed.gets(digest).length, 1, digest);
    assert.equal(bed.gets(layered.config).length, 1);
    const manifests = bed.upstream.requests.filter(({ path }) => path.includes('/manifests/'));
    assert.equal(manifests.filter(({ method }) => method === 'GET').length, 1);
    await isQuiet(proxy);
    await onlyVerified(proxy.folder);
    // The whole blob is stored now.
    bed.reset();
    await bed.check(proxy, layered);
    assert.deepEqual(
      bed.upstream.requests.map(({ method, path }) => `${method} ${path.split('/').at(-1)}`),
      ['HEAD latest'],
    );
  });

  test('a client that does not read holds up neither the fetch nor a faster one', async () => {
    await using proxy = await bed.startAnew();
    const slow = bed.begin(proxy, large, 1);
    await waitFor(() => slow.received() > 0);
    await bed.check(proxy, large);
    await isKept(proxy.folder, large.layer);
    assert.deepEqual(
      bed.gets(large.layer.digest).map(({ state }) => state),
      ['finished'],
    );
    assert.ok(slow.received() < SIZE / 2);
    slow.resume();
    isRight(await slow.done, large);
    await isQuiet(proxy);
  });

  test('clients of all speeds get the right bytes', async () => {
    await using proxy = await bed.startAnew();
    const clients = [1, SIZE * 0.2, SIZE * 0.4, SIZE * 0.8].map((pauseAt) =>
      bed.begin(proxy, large, pauseAt),
    );
    await Promise.all(clients.map((client, at) => waitFor(() => client.received() > at)));
    for (const until of [SIZE * 0.5, SIZE * 0.9]) {
      for (const client of clients) if (client.received() < until) client.resume(until);
      await waitFor(() => clients.every((client) => client.received() >= until));
    }
    for (const client of clients) client.resume();
    for (const client of clients) isRight(await client.done, large);
    assert.equal(bed.gets(large.layer.digest).length, 1);
    await isQuiet(proxy);
  });

  test('a client that leaves early ends the request upstream, and the next one goes on by Range', async () => {
    await using proxy = await bed.startAnew();
    bed.holdFirst(large.layer, SIZE / 3);
    const leaving = [bed.begin(proxy, large), bed.begin(proxy, large)];
    await waitFor(() => leaving.every((client) => client.received() > SIZE / 4));
    leaving[0]?.leave();
    await waitFor(() => proxy.logs().some(({ msg }) => msg.startsWith('[LEFT]')));
    assert.equal(bed.gets(large.layer.digest)[0]?.state, 'open', 'the other one still reads');
    leaving[1]?.leave();
    await waitFor(() => bed.gets(large.layer.digest)[0]?.state === 'aborted by client');
    await isQuiet(proxy);
    const left = await sizeOf(incomingPath(proxy.folder, large.layer));
    assert.ok(left !== undefined && left > SIZE / 4 && left < large.layer.size);
    await bed.check(proxy, large);
    assert.deepEqual(bed.gets(large.layer.digest).map(startOf), [0, left]);
    await isKept(proxy.folder, large.layer);
  });

  test('a client that leaves when most is there lets the fetch finish', async () => {
    await using proxy = await bed.startAnew();
    const release = bed.holdFirst(large.layer, SIZE * 0.9);
    const leaving = bed.begin(proxy, large);
    await waitFor(() => leaving.received() > SIZE * 0.8);
    leaving.leave();
    await waitFor(() => proxy.logs().some(({ msg }) => msg.startsWith('[LEFT]')));
    assert.equal(bed.gets(large.layer.digest)[0]?.state, 'open');
    release();
    await isKept(proxy.folder, large.layer);
    await isQuiet(proxy);
    await bed.check(proxy, large);
    assert.equal(bed.gets(large.layer.digest).length, 1);
  });

  test('a range inside a blob that is not there goes straight upstream', async () => {
    await using proxy = await bed.startAnew();
    const range = `bytes=${SIZE / 2}-${SIZE / 2 + 999_999}`;
    const part = await download(bed.url(proxy, large), { headers: { range } });
    assert.deepEqual([part.status, part.size], [206, 1_000_000]);
    const [asked] = bed.gets(large.layer.digest);
    assert.ok(asked && startOf(asked) > SIZE / 3);
    assert.ok(asked.sent <= 1_000_000, `${asked.sent} bytes`);
    assert.equal(await sizeOf(incomingPath(proxy.folder, large.layer)), undefined);
    await bed.check(proxy, large);
    const again = await download(bed.url(proxy, large), { headers: { range } });
    assert.equal(again.sha256, part.sha256);
  });

  test('the next layers are fetched ahead, a few at a time, and end with their client', async () => {
    await using proxy = await bed.startAnew();
    const [first] = layered.layers;
    const blobs = new Set(layered.layers.map(({ digest }) => digest));
    bed.upstream.inject(({ path }) =>
      blobs.has(path.split('/').at(-1) ?? '') ? { kind: 'stall', after: 0 } : undefined,
    );
    const client = bed.begin(proxy, layered);
    const asked = () => layered.layers.filter(({ digest }) => bed.gets(digest).length > 0).length;
    // The first layer and the next three, except for the empty one, which needs no request.
    await waitFor(() => asked() >= 3 && first !== undefined && bed.gets(first.digest).length === 1);
    assert.ok(asked() <= 4, `${asked()} at once`);
    client.leave();
    await waitFor(() => bed.upstream.requests.every(({ state }) => state !== 'open'));
    await isQuiet(proxy);
  });

  test('clients that come and go at any moment leave nothing open, and do not disturb who stays', async () => {
    await using proxy = await bed.startAnew();
    for (let round = 0; round < 4; round++) {
      const staying = bed.begin(proxy, large);
      const leaving = Array.from({ length: 10 }, (_, at) => ({
        client: bed.begin(proxy, at % 2 === 0 ? large : layered),
        at: (at * 1_150_000) % SIZE,
      }));
      await Promise.all(
        leaving.map(async ({ client, at }) => {
          const isOver = client.done.then(
            () => true,
            () => true,
          );
          let over = false;
          isOver.then(() => {
            over = true;
          });
          await waitFor(() => over || client.received() >= at);
          client.leave();
        }),
      );
      if (round % 2 === 0) staying.leave();
      else isRight(await staying.done, large);
    }
    await bed.check(proxy, large);
    await isQuiet(proxy);
    await onlyVerified(proxy.folder);
  });

  test('clients that leave before anything was sent leave nothing open', async () => {
    await using proxy = await bed.startAnew();
    await bed.check(proxy, layered);
    for (let round = 0; round < 90; round++) {
      const client = bed.begin(proxy, layered);
      if (round % 3 > 0) await new Promise((resolve) => setImmediate(resolve));
      if (round % 3 > 1) await waitFor(() => client.received() > 0);
      client.leave();
    }
    await bed.check(proxy, layered);
    livesWell(proxy);
    await waitFor(async () => (await openFiles(proxy)) === 0, {
      what: 'no open file',
    });
  });

  test('SIGTERM during a fetch without readers ends the process', async () => {
    await using proxy = await bed.startAnew();
    const release = bed.holdFirst(large.layer, SIZE * 0.9);
    const leaving = bed.begin(proxy, large);
    await waitFor(() => leaving.received() > SIZE * 0.8);
    leaving.leave();
    await waitFor(() => proxy.logs().some(({ msg }) => msg.startsWith('[LEFT]')));
    const stopped = proxy.stop();
    release();
    assert.equal(await stopped, 0);
    await onlyVerified(proxy.folder);
  });

  test('SIGTERM when the last client has its bytes loses nothing of them', async () => {
    for (let round = 0; round < 2; round++) {
      const folder = await bed.newFolder();
      {
        await using proxy = await bed.start(folder);
        await bed.check(proxy, layered);
        assert.equal(await proxy.stop(), 0);
      }
      for (const { digest } of layered.layers)
        assert.ok((await sizeOf(blobPath(folder, digest))) !== undefined, digest);
    }
  });
});
