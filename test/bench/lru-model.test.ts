import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, truncate, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { createLruModel } from '../../bench/lru-model.ts';
import { createRandom } from '../../bench/random.ts';
import { openBlobFiles } from '../../src/blobs/blob-files.ts';
import { createDiskQuota, LOW_WATER } from '../../src/blobs/disk-quota.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** A naive implementation with the same results: a list sorted by use. */
function createNaiveModel(limit: number, sizes: readonly number[], protectedFor: number) {
  let kept: { blob: number; used: number }[] = [];
  const bytes = (): number => kept.reduce((sum, { blob }) => sum + (sizes[blob] ?? 0), 0);
  return {
    kept: () => kept.map(({ blob }) => blob).sort((a, b) => a - b),
    bytes,
    use(blob: number, now: number): boolean {
      const isThere = kept.some((one) => one.blob === blob);
      kept = kept.filter((one) => one.blob !== blob);
      if (isThere) {
        kept.push({ blob, used: now });
        return true;
      }
      const size = sizes[blob] ?? 0;
      if (size > limit) return false;
      if (bytes() + size > limit) {
        while (kept[0] && bytes() + size > limit * LOW_WATER && kept[0].used <= now - protectedFor)
          kept.shift();
      }
      if (bytes() + size > limit) return false;
      kept.push({ blob, used: now });
      return false;
    },
  };
}

suite('the model of the cache', () => {
  test('is the naive one, use by use', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(400), { minLength: 1, maxLength: 30 }),
        fc.array(fc.tuple(fc.nat(29), fc.nat(20)), { maxLength: 300 }),
        fc.integer({ min: 1, max: 1500 }),
        fc.nat(60),
        (sizes, uses, limit, protectedFor) => {
          const model = createLruModel({ limit, sizes, protectedFor });
          const naive = createNaiveModel(limit, sizes, protectedFor);
          let now = 0;
          for (const [drawn, pause] of uses) {
            const blob = drawn % sizes.length;
            now += pause;
            assert.equal(model.use(blob, now), naive.use(blob, now));
            assert.equal(model.bytes, naive.bytes());
          }
          const kept = sizes.flatMap((_, blob) => (model.has(blob) ? [blob] : []));
          assert.deepEqual(kept, naive.kept());
        },
      ),
    );
  });

  test('keeps and evicts what the cache itself does, on a disk', async () => {
    await using temporary = await temporaryFolder();
    const folder = join(temporary.path, 'cache');
    const files = await openBlobFiles({ folder, onDamage: () => {} });
    const limit = 10_000;
    const room = createDiskQuota({ files, limit, isInUse: () => false });
    const random = createRandom(7);
    const sizes = Array.from({ length: 12 }, () => Math.floor(random() * 4_000));
    const paths = sizes.map((_, blob) => join(folder, 'blobs/sha256/00', String(blob).padStart(64, '0')));
    const model = createLruModel({ limit, sizes, protectedFor: 0 });
    // An hour ago, because blobs that were used just now are not evicted.
    let now = Date.now() - 3_600_000;
    const touch = (path: string): Promise<void> => utimes(path, now / 1000, 1);

    for (let step = 0; step < 150; step++) {
      const blob = Math.floor(random() ** 2 * sizes.length);
      const path = paths[blob] ?? assert.fail();
      now += 1000;
      const isThere = existsSync(path);
      if (isThere) await touch(path);
      else {
        await room.reserve(sizes[blob] ?? 0, () => {});
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, '');
        await truncate(path, sizes[blob]);
        await touch(path);
      }
      assert.equal(model.use(blob, now), isThere);
      assert.deepEqual(
        paths.map((one) => existsSync(one)),
        sizes.map((_, one) => model.has(one)),
        `after step ${step}`,
      );
    }
  });
});
