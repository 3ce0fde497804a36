import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { type ChallengeOptions, challengeRoutes } from '../acme-challenge.ts';
import { type HealthOptions, healthRoutes } from '../health.ts';
import { refuseOddRequests, refuseOtherRequests } from '../plugins/strict-requests.ts';
import { answerError } from '../problems/plugin.ts';
import { parseHost } from '../protocol/host-header.ts';
import { answerClientErrors } from './client-error.ts';
import { type ConnectionLimits, limitConnections } from './connections.ts';
import type { Drain } from './drain.ts';
import { closeGracefully } from './graceful-close.ts';
import { parserOptions, TIMEOUTS } from './parser-options.ts';

export interface RedirectServerOptions extends ChallengeOptions, HealthOptions {
  readonly logger: FastifyBaseLogger;
  readonly connections: ConnectionLimits;
  readonly drain: Pick<Drain, 'over'>;
  /**
   * The allowed hosts of redirects. A request for another host is redirected to the first one. If empty, all hosts are
   * allowed.
   */
  readonly domains: readonly string[];
  /** Returns the port of HTTPS. */
  readonly httpsPort: () => number;
}

const HTTPS_PORT = 443;

/**
 * Builds the server for plain HTTP beside HTTPS: it serves challenges and health checks, and redirects everything else
 * to HTTPS.
 */
export async function createRedirectServer(options: RedirectServerOptions): Promise<FastifyInstance> {
  const { logger, connections, drain, domains, httpsPort, challenge, readiness } = options;
  const clientErrors = answerClientErrors(logger);
  const app: FastifyInstance = fastify({
    loggerInstance: logger,
    http: parserOptions(TIMEOUTS),
    clientErrorHandler: clientErrors.handler,
    logController: new LogController({ disableRequestLogging: true }),
    requestTimeout: TIMEOUTS.request,
    exposeHeadRoutes: true,
    return503OnClosing: false,
    frameworkErrors: answerError,
  });
  clientErrors.watch(app.server);
  limitConnections(app.server, connections, logger);
  closeGracefully(app, drain);
  refuseOddRequests(app);
  refuseOtherRequests(app);
  app.setErrorHandler(answerError);
  app.setNotFoundHandler((request, reply) => {
    const host = targetHost(request.headers.host, domains);
    if (host === undefined) {
      throw new ServiceError('request-malformed', detail('host-unnamed', {}));
    }
    const port = httpsPort();
    const origin = `https://${host}${port === HTTPS_PORT ? '' : `:${port}`}`;
    // The redirect is permanent, but must not be cached, because the operator may turn HTTPS off.
    return reply.header('cache-control', 'no-store').redirect(`${origin}${targetPath(request.url)}`, 308);
  });
  await app.register(healthRoutes, { readiness });
  await app.register(challengeRoutes, { challenge });
  return app;
}

/** Returns the host to redirect to: one of the domains, or the requested host if no domain is set. */
function targetHost(header: string | undefined, domains: readonly string[]): string | undefined {
  const host = parseHost(header)?.host;
  if (domains.length === 0) return host && new URL(`https://${host}`).hostname;
  return domains.find((domain) => domain === host) ?? domains[0];
}

/** Returns the path and query of the request, also if its target is a whole URL, as clients send it to proxies. */
function targetPath(url: string): string {
  if (url.startsWith('/')) return url;
  const { pathname = '/', search = '' } = URL.parse(url) ?? {};
  return `${pathname}${search}`;
}
