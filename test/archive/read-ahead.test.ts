import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createReadAheadControl, type ReadAheadControl } from '../../src/archive/read-ahead.ts';

const MB = 1_000_000;
const MOST = 3;
const STEP_MS = 5;
const BEGIN = 5000;

/** Rates in bytes a second. */
interface Links {
  /** The line to the registry, which its connections share evenly. */
  readonly line: number;
  /** The number of the connection to the registry. */
  readonly connection: number;
  readonly client: number;
  /** Returns the factor of the line's rate at a time. */
  readonly noise?: (milliseconds: number) => number;
}

const never: ReadAheadControl = { next() {}, update: () => 0, isTrying: false, wasHarmful: false };

/** Milliseconds of the line that a waiting connection uses to fill the system's buffers. */
const PARKED_MS = 25;

/** Sends blobs over simulated links. Returns the seconds, and the bytes fetched ahead. */
function simulate(links: Links, sizes: readonly number[], control = createReadAheadControl(MOST)) {
  const { noise = () => 1 } = links;
  const fetched = sizes.map(() => 0);
  const parked = sizes.map(() => 0);
  let [at, taken, sent, now, allowed] = [0, 0, 0, BEGIN, 0];
  let ahead = 0;
  for (; at < sizes.length; now += STEP_MS) {
    const left = (blob: number): number => (sizes[blob] ?? 0) - (fetched[blob] ?? 0) - (parked[blob] ?? 0);
    const next = sizes.map((_, blob) => blob).slice(at, at + 1 + MOST);
    const isRunning = (blob: number): boolean => blob <= at + allowed;
    const isBegun = (blob: number): boolean => control !== never && (at === 0 || (parked[blob] ?? 0) > 0);
    for (const blob of next.filter(isRunning)) {
      fetched[blob] = (fetched[blob] ?? 0) + (parked[blob] ?? 0);
      parked[blob] = 0;
    }
    const open = next.filter(
      (blob) =>
        left(blob) > 0 &&
        (isRunning(blob) || (isBegun(blob) && (parked[blob] ?? 0) < (links.line * PARKED_MS) / 1000)),
    );
    const share = Math.min(links.connection, (links.line * noise(now - BEGIN)) / Math.max(open.length, 1));
    for (const blob of open) {
      const more = Math.min((share * STEP_MS) / 1000, left(blob));
      const target = isRunning(blob) ? fetched : parked;
      target[blob] = (target[blob] ?? 0) + more;
      if (blob !== at) ahead += more;
    }
    const size = sizes[at] ?? 0;
    const moved = Math.min((links.client * STEP_MS) / 1000, (fetched[at] ?? 0) - taken);
    taken += moved;
    sent += moved;
    const ready = (fetched[at] ?? 0) - taken;
    allowed = control.update({ now, sent, ready, isWhole: ready >= size - taken });
    if (taken < size) continue;
    at += 1;
    taken = 0;
    control.next();
  }
  return { seconds: (now - BEGIN) / 1000, ahead };
}

const layers = Array.from({ length: 7 }, () => 75 * MB);
/** The same on each run. */
const noisy = (milliseconds: number): number =>
  1 + 0.15 * Math.sin(milliseconds * 0.7) * Math.cos(milliseconds * 0.13);

suite('read-ahead', () => {
  for (const [name, links] of [
    ['links as fast as each other', { line: 40 * MB, connection: 1000 * MB, client: 40 * MB }],
    ['links as fast as each other, slow', { line: MB, connection: 1000 * MB, client: MB }],
    ['links whose rates vary', { line: 40 * MB, connection: 1000 * MB, client: 40 * MB, noise: noisy }],
    [
      'a client faster than the line to the registry',
      { line: 20 * MB, connection: 1000 * MB, client: 100 * MB },
    ],
    ['a line a little faster than the client', { line: 44 * MB, connection: 1000 * MB, client: 40 * MB }],
    [
      'a line that is slow at first',
      {
        ...{ line: 40 * MB, connection: 1000 * MB, client: 40 * MB },
        noise: (now: number) => Math.min(0.1 + now / 3000, 1),
      },
    ],
  ] as const) {
    test(`costs the current blob at most 3 %: ${name}`, () => {
      const sizes = links.line === MB ? layers.map((size) => size / 10) : layers;
      const without = simulate(links, sizes, never).seconds;
      const { seconds } = simulate(links, sizes);
      assert.ok(
        seconds <= without * (name.includes('at first') ? 1.05 : 1.03),
        `${seconds} s, and ${without} s without it`,
      );
    });
  }

  for (const connection of [10, 15, 20]) {
    test(`gains if a registry limits each connection to ${connection} of the client's 40 MB/s`, () => {
      const links = { line: 1000 * MB, connection: connection * MB, client: 40 * MB };
      const without = simulate(links, layers, never).seconds;
      const all: ReadAheadControl = { next() {}, update: () => MOST, isTrying: false, wasHarmful: false };
      const most = without - simulate(links, layers, all).seconds;
      const gain = without - simulate(links, layers).seconds;
      assert.ok(gain >= 0.85 * most, `${gain} of ${most} s`);
    });
  }

  test('uses as many connections as the line can carry', () => {
    const links = { line: 40 * MB, connection: 18 * MB, client: 200 * MB };
    const without = simulate(links, layers, never).seconds;
    const { seconds } = simulate(links, layers);
    assert.ok(seconds <= without * 0.6, `${seconds} of ${without} s`);
  });

  test('continues while a slow client has enough received bytes', () => {
    const links = { line: 40 * MB, connection: 1000 * MB, client: 2 * MB };
    const { ahead } = simulate(links, layers);
    assert.ok(ahead >= 5 * 75 * MB, `${ahead} bytes`);
  });

  test('ends a try that stalls the current blob, even without new bytes', () => {
    const control = createReadAheadControl(MOST);
    let now = BEGIN;
    for (; !control.isTrying; now += STEP_MS)
      control.update({ now, sent: now * 10_000, ready: 0, isWhole: false });
    const stopped = { sent: (now - STEP_MS) * 10_000, ready: 0, isWhole: false };
    assert.equal(control.update({ now, ...stopped }), 1);
    control.update({ now: now + 60, ...stopped });
    assert.equal(control.wasHarmful, false);
    assert.equal(control.update({ now: now + 120, ...stopped }), 0);
    assert.equal(control.wasHarmful, true);
  });

  test('ends a try early whose loss is small at first, as a new connection begins slowly', () => {
    const control = createReadAheadControl(MOST);
    let [now, sent] = [BEGIN, 0];
    const advance = (part: number): number => {
      now += 55;
      sent += 55 * 40_000 * part;
      return control.update({ now, sent, ready: 0, isWhole: false });
    };
    while (!control.isTrying) advance(1);
    const allowed = [0.95, 0.8, 0.7, 0.6].map(advance);
    assert.deepEqual(allowed, [1, 1, 1, 0]);
  });
});
