import { isJsonObject, parseJsonObject } from '../oci/json.ts';

/** Matches a string and, for the name of a member, the colon behind it. */
const STRING = /"(?:[^"\\]|\\.)*"(?<colon>\s*:)?/gs;

/**
 * Tells whether Go's decoder, which engines use, reads the same members from a document as this service. Go matches names
 * in any case and merges repeated members, so that a document can show an engine another config or other layers.
 *
 * @see https://pkg.go.dev/encoding/json#Unmarshal
 */
export function isUnambiguous(bytes: Uint8Array): boolean {
  const body = parseJsonObject(bytes);
  if (body === undefined) return false;
  let members = 0;
  for (const { groups } of new TextDecoder().decode(bytes).matchAll(STRING))
    if (groups?.colon !== undefined) members += 1;
  return members === countNames(body);
}

/**
 * Tells whether a document could have a member for Go's decoder, at any level. Reads the text, because a document that is
 * too large to parse here may be small enough for an engine.
 *
 * @param name in lowercase
 */
export function mayHaveMember(bytes: Uint8Array, name: string): boolean {
  const letters = [...name].map(
    (letter) => `(?:${letter}|${[...variantsOf(letter)].map(escaped).join('|')})`,
  );
  return new RegExp(`"${letters.join('')}"`, 'iu').test(new TextDecoder().decode(bytes));
}

/** Counts the members of an object and of all objects below it. Names that differ only in case count once. */
function countNames(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum: number, entry) => sum + countNames(entry), 0);
  if (!isJsonObject(value)) return 0;
  const names = new Set(Object.keys(value).map((name) => name.toUpperCase().toLowerCase()));
  return Object.values(value).reduce((sum: number, member) => sum + countNames(member), names.size);
}

/** Returns the characters that Go takes for a letter. The long s and the Kelvin sign are the only ones beyond ASCII. */
function variantsOf(letter: string): Set<string> {
  const others = { s: '\u017f', k: '\u212a' }[letter] ?? '';
  return new Set(letter + letter.toUpperCase() + others);
}

function escaped(letter: string): string {
  return `\\\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
