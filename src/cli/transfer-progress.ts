import type { PlacedLayer, Progress } from '../sources/image-source.ts';
import { formatDecimalBytes } from '../util/byte-size.ts';
import { cutToWidth } from '../util/display-width.ts';
import { layerLine, progressLine } from './progress-line.ts';
import type { Screen } from './screen.ts';

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

const REDRAW_MS = 100;
/** A log gets a line about a long transfer at this interval. */
const LOG_MS = 10_000;

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
  const milliseconds = (): number => now() - start;
  const total = (): string => {
    const speed = (done / Math.max(milliseconds(), 1)) * 1000;
    return progressLine({ filename, done, total: size, speed }, screen.columns());
  };
  const lineAt = (at: number): string[] => {
    const layer = layers[at];
    if (layer === undefined || done <= layer.offset) return [];
    const ofLayer = Math.min(done - layer.offset, layer.size);
    return [layerLine({ ...layer, number: at + 1, count: layers.length, done: ofLayer }, screen.columns())];
  };
  const isComplete = (layer: PlacedLayer | undefined): boolean =>
    layer !== undefined && done >= layer.offset + layer.size;
  /** Prints the layers that have become complete. */
  const printCompleted = (): void => {
    for (; isComplete(layers[complete]); complete++) for (const line of lineAt(complete)) screen.print(line);
  };
  const draw = (): void => {
    printCompleted();
    screen.show([...lineAt(complete), total()]);
  };
  const timer = screen.isLive
    ? setInterval(draw, REDRAW_MS)
    : setInterval(() => screen.print(total()), LOG_MS);
  return {
    count(chunk) {
      done += chunk.length;
      if (!screen.isLive) printCompleted();
    },
    bytes: () => done,
    milliseconds,
    stop() {
      clearInterval(timer);
      printCompleted();
      screen.show([]);
    },
  };
}

/** Shows what a source does before the first byte. */
export interface Preparation {
  report(progress: Progress): void;
  /** Ends the display. */
  stop(): void;
}

/**
 * Shows on a terminal the progress of an archive that its source prepares.
 *
 * @param names the images
 */
export function showPreparation(screen: Screen, names: readonly string[]): Preparation {
  const show = (line: string): void => screen.show([cutToWidth(line, screen.columns())]);
  show(`Resolving ${names.length === 1 ? names[0] : `${names.length} images`}`);
  return {
    report: (progress) => show(describeProgress(progress)),
    stop: () => screen.show([]),
  };
}

function describeProgress(progress: Progress): string {
  if (progress.stage === 'queued') return `Waiting for ${progress.ahead} other images`;
  if (progress.stage === 'saving') return `Saving: ${formatDecimalBytes(progress.bytes)}`;
  const sum = (of: 'current' | 'total') => progress.layers.reduce((all, layer) => all + (layer[of] ?? 0), 0);
  const [done, total] = [sum('current'), sum('total')].map(formatDecimalBytes);
  return `${progress.stage === 'pulling' ? 'Pulling' : 'Reading layers of'} ${progress.image}: ${done} of ${total}`;
}
