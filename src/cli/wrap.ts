import { displayWidth } from '../util/display-width.ts';

/** Wraps a text at spaces. A longer word has a line of its own. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && displayWidth(last) + 1 + displayWidth(word) <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Wraps each line of a text. The new lines have the same indentation as the original one. */
export function wrapLines(text: string, width: number): string {
  return text.replace(/^( *)(.+)$/gm, (_, indent: string, line: string) =>
    wrap(line, width - indent.length)
      .map((one) => `${indent}${one}`)
      .join('\n'),
  );
}

/** Columns of the left part of a table. */
const TERM_WIDTH = 25;

/**
 * Writes a row of a table: a term, and its description beside it. Below a term that is too long for its column, the
 * description begins on the next line.
 */
export function describe(term: string, text: string, width: number): string {
  const margin = ' '.repeat(TERM_WIDTH);
  const lines = wrap(text, width - TERM_WIDTH).map((line) => `${margin}${line}\n`);
  const label = `  ${term}`;
  if (label.length >= TERM_WIDTH) return `${label}\n${lines.join('')}`;
  return lines.join('').replace(margin, label.padEnd(TERM_WIDTH));
}
