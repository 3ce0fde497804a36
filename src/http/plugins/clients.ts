import type { FastifyInstance } from 'fastify';
import type { ClientList } from '../../policy/client-list.ts';
import { clientAddress } from '../client-address.ts';

/** Answers only whom the list lets in; health checks are answered to everyone. Call it on the root instance. */
export function admitClients(app: FastifyInstance, clients: ClientList): void {
  app.addHook('onRequest', async (request) => {
    if (isHealthCheck(request.routeOptions.url)) return;
    clients.check(clientAddress(request));
  });
}

export function isHealthCheck(route: string | undefined): boolean {
  return route === '/healthz' || route === '/readyz';
}
