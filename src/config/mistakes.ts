import { quote } from '../errors.ts';
import { mask } from './mask.ts';

/** A mistake in a part of a value. */
export interface PartMistake {
  /** The position of the part in the value: `entry 2`, or `docker.io: mirrors: entry 2`. */
  readonly place: string;
  readonly part: unknown;
  /** The end of the error sentence: `must be a glob`. */
  readonly reason: string;
}

/** Thrown if parts of a value, such as entries of a list, have mistakes. */
export class PartsError extends Error {
  override readonly name = 'PartsError';
  readonly mistakes: readonly PartMistake[];

  constructor(mistakes: readonly PartMistake[]) {
    super(mistakes.map(sentenceOf).join('; '));
    this.mistakes = mistakes;
  }
}

/** A part of a value, with its parser. */
export interface Part<T> extends Pick<PartMistake, 'place' | 'part'> {
  parse(): T;
}

/**
 * Parses every part of a value, even after a mistake, so that one error reports all of them.
 *
 * @throws PartsError with the mistakes of all parts
 */
export function parseParts<T>(parts: readonly Part<T>[]): T[] {
  const mistakes: PartMistake[] = [];
  const parsed = parts.flatMap(({ place, part, parse }) => {
    try {
      return [parse()];
    } catch (error) {
      if (error instanceof PartsError) {
        mistakes.push(...error.mistakes.map((inner) => ({ ...inner, place: `${place}: ${inner.place}` })));
      } else mistakes.push({ place, part, reason: (error as Error).message });
      return [];
    }
  });
  if (mistakes.length > 0) throw new PartsError(mistakes);
  return parsed;
}

/** Describes why a value was refused: a sentence without a full stop for each mistake, with credentials masked. */
export function describeMistakes(value: unknown, error: unknown): string[] {
  if (error instanceof PartsError) return error.mistakes.map(sentenceOf);
  return [`${written(value)} ${(error as Error).message}`];
}

function sentenceOf({ place, part, reason }: PartMistake): string {
  return `${place}, ${written(part)}, ${reason}`;
}

function written(value: unknown): string {
  const shown = mask(value);
  return quote(typeof shown === 'string' ? shown : JSON.stringify(shown));
}
