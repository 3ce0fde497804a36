import { type Detail, type DetailValue, detail, inEnglish } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';
import { choicesOf, isFlag, isInteger, isList, type ParameterName, type Parameters } from './parameters.ts';

/** A parsed query string: a parameter given twice is a list. */
export type QueryString = Readonly<Record<string, string | string[] | undefined>>;

/** How messages write options: as parameters of a URL, or as flags of a command. */
export interface Spelling {
  /** The option as the subject of a sentence: `The parameter parts`. */
  name(option: string): DetailValue;
  /** The option with a value: `&parts=4GiB`. */
  set(option: string, value: string): string;
}

/** The spelling of a URL's parameters. */
export const URL_SPELLING: Spelling = {
  name: (option) => ({ parameter: option }),
  set: (option, value) => `&${option}=${value}`,
};

/**
 * Reads parameters as their schemas describe them.
 *
 * @param names the parameters that the request takes
 * @throws ServiceError `parameter-unknown` or `parameter-invalid`, which name the parameter
 */
export function readParameters(
  query: QueryString,
  names: readonly ParameterName[],
  spelling: Spelling,
): Parameters {
  refuseUnknown(query, names);
  const given = names.flatMap((name) => {
    const texts = query[name];
    return texts === undefined ? [] : [[name, readOne(name, texts, spelling)]];
  });
  return Object.fromEntries(given) as Parameters;
}

/** Creates the error for a parameter that has a wrong value. */
export function invalidParameter(message: Detail): ServiceError {
  // The reason is the first clause. A colon or full stop in a value of the user does not end it, because no space
  // follows.
  const reason = inEnglish([message]).replace(/[:;.](?:\s.*)?$/, '');
  return new ServiceError('parameter-invalid', message, { reason });
}

function readOne(name: ParameterName, given: string | string[], spelling: Spelling): unknown {
  if (isList(name)) return [given].flat();
  if (Array.isArray(given))
    throw invalidParameter(detail('option-repeated', { option: spelling.name(name) }));
  if (isFlag(name)) return flagOf(name, given, spelling);
  if (isInteger(name)) return integerOf(name, given, spelling);
  const choices = choicesOf(name);
  if (choices?.includes(given) === false)
    throw invalidParameter(
      detail('option-value', {
        option: spelling.name(name),
        text: quote(given),
        choices: { anyOf: choices },
      }),
    );
  return given;
}

function flagOf(name: string, given: string, spelling: Spelling): boolean {
  if (given !== '0' && given !== '1')
    throw invalidParameter(detail('option-flag', { option: spelling.name(name), text: quote(given) }));
  return given === '1';
}

function integerOf(name: string, given: string, spelling: Spelling): number {
  if (/^[1-9]\d{0,5}$/.test(given)) return Number(given);
  throw invalidParameter(detail('option-integer', { option: spelling.name(name), text: quote(given) }));
}

function refuseUnknown(query: QueryString, known: readonly string[]): void {
  const unknown = Object.keys(query).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new ServiceError(
    'parameter-unknown',
    detail('parameter-unknown', { text: quote(unknown), names: known.join(', ') }),
    { reason: `Unknown parameter ${quote(unknown)}` },
  );
}
