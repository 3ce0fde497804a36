import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify';
import type { ClientList } from '../../policy/client-list.ts';
import { isLocalAddress, parseIpAddress } from '../../util/ip-address.ts';
import { clientAddress } from '../protocol/client-address.ts';

/** Refuses clients that the list does not allow, except for health checks. Call it on the root instance. */
export function admitClients(app: FastifyInstance, clients: ClientList): void {
  const warn = warnOfUntrustedProxies(app.log);
  app.addHook('onRequest', (request, _reply, done) => {
    warn(request);
    if (!isHealthCheck(request.routeOptions.url)) clients.check(clientAddress(request));
    done();
  });
}

/**
 * Warns once that all clients behind a proxy count as one. An operator's proxy has a near address, unlike a client that
 * forges the header from afar.
 */
function warnOfUntrustedProxies(log: FastifyBaseLogger): (request: FastifyRequest) => void {
  let isSaid = false;
  return ({ ip, headers, socket: { remoteAddress } }) => {
    if (isSaid || headers['x-forwarded-for'] === undefined || ip !== remoteAddress) return;
    const address = parseIpAddress(remoteAddress ?? '');
    if (address === undefined || !isLocalAddress(address)) return;
    isSaid = true;
    log.warn(
      { client: ip },
      `X-Forwarded-For from ${ip} does not count; if that is a proxy of yours, name it with --trust-proxy`,
    );
  };
}

export function isHealthCheck(route: string | undefined): boolean {
  return route === '/healthz' || route === '/readyz';
}
