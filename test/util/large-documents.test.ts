import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate as immediate } from 'node:timers/promises';
import { createLargeDocuments, type LargeDocuments } from '../../src/util/large-documents.ts';

const MEBIBYTE = 2 ** 20;
const never = new AbortController().signal;

suite('large documents', () => {
  test('have two to eight places, by the memory of the process', async () => {
    const places = [0, 256, 512, 1024, 64 * 1024].map(async (mebibytes) => {
      const large = createLargeDocuments(mebibytes * MEBIBYTE);
      return countBegun(large, 20);
    });
    assert.deepEqual(await Promise.all(places), [2, 2, 4, 8, 8]);
  });

  test('keep their place until the work around them ends', async () => {
    const large = createLargeDocuments(0);
    const ends = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const works = ends.map(({ promise }) =>
      large.run(async () => {
        await large.read(async () => {});
        await promise;
      }, never),
    );
    await immediate();
    const begun = begin(large, 3);
    await immediate();
    assert.equal(begun.count, 0);
    ends[0]?.resolve();
    await immediate();
    assert.equal(begun.count, 1);
    ends[1]?.resolve();
    await Promise.all(works);
    await immediate();
    assert.equal(begun.count, 2);
  });

  test('share the place of the work around them', async () => {
    const large = createLargeDocuments(0);
    const read = (text: string) => large.read(async () => text);
    const texts = await large.run(
      async () => [await read('a'), ...(await Promise.all([read('b'), large.run(() => read('c'), never)]))],
      never,
    );
    assert.deepEqual(texts, ['a', 'b', 'c']);
  });

  test('wait no longer than the work around them', async () => {
    const large = createLargeDocuments(0);
    await countBegun(large, 2);
    const ended = new AbortController();
    const work = large.run(() => large.read(async () => {}), ended.signal);
    ended.abort();
    await assert.rejects(work, { name: 'AbortError' });
  });

  test('take no place of work that is over', async () => {
    const large = createLargeDocuments(0);
    let readLate = async (): Promise<number> => 0;
    await large.run(async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const late = promise.then(() => countBegun(large, 3));
      readLate = async () => {
        resolve();
        return late;
      };
      await large.read(async () => {});
    }, never);
    assert.equal(await readLate(), 2);
  });
});

/** Starts reads that never end, and counts those that have a place. */
function begin(large: LargeDocuments, reads: number): { readonly count: number } {
  const begun = { count: 0 };
  for (let at = 0; at < reads; at++) {
    void large.read(() => {
      begun.count += 1;
      return new Promise<never>(() => {});
    }, never);
  }
  return begun;
}

async function countBegun(large: LargeDocuments, reads: number): Promise<number> {
  const begun = begin(large, reads);
  await immediate();
  return begun.count;
}
