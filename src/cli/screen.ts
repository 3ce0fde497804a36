import { displayWidth } from '../util/display-width.ts';
import { printable } from '../util/printable.ts';
import { wrapLines } from './wrap.ts';

/** A stream for people: a terminal, or a log. */
export interface ScreenStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/**
 * Output for people: lines that stay and, on a terminal, lines below them that change. Text in them can come from files
 * and registries, so control characters become question marks.
 */
export interface Screen {
  /** True if lines can change. */
  readonly isLive: boolean;
  /** Returns the width of a line. It changes with the terminal. */
  columns(): number;
  /** Writes sentences that stay. A terminal gets them wrapped at words. */
  say(text: string): void;
  /** Writes a line that stays, such as a command to copy. */
  print(line: string): void;
  /** Replaces the lines that change. Each must fit in the columns. */
  show(lines: readonly string[]): void;
}

/** The width of a terminal that does not report one. */
const USUAL_COLUMNS = 80;
/** The width of a log. */
const LOG_COLUMNS = 200;

/**
 * Creates a screen on a stream. A terminal that calls itself dumb cannot move its cursor, so its lines never change.
 *
 * @param variables the environment
 */
export function createScreen(
  stream: ScreenStream,
  { TERM }: Readonly<Record<string, string | undefined>>,
): Screen {
  const isTerminal = stream.isTTY === true;
  const isLive = isTerminal && TERM !== 'dumb';
  const width = (): number => stream.columns || USUAL_COLUMNS;
  let shown: readonly string[] = [];
  /** Returns the rows of the shown lines. A terminal that became narrower has wrapped them. */
  const rows = (): number =>
    shown.reduce((sum, line) => sum + Math.max(Math.ceil(displayWidth(line) / width()), 1), 0);
  const draw = (lasting: string, lines: readonly string[]): void => {
    const back = rows() > 1 ? `\x1b[${rows() - 1}A` : '';
    const erased = shown.length > 0 ? `${back}\r\x1b[J` : '';
    shown = lines;
    const text = `${erased}${lasting}${lines.join('\n')}`;
    if (text !== '') stream.write(text);
  };
  return {
    isLive,
    // The cursor of a full line may already be on the next one.
    columns: () => (isTerminal ? width() - 1 : LOG_COLUMNS),
    say(text) {
      const safe = printable(text);
      draw(isTerminal ? wrapLines(safe, width()) : safe, shown);
    },
    print: (line) => draw(`${printable(line)}\n`, shown),
    show(lines) {
      if (isLive) draw('', lines.map(printable));
    },
  };
}
