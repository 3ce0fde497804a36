import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { skipUnless } from '../support/packages.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  type CacheBed,
  incomingPath,
  isKept,
  isQuiet,
  isRight,
  kill,
  onlyVerified,
  type PublishedImage,
  sizeOf,
  startCacheBed,
  startOf,
} from './cache-bed.ts';

const SIZE = 12_000_000;
const STOP = 4_500_000;
/** Maximum received bytes that the process has not written yet. */
const UNDER_WAY = 128 * 1024;

suite('the cache survives its processes', { skip: skipUnless('docker-registry') }, () => {
  let bed: CacheBed;
  let large: PublishedImage;
  let layered: PublishedImage;

  before(async () => {
    bed = await startCacheBed();
    large = await bed.publish('test/large', [SIZE]);
    layered = await bed.publish(
      'test/layered',
      [1, 70_000, 2_000_000, 500_000, 3_000_000, 65_536, 1_000_000],
    );
  });
  after(() => bed[Symbol.asyncDispose]());

  const hasIncoming = (folder: string, least: number) => async () =>
    ((await sizeOf(incomingPath(folder, large.layer))) ?? -1) >= least - UNDER_WAY;
  const isOneBlobInAll = (): void => {
    const [first, second, ...more] = bed.gets(large.layer.digest).map(startOf);
    assert.deepEqual([first, more], [0, []]);
    assert.ok(second !== undefined && second <= STOP && second >= STOP - UNDER_WAY, `${second}`);
  };

  test('kill -9 during a fetch: the next process asks for the rest alone', async () => {
    const folder = await bed.newFolder();
    bed.holdFirst(large.layer, STOP);
    {
      await using proxy = await bed.start(folder);
      const broken = assert.rejects(bed.get(proxy, large));
      await waitFor(hasIncoming(folder, STOP));
      await kill(proxy);
      await broken;
    }
    const left = await sizeOf(incomingPath(folder, large.layer));
    await onlyVerified(folder);
    await using proxy = await bed.start(folder);
    await bed.check(proxy, large);
    assert.deepEqual(bed.gets(large.layer.digest).map(startOf), [0, left]);
    isOneBlobInAll();
    await isKept(folder, large.layer);
    await isQuiet(proxy);
    await bed.check(proxy, large);
    assert.equal(bed.gets(large.layer.digest).length, 2);
  });

  test('kill -9 at any moment: each process goes on where the last one died', async () => {
    const folder = await bed.newFolder();
    const starts = [0];
    for (const share of [0, 0.1, 0.4, 0.7, 0.95]) {
      await using proxy = await bed.start(folder);
      const broken = assert.rejects(bed.get(proxy, large));
      // The proxy holds the connection, so that the crash comes before the end of the transfer.
      bed.upstream.inject((request) =>
        request.path.endsWith(large.layer.digest)
          ? { kind: 'stall', after: Math.max(Math.floor(SIZE * share) - startOf(request), 0) }
          : undefined,
      );
      await waitFor(hasIncoming(folder, Math.floor(SIZE * share)));
      await waitFor(() => bed.gets(large.layer.digest).length === starts.length);
      await kill(proxy);
      await broken;
      await onlyVerified(folder);
      starts.push((await sizeOf(incomingPath(folder, large.layer))) ?? 0);
    }
    bed.upstream.inject(undefined);
    await using proxy = await bed.start(folder);
    await bed.check(proxy, large);
    assert.deepEqual(bed.gets(large.layer.digest).map(startOf), starts);
    await isKept(folder, large.layer);
  });

  test('two processes fetch each blob once for the clients of both', async () => {
    const folder = await bed.newFolder();
    await using one = await bed.start(folder);
    await using other = await bed.start(folder);
    const proxies = [one, other];
    const clients = proxies.flatMap((proxy) => Array.from({ length: 6 }, () => bed.check(proxy, layered)));
    await Promise.all(clients);
    for (const { digest } of layered.layers) assert.equal(bed.gets(digest).length, 1, digest);
    assert.equal(bed.gets(layered.config).length, 1);
    for (const proxy of proxies) await isQuiet(proxy);
    await onlyVerified(folder);
  });

  test('if the process that fetches is killed, the other one hands its clients the rest', async () => {
    const folder = await bed.newFolder();
    await using one = await bed.start(folder);
    await using other = await bed.start(folder);
    bed.holdFirst(large.layer, STOP);
    const doomed = Array.from({ length: 6 }, () => bed.begin(one, large));
    await waitFor(hasIncoming(folder, STOP));
    const served = Array.from({ length: 6 }, () => bed.begin(other, large));
    // They send the bytes that the first process writes, except for those that are held back.
    await waitFor(() => served.every((client) => client.received() >= STOP / 2));
    assert.equal(bed.gets(large.layer.digest).length, 1);
    await kill(one);
    for (const client of doomed) await assert.rejects(client.done);
    for (const client of served) isRight(await client.done, large);
    isOneBlobInAll();
    await isKept(folder, large.layer);
    await isQuiet(other);
  });

  test('if the clients of the process that fetches leave, the other one goes on', async () => {
    const folder = await bed.newFolder();
    await using one = await bed.start(folder);
    await using other = await bed.start(folder);
    bed.holdFirst(large.layer, STOP);
    const leaving = bed.begin(one, large);
    await waitFor(hasIncoming(folder, STOP));
    const staying = [1, 2, 3].map(() => bed.begin(other, large));
    await waitFor(() => staying.every((client) => client.received() >= STOP / 2));
    leaving.leave();
    for (const client of staying) isRight(await client.done, large);
    isOneBlobInAll();
    await isKept(folder, large.layer);
    for (const proxy of [one, other]) await isQuiet(proxy);
  });

  test('clients of two processes come and go, and one of the processes is killed: all bytes are right', async () => {
    const folder = await bed.newFolder();
    await using one = await bed.start(folder);
    await using other = await bed.start(folder);
    const rounds = Array.from({ length: 8 }, (_, round) => round);
    for (const round of rounds) {
      const proxy = round % 2 === 0 ? one : other;
      const leaving = bed.begin(proxy, large);
      const joining = bed.begin(round % 3 === 0 ? proxy : other, large);
      await waitFor(() => leaving.received() > round * 500_000);
      leaving.leave();
      if (round % 4 === 3) isRight(await joining.done, large);
      else joining.leave();
    }
    const last = bed.begin(other, large);
    await kill(one);
    isRight(await last.done, large);
    await isKept(folder, large.layer);
    await onlyVerified(folder);
    await isQuiet(other);
  });
});
