import type { IncomingMessage } from 'node:http';
import { type Detail, type DetailValue, fillIn, listAlternatives } from '../../errors/details.ts';
import type { ErrorCode, ServiceError } from '../../errors.ts';
import { directionOf, type Language, preferredLanguage, type Texts, type WebFolder } from '../web-assets.ts';
import { duration } from './duration.ts';

/** An error in the language of its reader. */
export interface Translation {
  /** The language it is in. */
  readonly lang: Language;
  readonly title: string;
  readonly help: string;
  readonly detail: string;
}

/** Translates an error into the language that a request prefers; programs get the English of the catalogue. */
export type Translate = (
  error: Pick<ServiceError, 'code' | 'title' | 'help' | 'message' | 'sentences'>,
  request: IncomingMessage,
) => Translation;

/** Errors that share the text of another error. */
const TOLD_AS: Partial<Record<ErrorCode, ErrorCode>> = {
  'parameter-unknown': 'parameter-invalid',
  'method-not-allowed': 'request-malformed',
  'request-timeout': 'request-malformed',
  'precondition-failed': 'request-malformed',
  'range-not-satisfiable': 'request-malformed',
  'headers-too-large': 'request-malformed',
  'http-version-unsupported': 'request-malformed',
  'registry-unavailable': 'registry-failed',
  'registry-timeout': 'registry-failed',
  'engine-unreachable': 'engine-failed',
  'engine-busy': 'overloaded',
};

/** Returns the key in web/problems of an error's text. */
export function textOf(code: ErrorCode): ErrorCode {
  return TOLD_AS[code] ?? code;
}

/** Translates errors by the texts of web/. */
export function createTranslate({ languages }: Pick<WebFolder, 'languages'>): Translate {
  return ({ code, title, help, message, sentences }, request) => {
    const lang = preferredLanguage(request);
    if (lang === undefined) return { lang: 'en', title, help, detail: message };
    const { problems, details } = languages[lang];
    const [translated = title, advice = help] = problems[textOf(code)]?.split(' | ') ?? [];
    return { lang, title: translated, help: advice, detail: translatedDetail(lang, sentences, details) };
  };
}

/** Translates the sentences of an error. */
function translatedDetail(lang: Language, sentences: readonly Detail[], details: Texts): string {
  const write = (value: DetailValue): string => writeValue(lang, value, details);
  return sentences
    .map(({ id, values }) => fillIn(details[id] ?? '', values, write))
    .join(lang === 'zh' ? '' : ' ');
}

function writeValue(lang: Language, value: DetailValue, details: Texts): string {
  if (typeof value === 'number') return value.toLocaleString(lang);
  if (typeof value === 'string') return isolated(lang, value);
  if ('milliseconds' in value) return duration(lang, Math.max(value.milliseconds / 1000, 1));
  if ('anyOf' in value)
    return listAlternatives(
      lang,
      value.anyOf.map((name) => isolated(lang, name)),
    );
  return fillIn(details.parameter ?? '', { name: isolated(lang, value.parameter) }, (name) => `${name}`);
}

/** Isolates a name from a sentence that runs from right to left. */
function isolated(lang: Language, name: string): string {
  return directionOf(lang) === 'rtl' ? `\u2068${name}\u2069` : name;
}
