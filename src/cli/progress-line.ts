import type { PlacedLayer } from '../sources/image-source.ts';
import { formatDecimalBytes } from '../util/byte-size.ts';
import { cutToWidth, displayWidth } from '../util/display-width.ts';

/** The progress of a download. */
export interface DownloadProgress {
  readonly filename: string;
  /** Bytes. */
  readonly done: number;
  /** Bytes; undefined if unknown. */
  readonly total: number | undefined;
  /** Bytes a second. */
  readonly speed: number;
}

const BAR_WIDTH = 24;
const NARROWEST_BAR = 6;
/** Hexadecimal digits of a digest, as Docker shows. */
const SHORT_DIGEST = 12;

/** Characters of scripts that are written from right to left. */
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
/** A terminal with bidirectional text would otherwise move the bar to the left of the name. https://www.unicode.org/reports/tr9/#Implicit_Directional_Marks */
const LEFT_TO_RIGHT_MARK = '\u200e';

/** One line for a terminal, no wider than `columns`: `busybox.tar ━━━━━━──────  42 %  0.9 of 2.2 MB  12 MB/s  0:01`. */
export function progressLine({ filename, done, total, speed }: DownloadProgress, columns: number): string {
  const name = RIGHT_TO_LEFT.test(filename) ? `${filename}${LEFT_TO_RIGHT_MARK}` : filename;
  const pace = `${formatDecimalBytes(speed)}/s`;
  if (total === undefined) return cutToWidth(`${name}  ${formatDecimalBytes(done)}  ${pace}`, columns);
  const left = speed > 0 ? formatTime((total - done) / speed) : '-:--';
  return fitted([name, ''], done, total, `  ${pace}  ${left}`, columns);
}

/** A layer of an archive, and how far it is. */
export interface LayerProgress extends PlacedLayer {
  /** The number of the layer in the archive, from 1. */
  readonly number: number;
  readonly count: number;
  /** Bytes. */
  readonly done: number;
}

/** One line about a layer: `layer 2 of 7  14ecfa128c92 ━━━━━━──────  42 %  0.9 MB of 2.2 MB`. */
export function layerLine({ number, count, digest, done, size }: LayerProgress, columns: number): string {
  const position = `layer ${`${number}`.padStart(`${count}`.length)} of ${count}`;
  const hex = digest.slice(digest.indexOf(':') + 1);
  const names = [`${position}  ${hex.slice(0, SHORT_DIGEST)}`, position];
  if (done < size) return fitted([...names, ''], done, size, '', columns);
  return longestFitting(
    names.map((name) => `${name}  ${formatDecimalBytes(size)}`),
    columns,
  );
}

/**
 * Writes name, bar, and figures. In a narrow terminal, the bar shrinks first, then the name does, and then the bar
 * disappears.
 *
 * @param names the longest first
 */
function fitted(
  names: readonly string[],
  done: number,
  total: number,
  more: string,
  columns: number,
): string {
  const share = total === 0 ? 1 : done / total;
  const percent = `${Math.floor(share * 100)}`.padStart(3);
  const amounts = `${percent} %  ${formatDecimalBytes(done)} of ${formatDecimalBytes(total)}`;
  const figures = `${amounts}${more}`;
  for (const name of names) {
    const start = name === '' ? '' : `${name} `;
    const width = Math.min(columns - displayWidth(start) - figures.length - 1, BAR_WIDTH);
    if (width < NARROWEST_BAR) continue;
    const filled = Math.floor(share * width);
    return `${start}${'━'.repeat(filled)}${'─'.repeat(width - filled)} ${figures}`;
  }
  return longestFitting([figures.trimStart(), amounts.trimStart()], columns);
}

/** Returns the first line that fits, or what fits of the last one. */
function longestFitting(lines: readonly string[], columns: number): string {
  const fitting = lines.find((line) => displayWidth(line) <= columns);
  return fitting ?? cutToWidth(lines.at(-1) ?? '', columns);
}

/** `0:07`, `12:30`, `1:02:03`. */
function formatTime(seconds: number): string {
  const whole = Math.ceil(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, at) => (at === 0 ? `${part}` : `${part}`.padStart(2, '0'))).join(':');
}
