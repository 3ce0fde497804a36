import { type ArchiveFormat, FORMATS } from '../../archive/format.ts';
import type { ServiceError } from '../../errors.ts';
import type { ImageDetails } from '../../sources/image-catalogue.ts';
import type { SourceTraits } from '../../sources/image-source.ts';
import { escapeHtml } from '../../util/escape-markup.ts';
import type { ServiceInfo } from '../api/info.ts';
import { textOf } from '../problems/translations.ts';
import { packFile, type StaticFile } from '../protocol/packed-text.ts';
import { directionOf, LANGUAGES, type Language, type Texts, type WebFolder } from '../web-assets.ts';
import { byOrigin } from './by-origin.ts';
import type { Examples } from './examples.ts';

const PLATFORMS = ['linux/amd64', 'linux/arm64', 'linux/arm/v7', 'linux/386'];

/** Compresses a rendered page. */
export function pageOf(html: string): StaticFile {
  return packFile(html, 'text/html; charset=utf-8');
}

/** The settings and texts that the page's modules need from the service. */
export interface PageData extends Pick<ServiceInfo, 'maxImages' | 'search' | 'registryApi'> {
  /** True if the source prepares each archive before the first byte. */
  readonly prepares: boolean;
  /** The formats whose files depend on the content of layers, so that the first byte takes time. */
  readonly slowFormats: readonly ArchiveFormat[];
  readonly strings: Texts;
}

/** The page in a language. */
export interface Pages {
  /** Returns the page without an image. @param origin that of the service, such as `https://dl.example.org` */
  readonly plain: (origin: string) => StaticFile;
  /** Renders the page for requested images, with enough height for their details, so that nothing moves. */
  readonly of: (asked: AskedImages, origin: string) => StaticFile;
}

/** The images that the URL of the page names, valid or not. */
export interface AskedImages {
  readonly images: readonly string[];
  /** The path and query of their download; undefined if a name is invalid. */
  readonly downloadUrl: string | undefined;
  /** The metadata of the image. Undefined for several images, and for an image that cannot be described now. */
  readonly details: Pick<ImageDetails, 'filename' | 'size' | 'platform'> | undefined;
  /** Why the download would be refused. */
  readonly refusal?: ServiceError | undefined;
}

/** The part of the template that the page of an image lacks. */
const START = /<!-- start -->.*<!-- \/start -->/s;

/** Renders the page in each language, so that it is whole before a script runs, and where none does. */
export function renderPages(
  web: WebFolder,
  info: ServiceInfo,
  traits: SourceTraits,
  examples: Examples,
): Readonly<Record<Language, Pages>> {
  const links = LANGUAGES.map(
    (lang) =>
      `<a href="?lang=${lang}" lang="${lang}">${escapeHtml(web.languages[lang].page.languageName ?? '')}</a>`,
  ).join('');
  const withoutStart = web.template.replace(START, '');
  const pages = LANGUAGES.map((lang) => {
    const { page: words, strings, problems } = web.languages[lang];
    const values: Record<string, string> = {
      ...Object.fromEntries(Object.entries(words).map(([key, text]) => [key, escapeHtml(text)])),
      lang,
      dir: directionOf(lang),
      assets: web.assets,
      languageLinks: links,
      ...serviceValues(info, words),
      exampleLinks: examples.names.map(exampleLink).join(''),
      exampleFile: escapeHtml(examples.filename),
      formatOptions: traits.formats.map((name) => formatOption(name, words)).join(''),
      private: info.clientCredentials
        ? `<details class="card js" id="private"><summary>${escapeHtml(words.private ?? '')}</summary></details>`
        : '',
      data: dataOf(info, traits, strings),
    };
    const render = (template: string, own: Record<string, string>, origin: string): StaticFile => {
      const all: Record<string, string> = {
        ...values,
        ...own,
        exampleUrl: escapeHtml(origin + examples.downloadUrl),
      };
      return pageOf(fill(template, (key) => all[key] ?? missing(lang, key)));
    };
    const plain = {
      look: '',
      value: '',
      summary: '',
      description: values.headline ?? '',
      names: values.hint ?? '',
    };
    const ofLanguage: Pages = {
      plain: byOrigin((origin) => render(web.template, plain, origin)),
      of: (asked, origin) => render(withoutStart, askedValues(asked, lang, words, problems), origin),
    };
    return [lang, ofLanguage];
  });
  return Object.fromEntries(pages) as Record<Language, Pages>;
}

/** Returns what programs without scripts, such as chats, show of the requested images. */
function askedValues(
  { images, downloadUrl, details, refusal }: AskedImages,
  lang: Language,
  words: Texts,
  problems: Texts,
): Record<string, string> {
  const name = escapeHtml(images.join(' '));
  const { size = undefined, platform, filename = '' } = details ?? {};
  const metadata = [size === undefined ? [] : formatSize(size, lang), platform ?? []].flat();
  const link =
    downloadUrl &&
    `<p class="hint">${metadata.map((text) => `<bdi>${escapeHtml(text)}</bdi>`).join(' · ')}</p>
<p><a class="primary" href="${escapeHtml(downloadUrl)}"><strong>${escapeHtml(words.download ?? '')}</strong>
<bdi>${escapeHtml(filename)}</bdi></a></p>
`;
  const content = refusal ? refusalOf(refusal, problems) : (link ?? '');
  return {
    look: 'tall',
    value: name,
    names: '',
    title: `${escapeHtml(images.join(' + '))} · DockerProxy`,
    description: escapeHtml([...metadata, words.headline].join(' · ')),
    summary:
      content &&
      `<noscript><section class="card" id="summary">
<h2 dir="ltr">${escapeHtml(images.join(' + ')).replaceAll('/', '/<wbr>')}</h2>
${content}</section></noscript>`,
  };
}

/** States why an image cannot be downloaded, and links to similar tags. */
function refusalOf({ code, title, help, members }: ServiceError, problems: Texts): string {
  const [translated = title, advice = help] = problems[textOf(code)]?.split(' | ') ?? [];
  const { repository, similarTags } = members;
  const tags = Array.isArray(similarTags) ? similarTags : [];
  const links = tags.map(
    (tag) => `<a class="button" href="/?image=${escapeHtml(`${repository}:${tag}`)}">${escapeHtml(tag)}</a>`,
  );
  return `<p class="wrong">${escapeHtml(translated)}</p>
<p>${escapeHtml(advice)}</p>
${links.length === 0 ? '' : `<p class="chips">${links.join('\n')}</p>\n`}`;
}

function exampleLink(name: string): string {
  return `<a href="/?image=${escapeHtml(name)}" dir="ltr">${escapeHtml(name)}</a>`;
}

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const;

/** Formats bytes as the page's modules do: `2.2 MB`. */
function formatSize(bytes: number, lang: Language): string {
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
  const value = bytes / 1000 ** power;
  const unit = UNITS[power] ?? 'byte';
  const maximumFractionDigits = value < 100 ? 1 : 0;
  const unitDisplay = power > 0 ? 'short' : 'long';
  return value.toLocaleString(lang, { style: 'unit', unit, unitDisplay, maximumFractionDigits });
}

/** Returns the values of the operator and the allowed registries for the template. */
function serviceValues(info: ServiceInfo, words: Texts): Record<string, string> {
  const { operator, allowed, denied, version, defaultPlatform } = info;
  const { operator: runBy = '', contact = '', except = '' } = words;
  const named =
    operator.name === null ? '' : ` · ${escapeHtml(runBy.replace('{name}', () => `${operator.name}`))}`;
  const reached =
    operator.contact === null ? '' : ` <a href="${escapeHtml(operator.contact)}">${escapeHtml(contact)}</a>`;
  const refused = denied.length === 0 ? '' : except.replace('{list}', () => registriesIn(denied, words));
  return {
    version: escapeHtml(version),
    operator: named + reached,
    patterns: escapeHtml(registriesIn(allowed, words) + refused),
    platformOptions: [...new Set([defaultPlatform, ...PLATFORMS])]
      .map((name) => `<option>${escapeHtml(name)}</option>`)
      .join(''),
  };
}

/** Writes globs in words: `docker.io/**` is Docker Hub, and `ghcr.io/org/*` is `ghcr.io/org`. */
function registriesIn(globs: readonly string[], words: Texts): string {
  const names = globs.map((glob) => {
    const name = glob
      .replace(/\/\*+$/, '')
      .replace(/^\*\./, '')
      .replace(/\*+/g, '…');
    return name === '…' ? (words.everything ?? '') : name.replace(/^docker\.io$/, 'Docker Hub');
  });
  return [...new Set(names)].join(', ');
}

function formatOption(name: ArchiveFormat, words: Texts): string {
  const key = `format-${name}`;
  const label = words[key] ?? missing(words.languageName ?? '', key);
  return `<option value="${name}">${escapeHtml(label)}</option>`;
}

function dataOf(
  { maxImages, search, registryApi }: ServiceInfo,
  { preparesArchives: prepares, formats }: SourceTraits,
  strings: Texts,
): string {
  const slowFormats = formats.filter((name) => FORMATS[name].unpacked !== undefined);
  const data: PageData = { maxImages, search, registryApi, prepares, slowFormats, strings };
  return escapeHtml(JSON.stringify(data)).replaceAll('&quot;', '"');
}

function fill(template: string, value: (key: string) => string): string {
  return template.replace(/\{\{([\w-]+)\}\}/g, (_, key: string) => value(key));
}

function missing(lang: string, key: string): never {
  throw new Error(`The page has no ${key} in ${lang}`);
}
