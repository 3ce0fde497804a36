import { detail } from '../errors/details.ts';
import { MalformedTar } from './malformed-tar.ts';

/** The records of a PAX extended header, by their keys. Values are bytes as Latin-1. */
export type PaxRecords = ReadonlyMap<string, string>;

/** The key that collects the segments of sparse format 0.0, which repeats its keys. It has the form of format 0.1. */
export const SPARSE_MAP = 'GNU.sparse.map';

/** Keys whose values end at a zero byte in engines, which refuse them. */
const NAMES: ReadonlySet<string> = new Set(['path', 'linkpath', 'uname', 'gname']);

/**
 * Reads PAX records, `LENGTH KEY=VALUE\n`. The length counts the whole record, because a value may contain line breaks.
 *
 * @throws MalformedTar if a record is malformed
 * @see https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html (pax Extended Header)
 */
export function readPax(bytes: Buffer): PaxRecords {
  const records = new Map<string, string>();
  const segments: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const [start, digits] = /^(\d{1,9}) /.exec(bytes.toString('latin1', at, at + 10)) ?? [];
    const length = Number(digits);
    const end = at + length;
    if (start === undefined || length <= start.length || end > bytes.length || bytes[end - 1] !== 0x0a)
      throw malformed();
    const record = bytes.toString('latin1', at + start.length, end - 1);
    const equals = record.indexOf('=');
    if (equals < 1) throw malformed();
    const [key, value] = [record.slice(0, equals), record.slice(equals + 1)];
    if (key.includes('\0') || (NAMES.has(key) && value.includes('\0'))) throw malformed();
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') segments.push(value);
    else records.set(key, value);
    at = end;
  }
  if (segments.length > 0) records.set(SPARSE_MAP, segments.join());
  return records;
}

/** Reads a whole number of at least 0; undefined if absent or empty. @throws MalformedTar if it is another text */
export function paxNumber(records: PaxRecords, key: string): number | undefined {
  const text = records.get(key);
  if (text === undefined || text === '') return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw malformed();
  return value;
}

/** A moment: whole seconds since the epoch, and nanoseconds after them. */
export interface Moment {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** Reads a time, `1700000000.25`; undefined if absent or empty. @throws MalformedTar if it is another text */
export function paxTime(records: PaxRecords, key: string): Moment | undefined {
  const text = records.get(key);
  if (text === undefined || text === '') return undefined;
  const [whole, sign, digits, fraction = ''] = /^(-?)(\d+)(?:\.(\d*))?$/.exec(text) ?? [];
  const seconds = Number(digits);
  if (whole === undefined || !Number.isSafeInteger(seconds)) throw malformed();
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'));
  if (sign === '') return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: -seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}

function malformed(): MalformedTar {
  return new MalformedTar(detail('tar-extension', {}));
}
