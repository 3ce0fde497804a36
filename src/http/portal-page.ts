import { createHash } from 'node:crypto';
import { escapeHtml } from './html.ts';
import { directionOf, LANGUAGES, type Language, type WebFolder } from './web-folder.ts';

const PLATFORMS = ['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'linux/386'];

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

/** Renders the page in each language, so that it is whole before a script runs, and where none does. */
export function renderPages(web: WebFolder, defaultPlatform: string): Readonly<Record<Language, Page>> {
  const { template, assets, languages } = web;
  const options = [...new Set([defaultPlatform, ...PLATFORMS])].map(
    (name) => `<option>${escapeHtml(name)}</option>`,
  );
  const links = LANGUAGES.map(
    (lang) =>
      `<a href="?lang=${lang}" lang="${lang}">${escapeHtml(languages[lang].page.languageName ?? '')}</a>`,
  );
  const pages = LANGUAGES.map((lang) => {
    const words = Object.entries(languages[lang].page);
    const values: Record<string, string> = {
      ...Object.fromEntries(words.map(([key, text]) => [key, escapeHtml(text)])),
      lang,
      dir: directionOf(lang),
      assets,
      platformOptions: options.join(''),
      languageLinks: links.join(''),
    };
    const html = template.replace(/\{\{(\w+)\}\}/g, (_, key: string) => values[key] ?? missing(lang, key));
    return [lang, pageOf(html)];
  });
  return Object.fromEntries(pages) as Record<Language, Page>;
}

function missing(lang: string, key: string): never {
  throw new Error(`The page has no ${key} in ${lang}`);
}
