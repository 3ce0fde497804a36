import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { BlobFetch } from '../../src/blobs/blob-fetch.ts';
import { openBlobFiles } from '../../src/blobs/blob-files.ts';
import type { DiskQuota } from '../../src/blobs/disk-quota.ts';
import { StorageFailure } from '../../src/blobs/growing-file.ts';
import type { RecentBytesBudget } from '../../src/blobs/recent-bytes.ts';
import type { BlobReader, Demand } from '../../src/oci/blob-reader.ts';
import { createBufferPool } from '../../src/util/buffer-pool.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import { always, type MemorySource, memorySource, sampleBlob } from './samples.ts';

const sample = sampleBlob(2_000_000, 'fetch');
const boundless: DiskQuota = {
  reserve: async (_bytes, occupy) => {
    occupy();
    return true;
  },
};
const atStart = (): Demand => ({ position: 0 });
const full: DiskQuota = { reserve: async () => false };

interface Setup extends AsyncDisposable {
  readonly recentBudget: RecentBytesBudget;
  readonly fetch: BlobFetch;
  /** Joins until the caller leaves or the test ends. */
  join(demand: Demand): Promise<() => void>;
  readonly ends: (Error | undefined)[];
}

async function begin(
  source: BlobReader,
  room = boundless,
  readAhead = 2 ** 28,
  { descriptor: blob } = sample,
): Promise<Setup> {
  const folder = await temporaryFolder();
  const files = await openBlobFiles({ folder: folder.path, onDamage: () => {} });
  const ends: (Error | undefined)[] = [];
  const onEnd = (error: Error | undefined): void => void ends.push(error);
  const recentBudget = { limit: 2 ** 20, held: 0 };
  const fetch = new BlobFetch({
    blob,
    supplier: 'registry.example',
    files,
    room,
    buffers: createBufferPool(1_000_000),
    recentBudget,
    source,
    readAhead,
    onEnd,
  });
  const joined: (() => void)[] = [];
  const join = async (demand: Demand): Promise<() => void> => {
    const leave = await fetch.join(demand, always);
    joined.push(leave);
    return leave;
  };
  const dispose = async (): Promise<void> => {
    await fetch.close();
    for (const leave of joined) leave();
    await folder[Symbol.asyncDispose]();
  };
  return { recentBudget, fetch, join, ends, [Symbol.asyncDispose]: dispose };
}

suite('one fetch of one blob', () => {
  test('gives away all but the last 64 KiB before the whole is verified', async () => {
    const source = memorySource(sample);
    const release = source.holdAt(1_990_000);
    await using setup = await begin(source);
    const leave = await setup.fetch.join(atStart(), always);
    await waitFor(() => setup.fetch.content.received === 1_990_000);
    assert.equal(setup.fetch.content.available, 2_000_000 - 64 * 1024);
    release();
    await waitFor(() => setup.ends.length === 1);
    assert.equal(setup.fetch.content.available, 2_000_000);
    assert.deepEqual(setup.ends, [undefined]);
    leave();
    assert.deepEqual(setup.ends, [undefined]);
  });

  test('ends once, at once, when its last reader leaves', async () => {
    const source = memorySource(sample);
    source.holdAt(500_000);
    await using setup = await begin(source);
    const [one, other] = await Promise.all([
      setup.fetch.join(atStart(), always),
      setup.fetch.join(atStart(), always),
    ]);
    await waitFor(() => setup.fetch.content.received === 500_000);
    one();
    assert.deepEqual(setup.ends, []);
    other();
    assert.deepEqual(setup.ends, [undefined]);
    await waitFor(() => source.reads[0]?.state === 'aborted');
    await waitFor(() => setup.fetch.content.failure !== undefined);
    assert.deepEqual(setup.ends, [undefined]);
  });

  test('continues without readers when it is mostly done, but not forever', async (t) => {
    const source = memorySource(sample);
    source.holdAt(1_900_000);
    await using setup = await begin(source);
    const one = await setup.fetch.join(atStart(), always);
    await waitFor(() => setup.fetch.content.received === 1_900_000);
    t.mock.timers.enable({ apis: ['setTimeout'] });
    one();
    const other = await setup.fetch.join(atStart(), always);
    t.mock.timers.tick(3_600_000);
    assert.deepEqual(setup.ends, [], 'whoever joins is waited for');
    other();
    t.mock.timers.tick(60_000);
    assert.deepEqual(setup.ends, [], 'it may soon be over');
    t.mock.timers.tick(300_000);
    assert.deepEqual(setup.ends, [undefined]);
    t.mock.timers.reset();
    await waitFor(() => source.reads[0]?.state === 'aborted');
  });

  test('ends once, with its failure, though readers leave later', async () => {
    await using setup = await begin(memorySource());
    await assert.rejects(setup.fetch.join(atStart(), always));
    await turn();
    assert.equal(setup.ends.length, 1);
    assert.equal(setup.ends[0], setup.fetch.content.failure);
  });

  test('ends once if the disk is full, however many readers have joined', async () => {
    await using setup = await begin(memorySource(sample), full);
    const joined = await Promise.allSettled([
      setup.fetch.join(atStart(), always),
      setup.fetch.join(atStart(), always),
    ]);
    await turn();
    for (const one of joined) assert.ok(one.status === 'rejected' && one.reason instanceof StorageFailure);
    assert.equal(setup.ends.length, 1);
    assert.ok(setup.ends[0] instanceof StorageFailure);
  });
});

suite('the recent bytes of a fetch', () => {
  test('stay in memory for a reader that keeps up, until the fetch ends', async () => {
    const source = memorySource(sample);
    const release = source.holdAt(500_000);
    await using setup = await begin(source);
    await setup.join(atStart());
    const { content } = setup.fetch;
    await waitFor(() => content.received === 500_000);
    const read: Buffer[] = [];
    for (let position = 0; position < 500_000; ) {
      const lent = content.lend(position);
      assert.ok(lent, `${position}`);
      read.push(Buffer.from(lent.bytes));
      position += lent.bytes.length;
      lent.release();
    }
    assert.deepEqual(Buffer.concat(read), sample.bytes.subarray(0, 500_000));
    assert.equal(setup.recentBudget.held, 500_000);
    release();
    await waitFor(() => setup.ends.length === 1);
    assert.equal(setup.recentBudget.held, 0);
    assert.equal(content.lend(0), undefined);
  });

  test('are not kept for readers that are far ahead or far behind', async () => {
    const large = sampleBlob(6 * 2 ** 20, 'recent');
    const source = memorySource(large);
    const release = source.holdAt(4 * 2 ** 20);
    await using setup = await begin(source, boundless, 2 ** 28, large);
    await setup.join({ position: 0 });
    await setup.join({ position: Number.POSITIVE_INFINITY });
    await waitFor(() => setup.fetch.content.received === 4 * 2 ** 20);
    // Bytes count as received before they are written, and are kept until then.
    await waitFor(() => setup.recentBudget.held === 0);
    release();
    await waitFor(() => setup.ends.length === 1);
  });
});

suite('the room of a fetch', () => {
  const FIRST = 16 * 1024 * 1024;
  const large = sampleBlob(FIRST + 1024 * 1024, 'room');
  /** Counts the reserved bytes. Has room for only the first bytes, or for all. */
  const countingRoom = (hasAll: boolean) => {
    const reserved: number[] = [];
    const room: DiskQuota = {
      reserve: async (bytes, occupy) => {
        reserved.push(bytes);
        occupy();
        return hasAll || reserved.length === 1;
      },
    };
    return { room, reserved };
  };

  test('is made as the bytes come', async () => {
    const source = memorySource(large);
    const release = source.holdAt(FIRST / 4);
    const { room, reserved } = countingRoom(true);
    await using setup = await begin(source, room, 2 ** 28, large);
    await setup.join(atStart());
    await waitFor(() => setup.fetch.content.received === FIRST / 4);
    assert.deepEqual(reserved, [FIRST]);
    release();
    await waitFor(() => setup.ends.length === 1);
    assert.deepEqual(setup.ends, [undefined]);
    assert.deepEqual(reserved, [FIRST, 1024 * 1024]);
  });

  test('ends the fetch where it runs out', async () => {
    const { room } = countingRoom(false);
    await using setup = await begin(memorySource(large), room, 2 ** 28, large);
    await setup.join(atStart());
    await waitFor(() => setup.ends.length === 1);
    assert.ok(setup.ends[0] instanceof StorageFailure);
    assert.ok(setup.fetch.content.received < large.descriptor.size);
  });
});

/** Maximum bytes in flight when a fetch stops. */
const SLACK = 512 * 1024;

suite('a fetch that runs ahead of its readers', () => {
  const AHEAD = 1024 * 1024;
  const large = sampleBlob(8 * AHEAD, 'ahead');
  const start = (source: BlobReader): Promise<Setup> => begin(source, boundless, AHEAD, large);
  /** Waits until the fetch reaches a position, and checks that it stays there. */
  const waitsAt = async (setup: Setup, source: MemorySource, position: number): Promise<void> => {
    await waitFor(() => setup.fetch.content.received >= position);
    for (let turns = 0; turns < 50; turns++) await turn();
    const given = source.reads.reduce((sum, read) => sum + read.given, 0);
    assert.ok(given <= position + SLACK, `${given} bytes for ${position}`);
  };

  test('waits for the furthest reader, and continues when that one moves', async () => {
    const source = memorySource(large);
    await using setup = await start(source);
    const slow = { position: 0 };
    const fast = { position: 0 };
    await setup.join(slow);
    await waitsAt(setup, source, AHEAD);
    const leave = await setup.join(fast);
    fast.position = AHEAD;
    setup.fetch.moved();
    await waitsAt(setup, source, 2 * AHEAD);
    leave();
    slow.position = 7 * AHEAD;
    setup.fetch.moved();
    await waitFor(() => setup.ends.length === 1);
    assert.deepEqual([setup.ends, source.reads.length], [[undefined], 1]);
  });

  test('continues up to the read-ahead of a reader that joins in the middle', async () => {
    const source = memorySource(large);
    await using setup = await start(source);
    await setup.join(atStart());
    await waitsAt(setup, source, AHEAD);
    await setup.join({ position: 4 * AHEAD });
    await waitsAt(setup, source, 5 * AHEAD);
    await setup.join({ position: Number.POSITIVE_INFINITY });
    await waitFor(() => setup.ends.length === 1);
    assert.deepEqual(setup.ends, [undefined]);
  });

  test('fetches only the beginning for a reader that has not reached the blob', async () => {
    const source = memorySource(large);
    await using setup = await start(source);
    let changed = (): void => {};
    const approach = {
      position: Number.NEGATIVE_INFINITY,
      onChange: (call: () => void) => {
        changed = call;
        return () => {};
      },
    };
    await setup.fetch.attend(approach, always);
    await waitsAt(setup, source, 64 * 1024);
    approach.position = -AHEAD / 2;
    changed();
    await waitsAt(setup, source, AHEAD / 2);
    approach.position = Number.NEGATIVE_INFINITY;
    await setup.join(atStart());
    await waitsAt(setup, source, AHEAD);
  });

  for (const isHarmful of [true, false]) {
    const does = isHarmful
      ? 'closes its connection if it was harmful, and resumes by Range'
      : 'keeps its connection';
    test(`while no reader wants more, ${does}`, async () => {
      const source = memorySource(large);
      await using setup = await start(source);
      let changed = (): void => {};
      const approach = {
        position: -AHEAD / 2,
        isHarmful,
        onChange: (call: () => void) => {
          changed = call;
          return () => {};
        },
      };
      await setup.fetch.attend(approach, always);
      await waitsAt(setup, source, AHEAD / 2);
      assert.equal(source.reads[0]?.state, 'open');
      approach.position = Number.NEGATIVE_INFINITY;
      changed();
      if (isHarmful) await waitFor(() => source.reads[0]?.state === 'aborted');
      assert.equal(source.reads.length, 1);
      await setup.join({ position: Number.POSITIVE_INFINITY });
      await waitFor(() => setup.ends.length === 1);
      assert.deepEqual(setup.ends, [undefined]);
      assert.equal(setup.fetch.content.isVerified, true);
      assert.deepEqual(
        source.reads.map(({ range }) => range.start > 0),
        isHarmful ? [false, true] : [false],
      );
    });
  }

  test('stops waiting when its last reader leaves, or the cache closes', async () => {
    const endings: ((fetch: BlobFetch, leave: () => void) => void | Promise<void>)[] = [
      (_fetch, leave) => leave(),
      (fetch) => fetch.close(),
    ];
    for (const end of endings) {
      const source = memorySource(large);
      await using setup = await start(source);
      const leave = await setup.join(atStart());
      await waitsAt(setup, source, AHEAD);
      await end(setup.fetch, leave);
      await waitFor(() => source.reads[0]?.state === 'aborted' && setup.fetch.content.failure !== undefined);
      assert.deepEqual(setup.ends, [undefined]);
    }
  });

  test('finishes without readers if less than the read-ahead is missing', async () => {
    for (const [position, isFinished] of [
      [6.25 * AHEAD, true],
      [5.5 * AHEAD, false],
    ] as const) {
      const source = memorySource(large);
      await using setup = await start(source);
      const leave = await setup.join({ position });
      await waitsAt(setup, source, position + AHEAD);
      leave();
      await waitFor(() => source.reads[0]?.state === (isFinished ? 'ended' : 'aborted'));
      await waitFor(() => setup.fetch.content.isVerified === isFinished && setup.ends.length === 1);
    }
  });

  test('counts bytes for the oldest reader that wants them', async () => {
    const source = memorySource(large);
    await using setup = await start(source);
    const paid = { slow: 0, fast: 0 };
    const reader = (name: keyof typeof paid, position: number): Demand => ({
      position,
      onFetched: (bytes) => {
        paid[name] += bytes;
      },
    });
    await Promise.all([setup.join(reader('slow', 0)), setup.join(reader('fast', 7 * AHEAD))]);
    await waitFor(() => setup.ends.length === 1);
    assert.equal(paid.slow + paid.fast, 8 * AHEAD);
    assert.ok(paid.slow >= AHEAD && paid.slow <= AHEAD + SLACK, `${paid.slow}`);
  });
});
