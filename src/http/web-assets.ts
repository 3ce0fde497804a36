import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import accepts from 'accepts';
import { DETAILS } from '../errors/details.ts';

/** The languages of the pages; the first is the default. */
export const LANGUAGES = ['en', 'es', 'fa', 'ru', 'zh'] as const;
export type Language = (typeof LANGUAGES)[number];

/** Texts by their keys. */
export type Texts = Readonly<Record<string, string>>;

/** The content of web/, read once. */
export interface WebFolder {
  readonly root: string;
  /** The URL path of the assets: `/assets/HASH`. */
  readonly assets: string;
  /** The HTML of the page, with keys in place of its texts. */
  readonly template: string;
  readonly languages: Readonly<Record<Language, WebTexts>>;
}

export interface WebTexts {
  /** The texts of the page itself. */
  readonly page: Texts;
  /** The texts of its modules. */
  readonly strings: Texts;
  /** The titles and advice of errors, by code. */
  readonly problems: Texts;
  /** The sentences of errors by their ids, in English those of errors/details.ts. */
  readonly details: Texts;
}

const ROOT = fileURLToPath(new URL('../../web/', import.meta.url));
const RIGHT_TO_LEFT: ReadonlySet<string> = new Set(['fa']);

/** Reads web/. */
export function readWebFolder(): WebFolder {
  const textsOf = (folder: string, lang: Language): Texts =>
    JSON.parse(readFileSync(join(ROOT, folder, `${lang}.json`), 'utf8')) as Texts;
  const languages = LANGUAGES.map((lang) => [
    lang,
    {
      page: textsOf('languages', lang),
      strings: textsOf('strings', lang),
      problems: textsOf('problems', lang),
      details: lang === 'en' ? DETAILS : textsOf('details', lang),
    },
  ]);
  return {
    root: ROOT,
    assets: `/assets/${hashAssets(ROOT)}`,
    template: readFileSync(join(ROOT, 'index.html'), 'utf8').replace(/\n\s*/g, '\n'),
    languages: Object.fromEntries(languages) as Record<Language, WebTexts>,
  };
}

/** Checks whether browsers may load a file of web/. The other files are for developers or for the server. */
export function isAsset(path: string): boolean {
  return /^[\w-]+\.(?:js|css|svg)$/.test(path);
}

/**
 * Returns the language that the visitor chose or the browser prefers; undefined if the request states no supported
 * language, like those of programs.
 */
export function preferredLanguage(request: IncomingMessage): Language | undefined {
  const { cookie = '', 'accept-language': asked = '*' } = request.headers;
  const [, chosen] = /(?:^|; )lang=(\w+)/.exec(cookie) ?? [];
  return (
    languageOf(chosen) ?? (asked === '*' ? undefined : languageOf(accepts(request).language([...LANGUAGES])))
  );
}

/** Returns the language with a code; undefined if the pages don't have it. */
export function languageOf(code: unknown): Language | undefined {
  return LANGUAGES.find((lang) => lang === code);
}

/** Returns a cookie that keeps the chosen language. @param isSecure true if the browser uses HTTPS */
export function languageCookie(lang: Language, isSecure: boolean): string {
  return `lang=${lang}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly${isSecure ? '; Secure' : ''}`;
}

/** Returns the direction of a language, as in HTML's `dir`. */
export function directionOf(lang: Language): 'ltr' | 'rtl' {
  return RIGHT_TO_LEFT.has(lang) ? 'rtl' : 'ltr';
}

/** Returns a hash of all assets for their URL. Modules import each other by relative paths, so all change together. */
function hashAssets(root: string): string {
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(isAsset).sort();
  const hash = createHash('sha256');
  for (const path of paths)
    hash
      .update(`${path}\n`)
      .update(readFileSync(join(root, path)))
      .update('\n');
  return hash.digest('base64url').slice(0, 16);
}
