const BINARY_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
const DECIMAL_UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];
const UNITS = new Map([
  ['', 1],
  ['B', 1],
  ['kB', 1000],
  ['MB', 1000 ** 2],
  ['GB', 1000 ** 3],
  ['TB', 1000 ** 4],
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
  ['TiB', 2 ** 40],
]);

/** Parses a number of bytes such as `500MB`, `1.5 GiB`, or `4096`; undefined if the text is invalid. */
export function parseByteSize(text: string): number | undefined {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim()) ?? [];
  const size = Math.floor(Number(number) * (UNITS.get(unit) ?? Number.NaN));
  return Number.isSafeInteger(size) ? size : undefined;
}

/** Formats bytes as settings do, in powers of two: `100 GiB`, `1.5 MiB`. */
export function formatBytes(bytes: number): string {
  const { value, unit } = scale(bytes, 1024, BINARY_UNITS);
  return `${Number(value.toFixed(1))} ${unit}`;
}

/** Formats bytes as registries and disks count, in powers of ten: `0 B`, `999 kB`, `2.2 MB`, `530 MB`. */
export function formatDecimalBytes(bytes: number): string {
  const { value, unit } = scale(bytes, 1000, DECIMAL_UNITS);
  return `${value.toFixed(unit !== 'B' && value < 10 ? 1 : 0)} ${unit}`;
}

function scale(bytes: number, base: number, units: readonly string[]) {
  const step = Math.min(Math.floor(Math.log(Math.max(bytes, 1)) / Math.log(base)), units.length - 1);
  return { value: bytes / base ** step, unit: units[step] };
}
