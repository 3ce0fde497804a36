import { formatDecimalBytes } from '../util/byte-size.ts';

/** How far a download is. */
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

/** One line for a terminal, no wider than `columns`: `busybox.tar ━━━━━━──────  42 %  0.9 of 2.2 MB  12 MB/s  0:01`. */
export function progressLine({ filename, done, total, speed }: DownloadProgress, columns: number): string {
  const pace = `${formatDecimalBytes(speed)}/s`;
  if (total === undefined) return `${filename}  ${formatDecimalBytes(done)}  ${pace}`.slice(0, columns);
  const share = total === 0 ? 1 : done / total;
  const filled = Math.floor(share * BAR_WIDTH);
  const bar = '━'.repeat(filled) + '─'.repeat(BAR_WIDTH - filled);
  const left = speed > 0 ? formatTime((total - done) / speed) : '-:--';
  const figures = `${`${Math.floor(share * 100)}`.padStart(3)} %  ${formatDecimalBytes(done)} of ${formatDecimalBytes(total)}  ${pace}  ${left}`;
  // In a narrow terminal, the bar disappears first, then the name.
  const [widest, withoutBar] = [`${filename} ${bar} ${figures}`, `${filename} ${figures}`];
  if (widest.length <= columns) return widest;
  return (withoutBar.length <= columns ? withoutBar : figures.trimStart()).slice(0, columns);
}

/** `0:07`, `12:30`, `1:02:03`. */
function formatTime(seconds: number): string {
  const whole = Math.ceil(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, at) => (at === 0 ? `${part}` : `${part}`.padStart(2, '0'))).join(':');
}
