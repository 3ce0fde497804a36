import { Writable } from 'node:stream';
import type { Share } from '../../limits/bandwidth.ts';

/** Slices in a second: enough for an even flow, few enough for timers. */
const SLICES = 10;
const SMALLEST_SLICE = 4096;

/**
 * Writes to a sink no faster than a share allows, slice by slice. A chunk counts as written once the sink is done with
 * all of it, so that its buffer can be used again. The sink stays open.
 *
 * @param rate bytes a second
 * @param begin called before each write to the sink
 */
export function throttle(sink: Writable, share: Share, rate: number, begin: () => void = () => {}): Writable {
  const size = Math.max(Math.ceil(rate / SLICES), SMALLEST_SLICE);
  let timer: NodeJS.Timeout | undefined;

  const writeFrom = (chunk: Uint8Array, start: number, done: (error?: Error | null) => void): void => {
    const slice = chunk.subarray(start, start + size);
    timer = setTimeout(() => {
      begin();
      sink.write(slice, (error) => {
        const next = start + slice.length;
        if (error || next >= chunk.length) done(error);
        else writeFrom(chunk, next, done);
      });
    }, share.delay(slice.length));
  };
  const throttled = new Writable({
    highWaterMark: 1,
    write: (chunk: Uint8Array, _encoding, done) => writeFrom(chunk, 0, done),
    destroy(error, callback) {
      clearTimeout(timer);
      share.close();
      callback(error);
    },
  });
  // A closed sink ends its source, so no work remains.
  return throttled.on('error', () => {});
}
