import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { escapeHtml } from './html.ts';

/** The languages of the page, the first where none is asked for. */
export const LANGUAGES = ['en', 'es', 'fa', 'ru', 'zh'] as const;
const RIGHT_TO_LEFT: ReadonlySet<string> = new Set(['fa']);
const PLATFORMS = ['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'linux/386'];

/** What of web/ browsers are given: its other files are for who works on it, or for the page itself. */
export function isAsset(path: string): boolean {
  return /^(?:[\w-]+\.(?:js|css|svg)|strings\/\w+\.json)$/.test(path);
}

/**
 * Hashes what browsers are given, for a URL that changes with any of it: modules name each other by relative paths, so
 * that they move together.
 */
export function hashAssets(root: string): string {
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(isAsset).sort();
  const hash = createHash('sha256');
  for (const path of paths)
    hash
      .update(`${path}\n`)
      .update(readFileSync(join(root, path)))
      .update('\n');
  return hash.digest('base64url').slice(0, 16);
}

/** A page that is rendered, with its weak validator. */
export interface Page {
  readonly html: string;
  /** Quotes included, without the mark of weakness. */
  readonly etag: string;
}

/** Gives a page its validator. */
export function pageOf(html: string): Page {
  return { html, etag: `"${createHash('sha256').update(html).digest('base64url').slice(0, 22)}"` };
}

export interface PageOptions {
  /** The folder web/. */
  readonly root: string;
  /** Where the assets are: `/assets/HASH`. */
  readonly assets: string;
  readonly defaultPlatform: string;
}

/** Renders the page in each language, so that it is whole before a script runs, and where none does. */
export function renderPages({ root, assets, defaultPlatform }: PageOptions): ReadonlyMap<string, Page> {
  const template = readFileSync(join(root, 'index.html'), 'utf8').replace(/\n\s*/g, '\n');
  const texts = LANGUAGES.map((lang) => [lang, textsOf(root, lang)] as const);
  const options = [...new Set([defaultPlatform, ...PLATFORMS])].map(
    (name) => `<option>${escapeHtml(name)}</option>`,
  );
  const links = texts.map(
    ([lang, { languageName = '' }]) =>
      `<a href="?lang=${lang}" lang="${lang}">${escapeHtml(languageName)}</a>`,
  );
  return new Map(
    texts.map(([lang, words]) => {
      const values: Record<string, string> = {
        ...Object.fromEntries(Object.entries(words).map(([key, text]) => [key, escapeHtml(text)])),
        lang,
        dir: RIGHT_TO_LEFT.has(lang) ? 'rtl' : 'ltr',
        assets,
        platformOptions: options.join(''),
        languageLinks: links.join(''),
      };
      const html = template.replace(/\{\{(\w+)\}\}/g, (_, key: string) => values[key] ?? missing(lang, key));
      return [lang, pageOf(html)];
    }),
  );
}

function textsOf(root: string, lang: string): Record<string, string> {
  return JSON.parse(readFileSync(join(root, 'languages', `${lang}.json`), 'utf8')) as Record<string, string>;
}

function missing(lang: string, key: string): never {
  throw new Error(`The page has no ${key} in ${lang}`);
}
