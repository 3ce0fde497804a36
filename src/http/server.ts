import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import { portal } from './plugins/portal.ts';
import { answerError, answerProblems } from './plugins/problems.ts';
import { type DownloadOptions, downloadRoutes } from './routes/download.ts';
import { healthRoutes } from './routes/health.ts';
import { infoRoutes, type ServiceInfo } from './routes/info.ts';
import { statusRoutes } from './routes/status.ts';

export interface ServerOptions extends DownloadOptions {
  readonly logger: FastifyBaseLogger;
  readonly info: ServiceInfo;
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
  source,
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
  });
  answerProblems(app);
  await app.register(healthRoutes);
  await app.register(downloadRoutes, { source, allowlist });
  await app.register(statusRoutes, { source, allowlist });
  await app.register(infoRoutes, { info });
  await app.register(portal);
  return app;
}
