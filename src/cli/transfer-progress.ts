import type { Writable } from 'node:stream';
import type { PlacedLayer, Progress } from '../sources/image-source.ts';
import { formatDecimalBytes } from '../util/byte-size.ts';
import { layerLine, progressLine } from './progress-line.ts';

/** A file that is written. */
export interface Transfer {
  readonly filename: string;
  /** Bytes; undefined if unknown. */
  readonly size: number | undefined;
  /** In the order of the file. */
  readonly layers: readonly PlacedLayer[];
}

/** Counts the bytes of a transfer and shows how far it is. */
export interface TransferProgress {
  count(chunk: Uint8Array): void;
  /** Returns the number of counted bytes. */
  bytes(): number;
  /** The time since the start. */
  milliseconds(): number;
  /** Ends the display. */
  stop(): void;
}

/** The stream for people: a terminal, or a log. */
export type Screen = Writable & { readonly isTTY?: boolean; readonly columns?: number };

const REDRAW_MS = 100;
/** A log gets a line about a long transfer at this interval. */
const LOG_MS = 10_000;
/** The width of a log. */
const LOG_COLUMNS = 200;

/**
 * Shows a transfer. A terminal gets a bar for the current layer and one for the file. A log gets a line for each complete
 * layer, and lines at intervals.
 *
 * @param now returns monotonic milliseconds
 */
export function showTransfer(
  { filename, size, layers }: Transfer,
  screen: Screen,
  now: () => number,
): TransferProgress {
  const start = now();
  let done = 0;
  let complete = 0;
  let drawn = 0;
  const milliseconds = (): number => now() - start;
  const columns = (): number => (screen.isTTY ? (screen.columns ?? 80) - 1 : LOG_COLUMNS);
  const total = (): string => {
    const speed = (done / Math.max(milliseconds(), 1)) * 1000;
    return progressLine({ filename, done, total: size, speed }, columns());
  };
  const lineAt = (at: number): string[] => {
    const layer = layers[at];
    if (layer === undefined || done <= layer.offset) return [];
    const ofLayer = Math.min(done - layer.offset, layer.size);
    return [layerLine({ ...layer, number: at + 1, count: layers.length, done: ofLayer }, columns())];
  };
  const isComplete = (layer: PlacedLayer | undefined): boolean =>
    layer !== undefined && done >= layer.offset + layer.size;
  /** Returns the lines of the layers that have become complete. */
  const completed = (): string[] => {
    const lines: string[] = [];
    for (; isComplete(layers[complete]); complete++) lines.push(...lineAt(complete));
    return lines;
  };
  /** Replaces the lines of the last drawing. */
  const redraw = (lasting: readonly string[], live: readonly string[]): void => {
    const back = drawn > 1 ? `\x1b[${drawn - 1}A` : '';
    screen.write(`${back}\r\x1b[J${lasting.map((line) => `${line}\n`).join('')}${live.join('\n')}`);
    drawn = live.length;
  };
  const draw = (): void => redraw(completed(), [...lineAt(complete), total()]);
  const log = (lines: readonly string[]): void => {
    for (const line of lines) screen.write(`${line}\n`);
  };
  const timer = screen.isTTY ? setInterval(draw, REDRAW_MS) : setInterval(() => log([total()]), LOG_MS);
  return {
    count(chunk) {
      done += chunk.length;
      if (!screen.isTTY) log(completed());
    },
    bytes: () => done,
    milliseconds,
    stop() {
      clearInterval(timer);
      if (screen.isTTY) redraw(completed(), []);
    },
  };
}

/** Shows what a source does before the first byte. */
export interface Preparation {
  report(progress: Progress): void;
  /** Ends the display. */
  stop(): void;
}

/** Shows on a terminal how far an archive is that its source prepares. */
export function showPreparation(screen: Screen): Preparation {
  if (!screen.isTTY) return { report: () => {}, stop: () => {} };
  return {
    report(progress) {
      screen.write(`\r${describeProgress(progress).slice(0, (screen.columns ?? 80) - 1)}\x1b[K`);
    },
    stop: () => void screen.write('\r\x1b[K'),
  };
}

function describeProgress(progress: Progress): string {
  if (progress.stage === 'queued') return `Waiting for ${progress.ahead} other images`;
  if (progress.stage === 'saving') return `Saving: ${formatDecimalBytes(progress.bytes)}`;
  const sum = (of: 'current' | 'total') => progress.layers.reduce((all, layer) => all + (layer[of] ?? 0), 0);
  const [done, total] = [sum('current'), sum('total')].map(formatDecimalBytes);
  return `${progress.stage === 'pulling' ? 'Pulling' : 'Reading layers of'} ${progress.image}: ${done} of ${total}`;
}
