import { cpuSecondsPerGigabyte, type Figures, megabytesPerSecond, type Row, rowNames } from './figures.ts';
import type { Target } from './targets.ts';

const columns: [heading: string, cell: (figures: Figures) => string][] = [
  ['first byte ms', ({ firstByteMs }) => digits(firstByteMs)],
  ['total s', ({ seconds }) => digits(seconds, 2)],
  ['MB/s', (figures) => digits(megabytesPerSecond(figures))],
  ['CPU s/GB', (figures) => digits(cpuSecondsPerGigabyte(figures), 2)],
  ['client CPU %', ({ clientCpuShare: share }) => digits(share === undefined ? undefined : share * 100)],
  ['peak MB', ({ peakBytes }) => megabytes(peakBytes)],
  ['above idle MB', ({ aboveIdleBytes }) => megabytes(aboveIdleBytes)],
  ['disk MB', ({ diskBytes }) => megabytes(diskBytes)],
];

const headings = ['', ...columns.map(([heading]) => heading), 'runs'];

/** The table as text, with the absent lines and the notes below it. */
export function formatTable(rows: Row[]): string {
  const measured = rows.flatMap((row) => ('figures' in row ? [row] : []));
  const lines = measured.map(({ id, figures, runs }) => [
    rowNames[id],
    ...columns.map(([, cell]) => cell(figures)),
    String(runs),
  ]);
  const absent = rows.flatMap((row) =>
    'absent' in row ? [`${rowNames[row.id]}: absent, ${row.absent}`] : [],
  );
  const notes = measured.flatMap(({ id, note }) => (note ? [`${rowNames[id]}: ${note}`] : []));
  const blocks = [align([headings, ...lines]), absent.join('\n'), notes.join('\n')];
  return blocks.filter(Boolean).join('\n\n');
}

/** The comparisons, one a line. */
export function formatTargets(targets: Target[]): string {
  const verdict = ({ reached }: Target) =>
    reached === undefined ? 'not measured' : reached ? 'reached' : 'NOT REACHED';
  return align([
    ['', 'measured', 'target', ''],
    ...targets.map((target) => [target.name, target.value, target.wanted, verdict(target)]),
  ]);
}

/** Names to the left, everything else to the right. */
export function align(lines: string[][]): string {
  const width = (at: number) => Math.max(...lines.map((line) => line[at]?.length ?? 0));
  const widths = (lines[0] ?? []).map((_, at) => width(at));
  return lines
    .map((line) =>
      line
        .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function digits(value: number | undefined, decimals = 0): string {
  return value === undefined ? '-' : value.toFixed(decimals);
}

const megabytes = (bytes: number | undefined): string =>
  digits(bytes === undefined ? undefined : bytes / 1e6);
