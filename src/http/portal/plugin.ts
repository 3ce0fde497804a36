import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';
import { listErrors } from '../../errors.ts';
import type { SourceTraits } from '../../sources/image-source.ts';
import type { ServiceInfo } from '../api/info.ts';
import { type ApiDocument, renderApiPage } from '../api/page.ts';
import { askedProtocol } from '../protocol/asked-origin.ts';
import { negotiateEncoding, packText, type StaticFile, sendFile } from '../protocol/packed-text.ts';
import {
  isAsset,
  LANGUAGES,
  languageCookie,
  languageOf,
  preferredLanguage,
  type WebFolder,
} from '../web-assets.ts';
import { pageOf, renderPages } from './page.ts';

export interface PortalOptions {
  readonly web: WebFolder;
  readonly info: () => ServiceInfo;
  readonly traits: SourceTraits;
}

/**
 * Serves the portal from web/. The page at `/` is in the language of the browser, or that of `?lang=`. Its assets are
 * under a hash of their content, cacheable for a year. Everything is read, rendered, and compressed at start.
 */
export async function portal(app: FastifyInstance, { web, info, traits }: PortalOptions): Promise<void> {
  const pages = renewed(info, (current) => renderPages(web, current, traits));
  pages();
  await serveAssets(app, web);
  app.get<{ Querystring: Record<string, string | string[] | undefined> }>('/', async (request, reply) => {
    const { lang, image, myimage } = request.query;
    const chosen = languageOf(lang);
    if (chosen !== undefined)
      reply.header('set-cookie', languageCookie(chosen, askedProtocol(request) === 'https'));
    const { plain, deep } = pages()[chosen ?? preferredLanguage(request.raw) ?? LANGUAGES[0]];
    const page = image === undefined && myimage === undefined ? plain : deep;
    reply.header('cache-control', 'no-cache');
    return sendFile(request, reply, page, ['accept-language', 'cookie']);
  });
  // All routes are known once the server is ready, and not before.
  let apiPage: StaticFile | undefined;
  app.addHook('onReady', async () => {
    apiPage = pageOf(renderApiPage(app.swagger() as ApiDocument, listErrors(), web.assets));
  });
  app.get('/api', { config: { counts: 'requests' } }, async (request, reply) => {
    if (apiPage === undefined) return reply.callNotFound();
    return sendFile(request, reply.header('cache-control', 'no-cache'), apiPage);
  });
}

/** Serves the files from the disk, and from memory where they were compressed at start. */
async function serveAssets(app: FastifyInstance, web: WebFolder): Promise<void> {
  const names = readdirSync(web.root).filter(isAsset);
  const assets = new Map(
    names.map((name) => [`${web.assets}/${name}`, packText(readFileSync(join(web.root, name)))]),
  );
  await app.register(fastifyStatic, {
    root: web.root,
    prefix: web.assets,
    wildcard: false,
    index: false,
    decorateReply: false,
    // A range would be one of the file as it is on the disk.
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

/** Makes something again whenever what it is made from has changed, as by a SIGHUP. */
function renewed<From, Made>(from: () => From, make: (current: From) => Made): () => Made {
  let made: { key: string; value: Made } | undefined;
  return () => {
    const current = from();
    const key = JSON.stringify(current);
    if (made?.key !== key) made = { key, value: make(current) };
    return made.value;
  };
}
