import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type { AddressRange } from '../ip-address.ts';
import type { ClientList } from '../policy/client-list.ts';
import { admitClients } from './plugins/clients.ts';
import { openapi } from './plugins/openapi.ts';
import { portal } from './plugins/portal.ts';
import { answerError, answerProblems } from './plugins/problems.ts';
import { type DownloadOptions, downloadRoutes } from './routes/download.ts';
import { healthRoutes } from './routes/health.ts';
import { type CatalogueOptions, imageRoutes } from './routes/image.ts';
import { infoRoutes, type ServiceInfo } from './routes/info.ts';
import { type SearchOptions, searchRoutes } from './routes/search.ts';
import { statusRoutes } from './routes/status.ts';
import { tagsRoutes } from './routes/tags.ts';

export interface ServerOptions extends DownloadOptions, CatalogueOptions, SearchOptions {
  readonly logger: FastifyBaseLogger;
  readonly info: () => ServiceInfo;
  /** Proxies whose X-Forwarded-For tells who the client is. */
  readonly trustProxy: readonly AddressRange[];
  readonly clients: ClientList;
  /** Certificate and key in PEM; without them it speaks plain HTTP. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
}

/** Milliseconds in which a request's head must have come. */
const REQUEST_TIMEOUT_MS = 30_000;
/** Bytes that wait before a socket at most, beside the last chunk: a slow client must not make two wait. */
const SOCKET_BUFFER = 16 * 1024;

/** Builds the HTTP server: routes and plugins over a source of archives. */
export async function createServer({
  logger,
  info,
  tls,
  trustProxy,
  clients,
  source,
  catalogue,
  search,
  allowlist,
}: ServerOptions): Promise<FastifyInstance> {
  const app: FastifyInstance = fastify({
    loggerInstance: logger,
    https: tls === undefined ? null : { ...tls, minVersion: 'TLSv1.2', highWaterMark: SOCKET_BUFFER },
    logController: new LogController({ disableRequestLogging: true }),
    requestTimeout: REQUEST_TIMEOUT_MS,
    exposeHeadRoutes: true,
    frameworkErrors: answerError,
    // Nothing in a request is ignored: what a schema does not know is refused, not removed.
    ajv: { customOptions: { removeAdditional: false } },
    // Never a number of hops: whoever reaches the server past the proxy could claim any address.
    trustProxy: trustProxy.length > 0 && trustProxy.map(({ cidr }) => cidr),
  });
  answerProblems(app);
  admitClients(app, clients);
  await openapi(app, info().version);
  await app.register(healthRoutes);
  await app.register(downloadRoutes, { source, allowlist });
  await app.register(statusRoutes, { source, allowlist });
  await app.register(infoRoutes, { info });
  await app.register(imageRoutes, { catalogue, allowlist });
  await app.register(tagsRoutes, { catalogue, allowlist });
  await app.register(searchRoutes, { search, allowlist });
  await app.register(portal);
  return app;
}
