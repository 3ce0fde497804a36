import { constants } from 'node:zlib';
import compress from '@fastify/compress';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { listErrors } from '../../errors.ts';
import { type ApiDocument, renderApiPage } from '../api-page.ts';
import { askedProtocol } from '../asked-origin.ts';
import { type Page, pageOf, renderPages } from '../portal-page.ts';
import { evaluatePreconditions } from '../preconditions.ts';
import type { ServiceInfo } from '../routes/info.ts';
import {
  isAsset,
  LANGUAGES,
  languageCookie,
  languageOf,
  preferredLanguage,
  type WebFolder,
} from '../web-folder.ts';

export interface PortalOptions {
  readonly web: WebFolder;
  readonly info: () => ServiceInfo;
}

/**
 * Serves the portal from web/: the page at `/`, in the language that the browser prefers or `?lang=` says, and its
 * assets under a hash of their content, to be kept for ever.
 */
export async function portal(app: FastifyInstance, { web, info }: PortalOptions): Promise<void> {
  const pages = renewed(info, (current) => renderPages(web, current));
  // Archives are compressed inside; nothing outside this plugin is.
  await app.register(compress, {
    encodings: ['br', 'gzip'],
    threshold: 256,
    brotliOptions: { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } },
  });
  await app.register(fastifyStatic, {
    root: web.root,
    prefix: web.assets,
    wildcard: false,
    index: false,
    decorateReply: false,
    maxAge: '365d',
    immutable: true,
    allowedPath: (path) => isAsset(path.replace(/^\//, '')),
  });
  app.get<{ Querystring: Record<string, string | string[] | undefined> }>('/', async (request, reply) => {
    const { lang, image, myimage } = request.query;
    const chosen = languageOf(lang);
    if (chosen !== undefined)
      reply.header('set-cookie', languageCookie(chosen, askedProtocol(request) === 'https'));
    const { plain, deep } = pages()[chosen ?? preferredLanguage(request.raw) ?? LANGUAGES[0]];
    const page = image === undefined && myimage === undefined ? plain : deep;
    return sendPage(request, reply.header('vary', 'accept-language, cookie'), page);
  });
  // All routes are known once the server is ready, and not before.
  let apiPage: Page | undefined;
  app.get('/api', async (request, reply) => {
    apiPage ??= pageOf(renderApiPage(app.swagger() as ApiDocument, listErrors(), web.assets));
    return sendPage(request, reply, apiPage);
  });
}

/** Makes something anew whenever what it is made from has changed, as by a SIGHUP. */
function renewed<From, Made>(from: () => From, make: (current: From) => Made): () => Made {
  let made: { key: string; value: Made } | undefined;
  return () => {
    const current = from();
    const key = JSON.stringify(current);
    if (made?.key !== key) made = { key, value: make(current) };
    return made.value;
  };
}

function sendPage({ headers }: FastifyRequest, reply: FastifyReply, { html, etag }: Page): FastifyReply {
  reply.headers({ 'cache-control': 'no-cache', etag: `W/${etag}` });
  const preconditions = { ifMatch: undefined, ifNoneMatch: headers['if-none-match'] };
  if (evaluatePreconditions(preconditions, etag) === 'not-modified') return reply.status(304).send();
  return reply.type('text/html; charset=utf-8').send(html);
}
