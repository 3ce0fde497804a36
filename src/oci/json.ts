/** A JSON object of unknown content. */
export type JsonObject = { readonly [key: string]: unknown };

/**
 * Parses bytes as a JSON object; undefined if they are anything else. Invalid UTF-8 becomes U+FFFD, as in Go's decoder,
 * because the history of old configs contains such bytes.
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
