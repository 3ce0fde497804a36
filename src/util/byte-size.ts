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

/** Reads a number of bytes as people write it: `500MB`, `1.5 GiB`, `4096`; undefined where it is none. */
export function parseByteSize(text: string): number | undefined {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim()) ?? [];
  const size = Math.floor(Number(number) * (UNITS.get(unit) ?? Number.NaN));
  return Number.isSafeInteger(size) ? size : undefined;
}
