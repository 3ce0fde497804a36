/** Control characters except line feeds and tabs, line separators, and marks that change the direction of text. */
const UNSAFE = /[^\P{Cc}\n\t]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Replaces each character that could control a terminal, or display the text in another order, with `?`. Line feeds and
 * tabs stay.
 */
export function printable(text: string): string {
  return text.replace(UNSAFE, '?');
}

/** Replaces the same characters, line feeds, and tabs, so that the text stays one line. */
export function printableLine(text: string): string {
  return printable(text).replace(/[\n\t]/g, '?');
}
