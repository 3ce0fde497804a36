import type { FastifyRequest } from 'fastify';
import { type DownloadQuery, downloadUrl } from '../../download/url.ts';
import type { ServiceError } from '../../errors.ts';
import { familiarName, referenceOrNone } from '../../oci/reference.ts';
import { escapeHtml } from '../../util/escape-markup.ts';
import { directionOf, type WebFolder } from '../web-assets.ts';
import { duration } from './duration.ts';
import type { Translation } from './translations.ts';

/** Renders an error as a page that looks like the portal and links to it. */
export type RenderProblem = (
  error: ServiceError,
  explanation: Translation,
  request: FastifyRequest,
) => string;

/** Renders problems with the style sheet and the texts of web/. */
export function createRenderProblem({
  assets,
  languages,
}: Pick<WebFolder, 'assets' | 'languages'>): RenderProblem {
  return (error, { lang, title, help, detail }, request) => {
    const { retryAfter, status } = error;
    const { wait = '', again = '', back = '' } = languages[lang].problems;
    const waiting = retryAfter && wait.replace('{time}', duration(lang, retryAfter));
    const mayPass = retryAfter !== undefined || status >= 500;
    return `<!doctype html>
<html lang="${lang}" dir="${directionOf(lang)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="${assets}/icon.svg">
<link rel="expect" href="#problem" blocking="render">
<link rel="stylesheet" href="${assets}/portal.css">
<script src="${assets}/theme.js"></script>
</head>
<body>
<header><a class="brand" href="/" dir="ltr"><img src="${assets}/icon.svg" alt="" width="28" height="28">DockerProxy</a></header>
<main>
<section id="problem" class="card">
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(help)}</p>
<p dir="auto"><code>${status}: ${escapeHtml(detail)}</code></p>
${tagLinks(error, request)}${waiting ? `<p>${escapeHtml(waiting)}</p>` : ''}
<p class="tools"><a class="primary" href="${escapeHtml(portalOf(request))}">${escapeHtml(back)}</a>
${mayPass ? `<a class="button" href="">${escapeHtml(again)}</a>` : ''}</p>
</section>
</main>
</body>
</html>
`;
  };
}

/** Returns links to the same download with each tag that is similar to the missing one. */
function tagLinks(
  { members: { repository, tag, similarTags } }: ServiceError,
  request: FastifyRequest,
): string {
  const asked = askedFor(request);
  if (asked === undefined || !Array.isArray(similarTags)) return '';
  const isMissing = (name: string): boolean => {
    const reference = referenceOrNone(name);
    return reference !== undefined && familiarName(reference) === repository && reference.tag === tag;
  };
  const links = similarTags.map((other) => {
    const choose = (name: string): string => (isMissing(name) ? `${repository}:${other}` : name);
    const have = asked.have && [asked.have].flat().map(choose);
    const url = downloadUrl({ ...asked, myimage: asked.images.map(choose), have });
    return `<a class="button" href="${escapeHtml(url)}">${escapeHtml(`${other}`)}</a>`;
  });
  return links.length === 0 ? '' : `<p class="chips">${links.join('\n')}</p>\n`;
}

/** A download as requested, valid or not. */
interface AskedDownload extends Omit<DownloadQuery, 'myimage'> {
  /** Image names from the query or the path. */
  readonly images: readonly string[];
}

/** Reads the requested download; undefined for another page. */
function askedFor({ query, params, routeOptions }: FastifyRequest): AskedDownload | undefined {
  if (routeOptions.url?.startsWith('/dl') !== true) return undefined;
  const asked = { ...(query as object), ...(params as object) } as Record<string, string | string[]>;
  const { myimage = [], '*': file } = asked;
  const images = file === undefined ? [myimage].flat() : [`${file}`.replace(/\.tar(?:\.\w+)?$/, '')];
  return { ...asked, images };
}

/** Returns the portal's URL with the requested images filled in: `/?image=busybox&platform=linux/arm64`. */
function portalOf(request: FastifyRequest): string {
  const { images, platform, format } = askedFor(request) ?? { images: [] };
  const link = new URLSearchParams(images.map((image): [string, string] => ['image', image]));
  if (typeof platform === 'string') link.set('platform', platform);
  if (typeof format === 'string') link.set('format', format);
  return link.size === 0 ? '/' : `/?${link}`;
}
