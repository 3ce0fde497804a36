import type { SecureContextOptions, TlsOptions as TlsServerOptions } from 'node:tls';
import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type { ClientList } from '../policy/client-list.ts';
import type { AddressRange } from '../util/ip-address.ts';
import { createMemoryCaches, type MemoryCaches } from '../util/memory-caches.ts';
import { filesRoutes } from './api/files.ts';
import { type CatalogueOptions, imageRoutes } from './api/image.ts';
import { infoRoutes, type ServiceInfo } from './api/info.ts';
import { limitsRoutes } from './api/limits.ts';
import { openapi } from './api/openapi.ts';
import { type ReferrersOptions, referrersRoutes } from './api/referrers.ts';
import { type SearchOptions, searchRoutes } from './api/search.ts';
import { type TagsOptions, tagsRoutes } from './api/tags.ts';
import { deltaRoutes } from './download/delta-route.ts';
import { type FileOptions, fileRoutes } from './download/file-route.ts';
import { statusRoutes } from './download/progress-route.ts';
import { type DownloadOptions, downloadRoutes } from './download/route.ts';
import { type HealthOptions, healthRoutes } from './health.ts';
import { compileSchemasLazily } from './lazy-schemas.ts';
import { answerClientErrors } from './listener/client-error.ts';
import { type ConnectionLimits, limitConnections } from './listener/connections.ts';
import { closeGracefully } from './listener/graceful-close.ts';
import { parserOptions, type RequestTimeouts, TIMEOUTS } from './listener/parser-options.ts';
import { admitClients } from './plugins/clients.ts';
import { acceptCredentials } from './plugins/credentials.ts';
import { limitRequests } from './plugins/limits.ts';
import { type PressureLimits, shedLoad } from './plugins/load-shedding.ts';
import { measureRequests } from './plugins/measure.ts';
import { securityHeaders } from './plugins/security-headers.ts';
import { refuseOddRequests, refuseOtherRequests } from './plugins/strict-requests.ts';
import { demandHttps } from './plugins/strict-transport.ts';
import { portal } from './portal/plugin.ts';
import { answerError, answerProblems, catalogued } from './problems/plugin.ts';
import { RequestLogger } from './protocol/request-logger.ts';
import { sendRegistryError } from './registry-api/errors.ts';
import { type RegistryApiOptions, registryApiRoutes } from './registry-api/routes.ts';
import { readWebFolder } from './web-assets.ts';

export interface ServerOptions
  extends DownloadOptions,
    Pick<FileOptions, 'files'>,
    CatalogueOptions,
    ReferrersOptions,
    SearchOptions,
    Pick<TagsOptions, 'describeTags'>,
    HealthOptions {
  readonly logger: FastifyBaseLogger;
  readonly info: () => ServiceInfo;
  /** Proxies whose X-Forwarded-For states the address of the client. */
  readonly trustProxy: readonly AddressRange[];
  readonly clients: ClientList;
  readonly connections: ConnectionLimits;
  readonly pressure: PressureLimits;
  /** The caches that are emptied before requests are refused because memory is short. */
  readonly caches?: MemoryCaches;
  readonly timeouts?: RequestTimeouts;
  /** True if requests may bring credentials for private images. */
  readonly acceptsCredentials?: boolean;
  /** Absent if the registry API is off. */
  readonly registryApi?: RegistryApiSettings | undefined;
  /** Without it, it speaks plain HTTP. */
  readonly tls: TlsOptions | undefined;
}

/** The settings that only the registry API needs; it shares the others with downloads. */
export type RegistryApiSettings = Pick<
  RegistryApiOptions,
  'pulls' | 'defaultPlatform' | 'names' | 'loginRegistry'
>;

export interface TlsOptions {
  readonly context: SecureContextOptions;
  /** Selects the protocol of a connection. Without it, all connections speak HTTP/1.1. */
  readonly alpn?: TlsServerOptions['ALPNCallback'] | undefined;
  /** True if browsers accept the certificate. HSTS is sent only then. */
  readonly isTrusted: boolean;
}

const TLS_HANDSHAKE_TIMEOUT_MS = 15_000;
/** Bytes that wait before a socket at most, beside the last chunk: a slow client must not make two wait. */
const SOCKET_BUFFER = 16 * 1024;

/** Builds the HTTP server: routes and plugins over a source of archives. */
export async function createServer({
  logger,
  info,
  tls,
  readiness,
  trustProxy,
  clients,
  connections,
  pressure,
  caches = createMemoryCaches(() => performance.now()),
  timeouts = TIMEOUTS,
  source,
  checksums,
  catalogue,
  referrers,
  search,
  describeTags,
  allowlist,
  limits,
  contentsOnDemand,
  files,
  meter,
  drain,
  addresses,
  acceptsCredentials = false,
  registryApi,
}: ServerOptions): Promise<FastifyInstance> {
  const clientErrors = answerClientErrors(logger);
  const http = parserOptions(timeouts);
  const https = tls && {
    ...http,
    ...tls.context,
    ...(tls.alpn && { ALPNCallback: tls.alpn }),
    highWaterMark: SOCKET_BUFFER,
    handshakeTimeout: TLS_HANDSHAKE_TIMEOUT_MS,
  };
  const app: FastifyInstance = fastify({
    loggerInstance: logger,
    ...(https === undefined ? { http } : { https }),
    clientErrorHandler: clientErrors.handler,
    childLoggerFactory: (parent, bindings, options) => new RequestLogger(parent, bindings, options),
    logController: new LogController({ disableRequestLogging: true }),
    requestTimeout: timeouts.request,
    exposeHeadRoutes: true,
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) =>
      request.raw.url?.startsWith('/v2/')
        ? sendRegistryError(reply, catalogued(error))
        : answerError(error, request, reply),
    // Never a number of hops, because a client that bypasses the proxy could claim any address.
    trustProxy: trustProxy.length > 0 && trustProxy.map(({ cidr }) => cidr),
  });
  compileSchemasLazily(app);
  clientErrors.watch(app.server);
  limitConnections(app.server, connections, logger);
  closeGracefully(app, drain);
  measureRequests(app, meter);
  securityHeaders(app);
  acceptCredentials(app, {
    ...{ isOn: acceptsCredentials, isSupported: source.traits.isReproducible, limits },
  });
  if (tls?.isTrusted) demandHttps(app);
  refuseOddRequests(app);
  admitClients(app, clients);
  const web = readWebFolder();
  const count = await limitRequests(app, limits);
  answerProblems(app, count, web);
  refuseOtherRequests(app);
  await openapi(app, info());
  shedLoad(app, pressure, caches);
  await app.register(healthRoutes, { readiness });
  await app.register(downloadRoutes, {
    ...{ source, checksums, allowlist, limits, contentsOnDemand, meter, drain, addresses },
    ...{ acceptsCredentials, generator: `DockerProxy/${info().version}` },
  });
  await app.register(deltaRoutes, { source, allowlist, limits });
  const fileOptions = { files, allowlist, limits, contentsOnDemand, meter, drain };
  await app.register(fileRoutes, fileOptions);
  await app.register(filesRoutes, fileOptions);
  await app.register(statusRoutes, { source, allowlist, limits });
  await app.register(infoRoutes, { info });
  await app.register(imageRoutes, { catalogue, allowlist, limits });
  await app.register(referrersRoutes, { referrers, allowlist, limits });
  await app.register(tagsRoutes, { catalogue, describeTags, allowlist, limits });
  await app.register(searchRoutes, { search, allowlist });
  await app.register(limitsRoutes, { limits });
  if (registryApi !== undefined) {
    const parts = { catalogue, allowlist, limits, count, caches, meter, drain, addresses };
    await app.register(registryApiRoutes, { ...parts, ...registryApi });
  }
  const portalOptions = { web, info, traits: source.traits, catalogue, allowlist, limits, count, addresses };
  await app.register(portal, portalOptions);
  return app;
}
