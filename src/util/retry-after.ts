const MONTH = '(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*';
const TIME = '\\d\\d:\\d\\d:\\d\\d';
const ZONE = '(?:gmt|utc|[+-]\\d{4})';
/** Matches the three date forms of HTTP. `Date.parse` alone would accept texts such as "in 5 minutes". */
const HTTP_DATE = new RegExp(
  `^[a-z]+,? (?:\\d{1,2}[ -]${MONTH}[ -]\\d{2,4} ${TIME} ${ZONE}|${MONTH} +\\d{1,2} ${TIME} \\d{4}(?: ${ZONE})?)$`,
  'i',
);
const DURATION = /(\d+(?:\.\d*)?|\.\d+)([a-z\x80-\uffff]+)/gy;

const UNITS_MS = new Map([
  ['ns', 1e-6],
  ['us', 1e-3],
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
]);
/** Maximum milliseconds. A server's mistake must not stop requests for longer. */
const LONGEST_MS = 24 * 60 * 60 * 1000;

/**
 * Parses a Retry-After header: seconds, an HTTP date, or a Go duration such as `880.092µs` or `1m30s`, which GHCR
 * sends.
 *
 * @param now milliseconds since the epoch
 * @returns milliseconds from now, at most one day; 0 for a past date; undefined if the header is absent or
 *   invalid
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
 * @see https://pkg.go.dev/time#ParseDuration
 */
export function parseRetryAfter(header: string | null | undefined, now: number): number | undefined {
  const value = header?.trim() ?? '';
  const wait = /^\d+(?:\.\d+)?$/.test(value)
    ? Number(value) * 1000
    : (parseDuration(value) ?? parseDate(value, now));
  return wait === undefined ? undefined : Math.min(Math.max(wait, 0), LONGEST_MS);
}

function parseDate(value: string, now: number): number | undefined {
  if (!HTTP_DATE.test(value)) return undefined;
  // The asctime form has no zone and means GMT, but JavaScript would read it as local time.
  const time = Date.parse(/\d{4}$/.test(value) && !/[+-]\d{4}$/.test(value) ? `${value} GMT` : value);
  return Number.isNaN(time) ? undefined : time - now;
}

function parseDuration(value: string): number | undefined {
  let [wait, read] = [0, 0];
  for (const [part, number, unit = ''] of value.matchAll(DURATION)) {
    // Unicode has two characters for µ, and a wrong charset produces others.
    const scale = UNITS_MS.get(unit.replace(/^[\x80-\uffff]+s$/, 'us'));
    if (scale === undefined) return undefined;
    wait += Number(number) * scale;
    read += part.length;
  }
  return read > 0 && read === value.length ? wait : undefined;
}
