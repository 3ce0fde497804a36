import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { checksumFile } from '../../download/checksum-file.ts';
import { type Checksums, createChecksums } from '../../download/checksums.ts';
import { metalinkFile } from '../../download/metalink-file.ts';
import { openDownload } from '../../download/open-download.ts';
import { type FileQuery, namedImages, parseArchivePath, parseArchiveQuery } from '../../download/query.ts';
import type { QueryString } from '../../download/read-parameters.ts';
import { unknownLength } from '../../download/selection.ts';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { Limits } from '../../limits/limits.ts';
import { isSeveral } from '../../oci/platform-choice.ts';
import type { Allowlist } from '../../policy/allowlist.ts';
import { presented } from '../../registry/client-credential.ts';
import type { ImageSource } from '../../sources/image-source.ts';
import { createMemoryCaches, type MemoryCaches } from '../../util/memory-caches.ts';
import type { Drain } from '../listener/drain.ts';
import { credentialFor } from '../plugins/credentials.ts';
import { abortOnDisconnect } from '../protocol/client-abort.ts';
import type { HttpMetrics } from '../protocol/metrics-port.ts';
import type { Addresses } from '../protocol/own-address.ts';
import { replyArchive, replyLive } from './archive-reply.ts';
import { type Exchange, isGet } from './exchange.ts';
import { addressesOf } from './file-addresses.ts';
import { replyHashed } from './hashed-reply.ts';
import { withInterimResponses } from './interim-responses.ts';
import { downloadLimits } from './limits.ts';
import { downloadOf, observeDownload } from './observer.ts';
import { noDigestUrl, redirectToDigests } from './redirect.ts';

export interface DownloadOptions {
  readonly source: ImageSource;
  readonly checksums: Checksums;
  readonly allowlist: Allowlist;
  readonly limits: Limits;
  /** Maximum bytes of layers that a HEAD or API request reads. */
  readonly contentsOnDemand: number;
  readonly addresses: () => Addresses;
  readonly meter: HttpMetrics;
  readonly drain: Drain;
}

/**
 * `GET|HEAD /dl?myimage=REF`, `GET|HEAD /dl/REF.tar`, for its checksum `GET|HEAD /dl/REF.tar.sha256`, and for its
 * metalink `GET|HEAD /dl/REF.tar.meta4`. With credentials, also `POST /dl?myimage=REF` with a form.
 *
 * @param options.generator the program that metalinks name: `DockerProxy/1.0.0`
 */
export async function downloadRoutes(
  app: FastifyInstance,
  options: DownloadOptions & { readonly generator: string; readonly acceptsCredentials?: boolean },
): Promise<void> {
  const { source, allowlist, limits, generator } = options;
  const { traits } = source;
  app.route<{ Querystring: QueryString }>({
    method: ['GET', 'HEAD'],
    url: '/dl',
    config: { counts: 'requests' },
    handler: (request, reply) => download(request, reply, parseArchiveQuery(request.query)),
  });
  app.route<{ Querystring: QueryString; Params: { '*': string } }>({
    method: ['GET', 'HEAD'],
    url: '/dl/*',
    config: { counts: 'requests' },
    handler: (request, reply) =>
      download(request, reply, parseArchivePath(request.params['*'], request.query)),
  });

  if (options.acceptsCredentials) {
    app.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string' },
      (_request, body, done) => done(null, new URLSearchParams(`${body}`)),
    );
    // The form of the page, which has the credentials in its body. A URL would be in histories and logs.
    app.route<{ Querystring: QueryString; Body: URLSearchParams | null }>({
      method: 'POST',
      url: '/dl',
      config: { counts: 'requests', takesForm: true },
      handler: (request, reply) => {
        const { body } = request;
        const [user, password] = [body?.get('user'), body?.get('password')];
        if (!user || !password) throw new ServiceError('credentials-invalid', detail('form-incomplete', {}));
        request.credentials?.present(presented(user, password));
        return download(request, reply, parseArchiveQuery(request.query));
      },
    });
  }

  const download = async (
    request: FastifyRequest,
    reply: FastifyReply,
    query: FileQuery,
  ): Promise<FastifyReply> => {
    const signal = abortOnDisconnect(reply);
    const isArchive = query.kind === 'archive' || query.kind === 'part';
    const isObserved = isArchive && request.method !== 'HEAD';
    const exchange: Exchange = {
      ...{ request, reply, query, signal },
      limits: downloadLimits(limits, request, signal),
      observer: isObserved
        ? observeDownload(request, reply, downloadOf(query.references), options)
        : undefined,
    };
    try {
      return await replyTo(exchange);
    } catch (error) {
      exchange.observer?.fail(error);
      throw error;
    }
  };

  const replyTo = async (exchange: Exchange): Promise<FastifyReply> => {
    const { request, reply, query, limits: own, signal } = exchange;
    for (const reference of namedImages(query)) allowlist.check(reference);
    const credential = await credentialFor(request, query.references);
    if (query.kind === 'redirect' && !traits.isReproducible) throw noDigestUrl();
    // A request for several platforms costs hundreds of requests to a registry, even for HEAD.
    const isCostly = traits.preparesArchives || isSeveral(query.platform);
    if (isCostly || (isGet(exchange) && query.kind !== 'redirect')) await own.takeSlot(query);
    const reading = own.reading(query, isGet(exchange) ? undefined : options.contentsOnDemand);
    const onCostly = () => own.takeSlot(query);
    const asked = { ...query, client: own.client, credential, reading, onCostly };
    if (query.kind === 'redirect') {
      const found = await source.open({ ...asked, reading: 'none' }, signal);
      return redirectToDigests(reply, query, query.target, found);
    }
    const opened = await withInterimResponses(reply.raw, openDownload(source, asked, signal));
    if (opened.kind === 'live') {
      if (query.kind !== 'archive') throw unknownLength();
      return replyLive(exchange, opened.archive);
    }
    const { archive } = opened;
    // Checksums of private images are not remembered, and no other address has them without credentials.
    const checksums = credential === undefined ? options.checksums : createChecksums(undefined, noCaches());
    const all = options.addresses();
    const places = { addresses: credential === undefined ? all : { ...all, replicas: [] }, traits };
    const addresses = addressesOf(request, query, archive, places);
    switch (query.kind) {
      case 'checksum':
        return replyHashed(exchange, archive, checksumFile(opened, query.savedAs), checksums);
      case 'metalink':
        return replyHashed(exchange, archive, metalinkFile(opened, { addresses, generator }), checksums);
      case 'archive':
      case 'part':
        return replyArchive(exchange, opened, { addresses, checksums });
    }
  };
}

/** The caches of one response, which nothing else uses. */
function noCaches(): MemoryCaches {
  return createMemoryCaches(() => performance.now());
}
