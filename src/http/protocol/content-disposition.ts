/**
 * Writes the header by which clients save a file under its name. Older clients get `_` for each character outside ASCII.
 *
 * @param filename a name without quotes, backslashes, and control characters
 * @see https://www.rfc-editor.org/rfc/rfc6266#section-5
 * @see https://www.rfc-editor.org/rfc/rfc8187#section-3.2
 */
export function contentDisposition(filename: string): string {
  const plain = filename.replace(/[^\x20-\x7e]|[%"\\]/gu, '_');
  const fallback = `attachment; filename="${plain}"`;
  return plain === filename ? fallback : `${fallback}; filename*=UTF-8''${encoded(filename)}`;
}

function encoded(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
