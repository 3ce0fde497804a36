import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type { AddressRange } from '../ip-address.ts';
import type { ClientList } from '../policy/client-list.ts';
import { answerClientErrors } from './client-error.ts';
import { type ConnectionLimits, limitConnections } from './connections.ts';
import { admitClients } from './plugins/clients.ts';
import { limitRequests } from './plugins/limits.ts';
import { type PressureLimits, shedLoad, standardPressureLimits } from './plugins/load-shedding.ts';
import { openapi } from './plugins/openapi.ts';
import { portal } from './plugins/portal.ts';
import { answerError, answerProblems } from './plugins/problems.ts';
import { securityHeaders } from './plugins/security-headers.ts';
import { refuseOddRequests } from './plugins/strict-requests.ts';
import { type DownloadOptions, downloadRoutes } from './routes/download.ts';
import { healthRoutes } from './routes/health.ts';
import { type CatalogueOptions, imageRoutes } from './routes/image.ts';
import { infoRoutes, type ServiceInfo } from './routes/info.ts';
import { limitsRoutes } from './routes/limits.ts';
import { type SearchOptions, searchRoutes } from './routes/search.ts';
import { statusRoutes } from './routes/status.ts';
import { tagsRoutes } from './routes/tags.ts';

export interface ServerOptions extends DownloadOptions, CatalogueOptions, SearchOptions {
  readonly logger: FastifyBaseLogger;
  readonly info: () => ServiceInfo;
  /** Proxies whose X-Forwarded-For tells who the client is. */
  readonly trustProxy: readonly AddressRange[];
  readonly clients: ClientList;
  readonly connections: ConnectionLimits;
  readonly pressure?: PressureLimits;
  readonly timeouts?: RequestTimeouts;
  /** Certificate and key in PEM; without them it speaks plain HTTP. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
}

/** Milliseconds, from the connection or the last answer on. */
export interface RequestTimeouts {
  /** In which a request's head must have come. */
  readonly head: number;
  /** In which all of a request must have come, also while it is answered. */
  readonly request: number;
  /** How often is looked for those that have not. */
  readonly look: number;
}

const TIMEOUTS: RequestTimeouts = { head: 20_000, request: 30_000, look: 5_000 };
const TLS_HANDSHAKE_TIMEOUT_MS = 15_000;
/** Bytes. */
const MAX_HEADER_SIZE = 16 * 1024;
/** Bytes that wait before a socket at most, beside the last chunk: a slow client must not make two wait. */
const SOCKET_BUFFER = 16 * 1024;

/** Builds the HTTP server: routes and plugins over a source of archives. */
export async function createServer({
  logger,
  info,
  tls,
  trustProxy,
  clients,
  connections,
  pressure = standardPressureLimits(),
  timeouts = TIMEOUTS,
  source,
  catalogue,
  search,
  allowlist,
  limits,
  headCosts,
}: ServerOptions): Promise<FastifyInstance> {
  const clientErrors = answerClientErrors(logger);
  const http = {
    // Whatever the process was started with: two readers of one request must not understand it in two ways.
    insecureHTTPParser: false,
    // A request without one gets a problem, like all others.
    requireHostHeader: false,
    maxHeaderSize: MAX_HEADER_SIZE,
    headersTimeout: timeouts.head,
    requestTimeout: timeouts.request,
    connectionsCheckingInterval: timeouts.look,
  };
  const https = tls && {
    ...http,
    ...tls,
    minVersion: 'TLSv1.2' as const,
    highWaterMark: SOCKET_BUFFER,
    handshakeTimeout: TLS_HANDSHAKE_TIMEOUT_MS,
  };
  const app: FastifyInstance = fastify({
    loggerInstance: logger,
    ...(https === undefined ? { http } : { https }),
    clientErrorHandler: clientErrors.handler,
    logController: new LogController({ disableRequestLogging: true }),
    requestTimeout: timeouts.request,
    exposeHeadRoutes: true,
    frameworkErrors: answerError,
    // Nothing in a request is ignored: what a schema does not know is refused, not removed.
    ajv: { customOptions: { removeAdditional: false } },
    // Never a number of hops: whoever reaches the server past the proxy could claim any address.
    trustProxy: trustProxy.length > 0 && trustProxy.map(({ cidr }) => cidr),
  });
  clientErrors.watch(app.server);
  limitConnections(app.server, connections, logger);
  await securityHeaders(app);
  refuseOddRequests(app);
  admitClients(app, clients);
  answerProblems(app, await limitRequests(app, limits));
  await openapi(app, info().version);
  await shedLoad(app, pressure);
  await app.register(healthRoutes);
  await app.register(downloadRoutes, { source, allowlist, limits, headCosts });
  await app.register(statusRoutes, { source, allowlist, limits });
  await app.register(infoRoutes, { info });
  await app.register(imageRoutes, { catalogue, allowlist });
  await app.register(tagsRoutes, { catalogue, allowlist });
  await app.register(searchRoutes, { search, allowlist });
  await app.register(limitsRoutes, { limits });
  await app.register(portal);
  return app;
}
