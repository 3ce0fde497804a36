import { detail } from '../errors/details.ts';
import { BLOCK, numberAt, sizeAt } from './header.ts';
import { MalformedTar } from './malformed-tar.ts';

/** A stretch of a sparse file that has data. All other bytes of the file are zeros. */
export interface Segment {
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** Maximum number of segments of one file. */
const SEGMENTS_MAX = 65_536;
/** Maximum bytes of the map that format 1.0 writes before the data. */
const MAP_MAX = 2 ** 21;
/** An entry of the map in the old GNU format: two numbers of 12 bytes. */
const OLD_ENTRY = 24;

/** Reads the segments in a header of the old GNU format. @returns true if another block of segments follows */
export function readOldSegments(header: Buffer, segments: Segment[]): boolean {
  return readEntries(header, 386, 4, segments);
}

/** Reads a further block of segments of the old GNU format. @returns true if another one follows */
export function readMoreSegments(block: Buffer, segments: Segment[]): boolean {
  return readEntries(block, 0, 21, segments);
}

/** Reads the size of a sparse file from a header of the old GNU format. */
export function readOldSize(header: Buffer): number {
  return sizeAt(header, 483);
}

/** Reads the comma-separated map of formats 0.0 and 0.1. @throws MalformedTar */
export function readSparseMap(text: string): Segment[] {
  return pairsOf(text === '' ? [] : text.split(','));
}

/**
 * Reads the map of format 1.0, decimal numbers in lines, as far as it is available.
 *
 * @returns the segments; undefined if the map is longer
 * @throws MalformedTar
 */
export function readSparseLines(bytes: Buffer): Segment[] | undefined {
  const text = bytes.toString('latin1');
  const countEnd = text.indexOf('\n');
  if (countEnd === -1) {
    if (bytes.length > BLOCK) throw malformed();
    return undefined;
  }
  const count = wholeNumber(text.slice(0, countEnd));
  if (count > SEGMENTS_MAX) throw tooMany();
  const lines = text.split('\n', 2 * count + 2);
  if (lines.length > 2 * count + 1) return pairsOf(lines.slice(1, 2 * count + 1));
  if (bytes.length >= MAP_MAX) throw malformed();
  return undefined;
}

/**
 * Checks that segments follow each other within a file.
 *
 * @param size bytes of the file
 * @param stored bytes of the data in the archive
 * @throws MalformedTar
 */
export function checkSegments(segments: readonly Segment[], size: number, stored: number): void {
  let end = 0;
  let sum = 0;
  for (const { offset, length } of segments) {
    if (offset < end || offset + length > size) throw malformed();
    end = offset + length;
    sum += length;
  }
  if (sum !== stored) throw malformed();
}

function readEntries(block: Buffer, start: number, count: number, segments: Segment[]): boolean {
  for (let at = start; at < start + count * OLD_ENTRY; at += OLD_ENTRY) {
    if (block[at] === 0) break;
    segments.push({ offset: numberAt(block, at, 12), length: numberAt(block, at + 12, 12) });
  }
  if (segments.length > SEGMENTS_MAX) throw tooMany();
  return block[start + count * OLD_ENTRY] !== 0;
}

function pairsOf(numbers: readonly string[]): Segment[] {
  if (numbers.length % 2 !== 0) throw malformed();
  if (numbers.length > 2 * SEGMENTS_MAX) throw tooMany();
  return Array.from({ length: numbers.length / 2 }, (_, at) => ({
    offset: wholeNumber(numbers[2 * at] ?? ''),
    length: wholeNumber(numbers[2 * at + 1] ?? ''),
  }));
}

function wholeNumber(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw malformed();
  return value;
}

function malformed(): MalformedTar {
  return new MalformedTar(detail('tar-sparse', {}));
}

function tooMany(): MalformedTar {
  return new MalformedTar(detail('tar-sparse-large', { limit: SEGMENTS_MAX }));
}
