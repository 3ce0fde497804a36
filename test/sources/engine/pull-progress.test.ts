import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import { createPullProgress, jsonLines } from '../../../src/sources/engine/pull-progress.ts';

function line(id: string, status: string, current?: number, total?: number) {
  const progressDetail = current === undefined ? {} : { current, ...(total !== undefined && { total }) };
  return { id, status, progressDetail };
}

suite('how far a pull is', () => {
  test('layers are reported in order with their last state, and their sizes stay', () => {
    const progress = createPullProgress();
    progress.take({ id: 'latest', status: 'Pulling from library/busybox' });
    for (const id of ['a', 'b']) progress.take(line(id, 'Pulling fs layer'));
    progress.take(line('b', 'Downloading', 5, 30));
    progress.take(line('a', 'Downloading', 1, 12));
    progress.take(line('b', 'Download complete'));
    progress.take({ status: 'Digest: sha256:…' });
    assert.deepEqual(progress.layers, [
      { id: 'a', status: 'Downloading', current: 1, total: 12 },
      { id: 'b', status: 'Download complete' },
    ]);
    assert.equal(progress.size, 42);
  });

  test('an error inside a good answer is one', () => {
    const progress = createPullProgress();
    assert.equal(progress.take({ error: 'short', errorDetail: { message: 'long' } }), 'long');
    assert.equal(progress.take({ error: 'short' }), 'short');
    assert.equal(progress.take(line('a', 'Pulling fs layer')), undefined);
  });

  test('distinguishes fetching, unpacking, and an engine that states no bytes', () => {
    const progress = createPullProgress();
    assert.equal(progress.isFetching, false);
    progress.take(line('a', 'Downloading'));
    assert.equal(progress.isFetching, false);
    progress.take(line('a', 'Downloading', 1, 2));
    assert.equal(progress.isFetching, true);
    progress.take(line('b', 'Extracting', 1, 2));
    assert.equal(progress.isFetching, false);
    progress.take(line('b', 'Pull complete'));
    assert.equal(progress.isFetching, true);
  });

  test('lines arrive in any pieces, and invalid JSON is skipped', async () => {
    const text = '{"a":"é"}\nno JSON\n{"b":2}\r\n{"c":3}';
    const bytes = [...Buffer.from(text)].map((byte) => Buffer.of(byte));
    const lines: unknown[] = [];
    for await (const each of jsonLines(Readable.from(bytes))) lines.push(each);
    assert.deepEqual(lines, [{ a: 'é' }, { b: 2 }, { c: 3 }]);
  });
});
