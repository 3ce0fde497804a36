import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FetchedFile } from '../../src/blobs/fetched-file.ts';
import { StorageFailure } from '../../src/blobs/growing-file.ts';
import { createRecentBytes } from '../../src/blobs/recent-bytes.ts';

const MIB = 1024 * 1024;

function setUp() {
  const fetched: FetchedFile = new FetchedFile(
    { size: 4 * MIB },
    createRecentBytes({
      ...{ budget: { limit: MIB, held: 0 }, window: MIB, positions: () => [] },
      mustKeep: () => fetched.stored,
    }),
  );
  return fetched;
}

suite('a fetched file', () => {
  test('offers bytes before they are written', () => {
    const fetched = setUp();
    fetched.receive(2 * MIB);
    assert.deepEqual([fetched.received, fetched.available, fetched.stored], [2 * MIB, 2 * MIB, 0]);
    fetched.advance(MIB);
    assert.deepEqual([fetched.received, fetched.available, fetched.stored], [2 * MIB, 2 * MIB, MIB]);
  });

  test('offers only written bytes after a failure, because the memory of the others is freed', () => {
    const fetched = setUp();
    fetched.receive(2 * MIB);
    fetched.advance(MIB);
    fetched.fail(new StorageFailure('The disk is full'));
    assert.deepEqual([fetched.received, fetched.available], [MIB, MIB]);
  });
});
