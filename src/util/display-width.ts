/** Characters of two columns: those of East Asian scripts and emoji. Some of them take one column in some terminals. */
const WIDE =
  /[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Hangul}\p{scx=Bopomofo}\p{scx=Yi}\p{Emoji_Presentation}\u3000\uff01-\uff60\uffe0-\uffe6]/u;
/** Characters without a column: accents, joiners, and controls. */
const NARROW = /[\p{Mn}\p{Me}\p{Cf}\p{Cc}]/u;

/** Returns the number of columns that a line takes in a terminal; the highest one if terminals differ. */
export function displayWidth(line: string): number {
  let width = 0;
  for (const character of line) width += widthOf(character);
  return width;
}

/** Cuts a line to a number of columns. */
export function cutToWidth(line: string, columns: number): string {
  let [width, end] = [0, 0];
  for (const character of line) {
    width += widthOf(character);
    if (width > columns) break;
    end += character.length;
  }
  return line.slice(0, end);
}

function widthOf(character: string): number {
  // Most text is ASCII.
  if (character >= ' ' && character <= '~') return 1;
  if (NARROW.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}
