import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { DEFAULT_FORMAT } from '../../archive/format.ts';
import { type DownloadQuery, downloadUrl } from '../../download/url.ts';
import { listErrors, ServiceError } from '../../errors.ts';
import type { Limits } from '../../limits/limits.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { parseReference, type Reference, referenceOrNone } from '../../oci/reference.ts';
import type { Allowlist } from '../../policy/allowlist.ts';
import type { ImageInspector } from '../../sources/image-catalogue.ts';
import type { SourceTraits } from '../../sources/image-source.ts';
import type { ServiceInfo } from '../api/info.ts';
import { type ApiDocument, renderApiPage } from '../api/page.ts';
import { downloadLimits } from '../download/limits.ts';
import type { CountRequest } from '../plugins/limits.ts';
import { askedProtocol } from '../protocol/asked-origin.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';
import { type Addresses, ownAddress } from '../protocol/own-address.ts';
import { negotiateEncoding, packText, sendFile } from '../protocol/packed-text.ts';
import {
  isAsset,
  LANGUAGES,
  languageCookie,
  languageOf,
  preferredLanguage,
  type WebFolder,
} from '../web-assets.ts';
import { byOrigin } from './by-origin.ts';
import { chooseExamples } from './examples.ts';
import { type AskedImages, pageOf, renderPages } from './page.ts';

export interface PortalOptions {
  readonly web: WebFolder;
  readonly info: () => ServiceInfo;
  readonly traits: SourceTraits;
  readonly catalogue: ImageInspector;
  readonly allowlist: Allowlist;
  readonly limits: Limits;
  /** Counts a request toward the limit of its client. */
  readonly count: CountRequest;
  /** The URLs of this service, which the commands on the page name. */
  readonly addresses: () => Addresses;
}

const DESCRIBE_TIMEOUT_MS = 2000;

/**
 * Serves the portal from web/. A short link such as `/python:3.12` redirects to the page of that image. The page at `/` is in the language of the browser, or that of `?lang=`. Its assets are
 * under a hash of their content, cacheable for a year. Everything is read, rendered, and compressed at start.
 */
export async function portal(app: FastifyInstance, options: PortalOptions): Promise<void> {
  const { web, info, traits, allowlist, addresses } = options;
  const pages = renewed(info, (current) =>
    renderPages(web, current, traits, chooseExamples(isAllowedBy(allowlist))),
  );
  pages();
  await serveAssets(app, web);
  const describe = createDescribe(options);
  app.get<{ Querystring: PageQuery }>('/', async (request, reply) => {
    const { lang, image, myimage } = request.query;
    const chosen = languageOf(lang);
    if (chosen !== undefined)
      reply.header('set-cookie', languageCookie(chosen, askedProtocol(request) === 'https'));
    const ownPages = pages()[chosen ?? preferredLanguage(request.raw) ?? LANGUAGES[0]];
    const isPlain = image === undefined && myimage === undefined;
    const origin = ownAddress(request, addresses())?.origin ?? '';
    const page = isPlain ? ownPages.plain(origin) : ownPages.of(await describe(request, reply), origin);
    reply.header('cache-control', 'no-cache');
    return sendFile(request, reply, page, ['accept-language', 'cookie']);
  });
  app.get<{ Params: { '*': string } }>('/*', async (request, reply) => {
    const name = request.params['*'];
    const isLink = request.headers.accept?.includes('text/html') === true && isShortLink(name);
    if (!isLink) return reply.callNotFound();
    const { search } = new URL(request.url, 'http://localhost');
    return reply.redirect(`/?image=${readable(name)}${search.replace('?', '&')}`, 302);
  });
  // Created for the first request, because few services get one, and the document takes a tenth of the startup time.
  const apiPage = byOrigin((origin) =>
    pageOf(renderApiPage(app.swagger() as ApiDocument, listErrors(), web.assets, origin)),
  );
  app.get('/api', { config: { counts: 'requests' } }, async (request, reply) => {
    const origin = ownAddress(request, addresses())?.origin ?? '';
    return sendFile(request, reply.header('cache-control', 'no-cache'), apiPage(origin));
  });
}

function isAllowedBy(allowlist: Allowlist) {
  return (reference: Reference): boolean => {
    try {
      allowlist.check(reference);
      return true;
    } catch {
      return false;
    }
  };
}

type PageQuery = Readonly<Record<string, string | string[] | undefined>>;

/**
 * Returns a function that describes the requested images for programs that run no scripts. It counts as a request, as
 * the same question to the API does. Without an answer in time, the page names the images only.
 */
function createDescribe({ catalogue, allowlist, limits, count, traits }: PortalOptions) {
  return async (
    request: FastifyRequest<{ Querystring: PageQuery }>,
    reply: FastifyReply,
  ): Promise<AskedImages> => {
    const { image = [], myimage = [] } = request.query;
    const images = [image, myimage].flat().filter((name) => name.trim() !== '');
    const references = images.map(referenceOrNone);
    const [reference] = references;
    const { platform, ...others } = chosenIn(request.query);
    const isValid = references.every((one) => one !== undefined) && images.length > 0;
    const asked = {
      ...{ images, refusal: images.map(whyInvalid).find((error) => error !== undefined) },
      downloadUrl: isValid ? downloadUrl({ ...others, platform, myimage: images }) : undefined,
    };
    const isPlain = images.length === 1 && Object.keys(others).length === 0;
    if (!isPlain || reference === undefined || traits.preparesArchives)
      return { ...asked, details: undefined };
    const signal = AbortSignal.any([abortOnDisconnect(reply), AbortSignal.timeout(DESCRIBE_TIMEOUT_MS)]);
    try {
      await count(request, reply);
      allowlist.check(reference);
      const allowance = downloadLimits(limits, request, signal);
      const query = {
        reference,
        platform: typeof platform === 'string' ? parsePlatform(platform) : undefined,
        format: DEFAULT_FORMAT,
      };
      const slot = { ...query, references: [reference], have: undefined };
      const onCostly = () => allowance.takeSlot(slot);
      const { client } = allowance;
      return {
        ...asked,
        details: await catalogue.describe({ ...query, isFormatOpen: true, client, onCostly }, signal),
      };
    } catch (error) {
      // A registry that fails now may respond when the visitor downloads.
      const isRefusal = error instanceof ServiceError && error.status < 500;
      return { ...asked, details: undefined, refusal: isRefusal ? error : undefined };
    }
  };
}

function whyInvalid(name: string): ServiceError | undefined {
  try {
    parseReference(name);
    return undefined;
  } catch (error) {
    return error instanceof ServiceError ? error : undefined;
  }
}

/** The parameters that the page and a download share, beside the images. */
const SHARED = ['platform', 'format', 'squash', 'referrers', 'have', 'parts'] as const;

/** Returns the choices in the URL of the page, valid or not. With `parts`, the link downloads the first part. */
function chosenIn(query: PageQuery): Omit<DownloadQuery, 'myimage'> {
  const chosen = SHARED.flatMap((name) => (query[name] ? [[name, query[name]]] : []));
  return Object.fromEntries([...chosen, ...(query.parts ? [['part', '1']] : [])]);
}

/** Paths of this service, which are not names of images even if they have that form. */
const RESERVED = /^(?:dl|file|api|v2|assets|metrics|healthz|readyz|\.well-known)(?:\/|$)|^[\w-]+\.[a-z]+$/;

/** Checks whether a path names an image. `/favicon.ico` and `/robots.txt` do not. */
function isShortLink(path: string): boolean {
  return !RESERVED.test(path) && referenceOrNone(path) !== undefined;
}

function readable(name: string): string {
  return encodeURIComponent(name).replace(/%(?:2F|3A|40)/g, decodeURIComponent);
}

/** Serves the files from the disk, or from memory if they were compressed at start. */
async function serveAssets(app: FastifyInstance, web: WebFolder): Promise<void> {
  const names = readdirSync(web.root).filter(isAsset);
  const assets = new Map(
    names.map((name) => [
      `${web.assets}/${name}`,
      packText(compact(readFileSync(join(web.root, name), 'utf8'))),
    ]),
  );
  await app.register(fastifyStatic, {
    root: web.root,
    prefix: web.assets,
    wildcard: false,
    index: false,
    decorateReply: false,
    // A range would apply to the uncompressed file on the disk.
    acceptRanges: false,
    maxAge: '365d',
    immutable: true,
    allowedPath: (path) => isAsset(path.replace(/^\//, '')),
  });
  app.addHook('onSend', async (request, reply, payload) => {
    const asset = assets.get(request.routeOptions.url ?? '');
    if (asset === undefined) return payload;
    reply.header('vary', 'accept-encoding');
    if (reply.statusCode !== 200) return payload;
    if (payload instanceof Readable) payload.destroy();
    const content = negotiateEncoding(request, reply, asset);
    reply.header('content-length', content.length);
    return content;
  });
}

/** Removes comments at the beginning of lines, and indentation. No text in a file may span lines. */
function compact(text: string): string {
  return text.replace(/^\t*(?:\/\*[\s\S]*?\*\/[ \t]*\n?|\/\/.*\n)/gm, '').replace(/^\t+/gm, '');
}

/** Computes a value again after its input has changed, such as by a SIGHUP. */
function renewed<From, Made>(from: () => From, make: (current: From) => Made): () => Made {
  let made: { key: string; value: Made } | undefined;
  return () => {
    const current = from();
    const key = JSON.stringify(current);
    if (made?.key !== key) made = { key, value: make(current) };
    return made.value;
  };
}
