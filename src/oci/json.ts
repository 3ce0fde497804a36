/** A JSON object of unknown content. */
export type JsonObject = { readonly [key: string]: unknown };

/**
 * Parses bytes as JSON with an object at the top; undefined where they are anything else. Bytes that are not UTF-8 are
 * read as U+FFFD, as Go's decoder reads them: old configs have such bytes in their history.
 */
export function parseJsonObject(bytes: Uint8Array): JsonObject | undefined {
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
