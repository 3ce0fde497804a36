import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { finished } from 'node:stream/promises';
import { suite, test } from 'node:test';
import { throttle } from '../../../src/http/download/throttle.ts';
import { createBandwidth, type Share } from '../../../src/limits/bandwidth.ts';

/** A share that never delays, and records the requested bytes. */
function freeShare(): Share & { slices: number[]; closed: number } {
  const share = {
    slices: [] as number[],
    closed: 0,
    delay(bytes: number) {
      share.slices.push(bytes);
      return 0;
    },
    close() {
      share.closed += 1;
    },
  };
  return share;
}

suite('a throttled sink', { timeout: 600_000 }, () => {
  test('gets every byte in order, in slices of a tenth of a second', async () => {
    const share = freeShare();
    const sink = new PassThrough();
    const throttled = throttle(sink, share, 100_000);
    const chunk = Buffer.from(Array.from({ length: 25_000 }, (_, at) => at % 251));
    throttled.write(chunk);
    throttled.end(chunk);
    const all = buffer(sink);
    await finished(throttled);
    sink.end();
    assert.ok((await all).equals(Buffer.concat([chunk, chunk])));
    assert.deepEqual(share.slices, [10_000, 10_000, 5000, 10_000, 10_000, 5000]);
    assert.equal(share.closed, 1);
  });

  test('is done with a chunk no sooner than what is behind it', async () => {
    const writes: (() => void)[] = [];
    const sink = new Writable({ write: (_chunk, _encoding, done) => writes.push(done) });
    const throttled = throttle(sink, freeShare(), 1);
    let isDone = false;
    throttled.write(Buffer.alloc(5000), () => {
      isDone = true;
    });
    const nextWrite = async (): Promise<void> => {
      while (writes.length === 0) await new Promise((turn) => setImmediate(turn));
      assert.equal(isDone, false);
      writes.shift()?.();
    };
    await nextWrite();
    await nextWrite();
    while (!isDone) await new Promise((turn) => setImmediate(turn));
    throttled.destroy();
  });

  test('that is destroyed writes nothing more and gives its share back once', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    const share = freeShare();
    const sink = new PassThrough();
    const throttled = throttle(sink, { ...share, delay: () => 10, close: share.close }, 1000);
    throttled.write(Buffer.alloc(100));
    throttled.destroy();
    await once(throttled, 'close');
    context.mock.timers.tick(1000);
    assert.equal(sink.readableLength, 0);
    assert.equal(share.closed, 1);
  });

  test('that is gone ends the writing, and nothing else', async () => {
    const share = freeShare();
    const sink = new PassThrough();
    const throttled = throttle(
      sink.on('error', () => {}),
      share,
      1000,
    );
    sink.destroy();
    throttled.write(Buffer.alloc(100));
    await new Promise((closed) => throttled.once('close', closed));
    assert.equal(share.closed, 1);
  });

  test('keeps to its bytes per second', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    let now = 0;
    let isDone = false;
    const sink = new PassThrough().resume();
    const throttled = throttle(sink, createBandwidth(100_000, () => now).open('c'), 100_000);
    throttled.end(Buffer.alloc(50_000), () => {
      isDone = true;
    });
    while (!isDone) {
      for (let turns = 0; turns < 5; turns++) await new Promise((turn) => setImmediate(turn));
      now += 10;
      context.mock.timers.tick(10);
    }
    // The bytes of a quarter second may arrive at once.
    assert.ok(now >= 250 && now <= 300, `${now} ms`);
  });
});
