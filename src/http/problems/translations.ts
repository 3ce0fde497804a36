import type { IncomingMessage } from 'node:http';
import { type DetailValue, fillIn, type Sentence } from '../../errors/details.ts';
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

/** Translates the sentences of an error; one without a translation stays in English. */
function translatedDetail(lang: Language, sentences: readonly Sentence[], details: Texts): string {
  const write = (value: DetailValue): string => writeValue(lang, value);
  return sentences
    .map((sentence) =>
      typeof sentence === 'string' ? sentence : fillIn(details[sentence.id] ?? '', sentence.values, write),
    )
    .join(lang === 'zh' ? '' : ' ');
}

/** Writes a value; marks isolate a name from a sentence that runs from right to left. */
function writeValue(lang: Language, value: DetailValue): string {
  if (typeof value === 'number') return value.toLocaleString(lang);
  if (typeof value === 'object') return duration(lang, Math.max(value.milliseconds / 1000, 1));
  return directionOf(lang) === 'rtl' ? `\u2068${value}\u2069` : value;
}
