/** A range of an archive that a connection sends, and its position in it. */
export interface InFlightBytes {
  readonly at: number;
  readonly end: number;
}

/**
 * Counts the bytes that several ranges have yet to send, each byte once. aria2c requests the whole file first and
 * ranges of it later. The first connection then stops before these ranges.
 */
export function countInFlight(ranges: Iterable<InFlightBytes>): number {
  let bytes = 0;
  let reached = 0;
  for (const { at, end } of [...ranges].sort((one, other) => one.at - other.at)) {
    bytes += Math.max(end - Math.max(at, reached), 0);
    reached = Math.max(reached, end);
  }
  return bytes;
}

/** Tells whether other connections will send all of a range, too. */
export function isCovered(range: InFlightBytes, others: readonly InFlightBytes[]): boolean {
  return others.length > 0 && countInFlight([...others, range]) === countInFlight(others);
}
