/** A JSON object of unknown content. */
export type JsonObject = { readonly [key: string]: unknown };

/**
 * Parses bytes as a JSON object; undefined if they are anything else. Invalid UTF-8 becomes U+FFFD, as in Go's decoder,
 * because the history of old configs contains such bytes.
 *
 * Bytes that nest too deep, or have too many objects, lists, or members, are not parsed: little input would make much
 * work.
 */
export function parseJsonObject(bytes: Uint8Array): JsonObject | undefined {
  if (!isModest(bytes)) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Tells whether a value is a JSON object (not null, not an array). */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Maximum nesting levels. An index has five. Far more would overflow the stack of code that walks the value. */
const DEPTH_MAX = 100;
/** Maximum objects and lists. An index of 1000 entries has 3000; a 4 MiB list of referrers has 30,000. */
const NODES_MAX = 50_000;
/** Maximum commas, which separate members and entries. A 4 MiB list of tags has 400,000. */
const COMMAS_MAX = 500_000;
/** Maximum members. Each new name takes a hundred bytes of memory. A 4 MiB list of referrers has 100,000. */
const MEMBERS_MAX = 150_000;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;

/** Counts the values that a parser would create, in one pass that creates none. */
function isModest(bytes: Uint8Array): boolean {
  let [depth, nodes, commas, members] = [0, 0, 0, 0];
  let isText = false;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (isText) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) isText = false;
    } else if (byte === QUOTE) isText = true;
    else if (byte === COMMA) commas += 1;
    else if (byte === COLON) members += 1;
    else if (byte === 0x7b || byte === 0x5b) {
      depth += 1;
      nodes += 1;
      if (depth > DEPTH_MAX || nodes > NODES_MAX) return false;
    } else if (byte === 0x7d || byte === 0x5d) depth -= 1;
  }
  return commas <= COMMAS_MAX && members <= MEMBERS_MAX;
}
