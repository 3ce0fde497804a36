import assert from 'node:assert/strict';
import { createHook } from 'node:async_hooks';
import { existsSync, writeFileSync } from 'node:fs';
import { mkdir, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { lockOf, openBlobFiles } from '../../src/blobs/blob-files.ts';
import { createDiskQuota, type DiskQuota } from '../../src/blobs/disk-quota.ts';
import { readDiskUsage } from '../../src/blobs/disk-usage.ts';
import { tryLock } from '../../src/blobs/file-lock.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import { filesIn, TALLY_FILE } from './samples.ts';

const MINUTE_MS = 60_000;
const MIB = 1024 * 1024;

interface Setup extends AsyncDisposable {
  readonly folder: string;
  readonly room: DiskQuota;
  readonly inUse: Set<string>;
  /** Adds a file that was used a number of minutes ago. */
  add(path: string, bytes: number, minutesAgo: number): Promise<string>;
  /** Lists the names of the remaining blobs. */
  left(): Promise<string>;
}

async function setUp(limit: number): Promise<Setup> {
  const temporary = await temporaryFolder();
  const folder = join(temporary.path, 'cache');
  const files = await openBlobFiles({ folder, onDamage: () => {} });
  const inUse = new Set<string>();
  return {
    folder,
    room: createDiskQuota({ files, limit, isInUse: (path) => inUse.has(path) }),
    inUse,
    add: async (path, bytes, minutesAgo) => {
      const absolute = join(folder, path);
      await mkdir(dirname(absolute), { recursive: true });
      await writeFile(absolute, '');
      await truncate(absolute, bytes);
      const used = new Date(Date.now() - minutesAgo * MINUTE_MS);
      // A blob counts by its access time, an incoming file by the time of its last write.
      const written = path.startsWith('blobs/') ? new Date(1000) : used;
      await utimes(absolute, path.startsWith('blobs/') ? used : new Date(1000), written);
      return absolute;
    },
    left: async () =>
      (await filesIn(folder))
        .filter((path) => path !== TALLY_FILE)
        .map((path) => path.split('/').at(-1))
        .join(' '),
    [Symbol.asyncDispose]: () => temporary[Symbol.asyncDispose](),
  };
}

/** Counts calls of the file system by promises: their total, and the maximum at once. */
function watchFiles(): { all(): number; most(): number } & Disposable {
  const active = new Set<number>();
  let [all, most] = [0, 0];
  const hook = createHook({
    init: (id, type) => {
      if (type !== 'FSREQPROMISE') return;
      all += 1;
      most = Math.max(most, active.add(id).size);
    },
    before: (id) => void active.delete(id),
  }).enable();
  return { all: () => all, most: () => most, [Symbol.dispose]: () => hook.disable() };
}

const nothing = (): void => {};

suite('room in the cache', () => {
  test('is there up to the limit', async () => {
    await using setup = await setUp(1000);
    assert.equal(await setup.room.reserve(1001, nothing), false);
    assert.equal(await setup.room.reserve(1000, nothing), true);
  });

  test('is there for nothing, too', async () => {
    await using setup = await setUp(1000);
    assert.equal(await setup.room.reserve(0, nothing), true);
  });

  test('is made by removing what was not used for longest, down to the low-water mark', async () => {
    await using setup = await setUp(1000);
    for (const [name, minutesAgo] of [
      ['a', 5],
      ['b', 40],
      ['c', 10],
      ['d', 30],
      ['e', 20],
    ] as const) {
      await setup.add(`blobs/sha256/00/${name}`, 200, minutesAgo);
    }
    assert.equal(await setup.room.reserve(101, nothing), true);
    assert.equal(await setup.left(), 'a c e', '600 and 101 are below 900; 800 and 101 are not');
  });

  test('is not made if enough is free', async () => {
    await using setup = await setUp(1000);
    await setup.add('blobs/sha256/00/a', 900, 60);
    assert.equal(await setup.room.reserve(100, nothing), true);
    assert.equal(await setup.left(), 'a');
  });

  test('takes nothing that is in use here', async () => {
    await using setup = await setUp(1000);
    setup.inUse.add(await setup.add('blobs/sha256/00/old', 500, 60));
    await setup.add('blobs/sha256/00/new', 400, 10);
    assert.equal(await setup.room.reserve(400, nothing), true);
    assert.equal(await setup.left(), 'old');
    assert.equal(await setup.room.reserve(600, nothing), false, 'what is left is in use');
    assert.equal(await setup.left(), 'old');
  });

  test('takes nothing that another process may use: what was touched a moment ago', async () => {
    await using setup = await setUp(1000);
    await setup.add('blobs/sha256/00/read', 500, 0);
    await setup.add(`incoming/sha256-aa.500`, 100, 0);
    assert.equal(await setup.room.reserve(100, nothing), false);
    assert.equal(await setup.left(), 'read sha256-aa.500');
  });

  test('takes an abandoned incoming file like any other', async () => {
    await using setup = await setUp(1000);
    await setup.add('incoming/sha256-aa.600', 1, 60);
    await setup.add('blobs/sha256/00/a', 300, 50);
    assert.equal(await setup.room.reserve(200, nothing), true);
    assert.equal(await setup.left(), 'a');
  });

  test('an incoming file counts with twice its bytes, and those of a saved image with all that are expected', async () => {
    await using setup = await setUp(1000 * MIB);
    await setup.add(`incoming/sha256-aa.${900 * MIB}`, 0, 0);
    await setup.add(`incoming/sha256-bb.${900 * MIB}`, 100 * MIB, 0);
    assert.equal(await setup.room.reserve(729 * MIB, nothing), false);
    assert.equal(await setup.room.reserve(728 * MIB, nothing), true);
    await setup.add(`incoming/spool-aa.${900 * MIB}`, 0, 0);
    assert.equal(await setup.room.reserve(101 * MIB, nothing), false);
  });

  test('is not made for what would not fit into an empty cache', async () => {
    await using setup = await setUp(1000);
    await setup.add('blobs/sha256/00/a', 900, 60);
    assert.equal(await setup.room.reserve(200, nothing, 1001), false);
    assert.equal(await setup.left(), 'a');
    assert.equal(await setup.room.reserve(200, nothing, 1000), true);
  });

  test('an incoming file counts with the bytes that it will have', async () => {
    await using setup = await setUp(1000);
    await setup.add('incoming/sha256-aa.600', 1, 0);
    assert.equal(await setup.room.reserve(401, nothing), false);
    assert.equal(await setup.room.reserve(400, nothing), true);
  });

  test('manifests and tags count and go like blobs, locks do not', async () => {
    await using setup = await setUp(1000);
    await setup.add('incoming/sha256-aa.lock', 5000, 60);
    const manifest = await setup.add('manifests/00/m', 500, 50);
    await utimes(manifest, new Date(Date.now() - 50 * MINUTE_MS), new Date());
    assert.equal(await setup.room.reserve(600, nothing), true);
    assert.equal(await setup.left(), 'sha256-aa.lock');
  });

  test('reserved bytes count at once for the next reservation', async () => {
    await using setup = await setUp(1000);
    const reserve = (name: string): Promise<boolean> =>
      setup.room.reserve(800, () => writeFileSync(join(setup.folder, `incoming/sha256-${name}.800`), ' '));
    assert.deepEqual(await Promise.all([reserve('aa'), reserve('bb')]), [true, false]);
  });

  test('reserved bytes are free again if they were not written for a while', async (t) => {
    await using setup = await setUp(1000);
    assert.equal(await setup.room.reserve(600, nothing), true);
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 60 * MINUTE_MS });
    assert.equal(await setup.room.reserve(600, nothing), true);
  });

  test('is one for all processes of a folder, exactly', async () => {
    await using setup = await setUp(1000);
    const files = await openBlobFiles({ folder: setup.folder, onDamage: () => {} });
    const rooms = [setup.room, createDiskQuota({ files, limit: 1000, isInUse: () => false })];
    const reserve = (at: number, bytes: number): Promise<boolean> | undefined =>
      rooms[at % 2]?.reserve(bytes, () =>
        writeFileSync(join(setup.folder, `incoming/sha256-${at}.${bytes}`), ' '),
      );
    assert.deepEqual([await reserve(0, 50), await reserve(1, 50)], [true, true]);
    const together = await Promise.all([2, 3, 4, 5, 6, 7].map((at) => reserve(at, 250)));
    assert.deepEqual(together.filter(Boolean), [true, true, true]);
    assert.equal(await reserve(8, 151), false);
    assert.deepEqual(
      [await reserve(9, 100), await reserve(10, 50), await reserve(11, 1)],
      [true, true, false],
    );
  });

  test('looks at few files at once, and at all of them only when it must', async () => {
    await using setup = await setUp(1000);
    for (let at = 0; at < 200; at++) await setup.add(`tags/${at % 10}/${at}`, 1, 60);
    {
      using watched = watchFiles();
      assert.equal(await setup.room.reserve(1, nothing), true);
      assert.ok(watched.all() > 200);
      assert.ok(watched.most() <= 2, `${watched.most()} at once`);
    }
    using watched = watchFiles();
    assert.equal(await setup.room.reserve(1, nothing), true);
    assert.equal(watched.all(), 0);
  });

  test('is reserved within one turn of the event loop, however many wait', async () => {
    await using setup = await setUp(1000);
    assert.equal(await setup.room.reserve(1, nothing), true);
    let turns = 0;
    const count = setInterval(() => {
      turns += 1;
    }, 1);
    const reserved = await Promise.all(Array.from({ length: 20 }, () => setup.room.reserve(1, nothing)));
    clearInterval(count);
    assert.deepEqual([reserved.every(Boolean), turns], [true, 0]);
  });

  test('files without a reservation count after a while', async (t) => {
    await using setup = await setUp(1000);
    const bytes = (): number => readDiskUsage(join(setup.folder, TALLY_FILE))?.bytes ?? 0;
    assert.equal(await setup.room.reserve(100, nothing), true);
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 30 * MINUTE_MS });
    await setup.add('blobs/sha256/00/a', 850, 0);
    assert.equal(await setup.room.reserve(1, nothing), true);
    await waitFor(() => bytes() === 850, { what: 'the files to be counted' });
    assert.equal(await setup.room.reserve(151, nothing), false);
    assert.equal(await setup.room.reserve(150, nothing), true);
  });

  test('files that another process is writing stay, however slow it is', async () => {
    await using setup = await setUp(1000);
    const path = await setup.add('incoming/sha256-aa.600', 1, 60);
    const lock = tryLock(lockOf(path));
    assert.equal(await setup.room.reserve(500, nothing), false);
    assert.equal(await setup.left(), 'sha256-aa.600 sha256-aa.lock');
    lock?.[Symbol.dispose]();
    assert.equal(await setup.room.reserve(500, nothing), true);
    assert.equal(await setup.left(), '');
  });

  test('is not more than the disk has', async () => {
    await using setup = await setUp(Number.MAX_SAFE_INTEGER);
    assert.equal(await setup.room.reserve(Number.MAX_SAFE_INTEGER, nothing), false);
    assert.equal(await setup.room.reserve(1000, nothing), true);
  });

  test('a file that disappears during the count is ignored', async () => {
    await using setup = await setUp(1000);
    const path = await setup.add('blobs/sha256/00/a', 900, 60);
    assert.deepEqual(await Promise.all([1, 2, 3].map(() => setup.room.reserve(300, nothing))), [
      true,
      true,
      true,
    ]);
    assert.ok(!existsSync(path));
    assert.ok((await stat(setup.folder)).isDirectory());
  });

  test('a folder that is gone is an error, and the next time it is there again it works', async () => {
    await using setup = await setUp(1000);
    await using elsewhere = await temporaryFolder();
    const files = await openBlobFiles({ folder: join(elsewhere.path, 'cache'), onDamage: () => {} });
    const room = createDiskQuota({ files, limit: 1000, isInUse: () => false });
    await elsewhere[Symbol.asyncDispose]();
    await assert.rejects(room.reserve(1, nothing), { code: 'ENOENT' });
    await mkdir(files.folder, { recursive: true });
    assert.equal(await room.reserve(1, nothing), true);
    assert.equal(await setup.room.reserve(1, nothing), true);
  });
});
