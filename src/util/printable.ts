/** Control characters except line feeds and tabs, other ends of lines, and marks that turn text around. */
const UNSAFE = /[^\P{Cc}\n\t]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Writes `?` for each character that could control a terminal, or show a text in another order than it has. Line feeds
 * and tabs stay.
 */
export function printable(text: string): string {
  return text.replace(UNSAFE, '?');
}
