import type { IncomingMessage } from 'node:http';
import type { ErrorCode, ServiceError } from '../../errors.ts';
import { type Language, preferredLanguage, type WebFolder } from '../web-assets.ts';

/** What happened and what to do about it. */
export interface Translation {
  /** The language it is in. */
  readonly lang: Language;
  readonly title: string;
  readonly help: string;
}

/** Explains errors to whoever asks: to people in their language, to programs as the catalogue has it. */
export type Translate = (
  error: Pick<ServiceError, 'code' | 'title' | 'help'>,
  request: IncomingMessage,
) => Translation;

/** What needs no sentence of its own. */
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

/** Which text of web/problems tells an error. */
export function textOf(code: ErrorCode): ErrorCode {
  return TOLD_AS[code] ?? code;
}

/** Explains errors by the texts of web/. */
export function createTranslate({ languages }: Pick<WebFolder, 'languages'>): Translate {
  return ({ code, title, help }, request) => {
    const lang = preferredLanguage(request);
    if (lang === undefined) return { lang: 'en', title, help };
    const [told = title, advice = help] = languages[lang].problems[textOf(code)]?.split(' | ') ?? [];
    return { lang, title: told, help: advice };
  };
}
