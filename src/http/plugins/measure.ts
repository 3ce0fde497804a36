import type { FastifyInstance } from 'fastify';
import type { ServiceError } from '../../errors.ts';
import type { HttpMetrics } from '../protocol/metrics-port.ts';

declare module 'fastify' {
  interface FastifyReply {
    /** The status of an error response. */
    problem: ServiceError | undefined;
  }
}

const CLIENT_CLOSED_REQUEST = 499;

/** Counts requests and refusals. Call it on the root instance, before other hooks. */
export function measureRequests(app: FastifyInstance, meter: HttpMetrics): void {
  app.decorateReply('problem', undefined);
  app.addHook('onRequest', (request, reply, done) => {
    // Not onResponse, which Fastify does not call after a client has disconnected.
    reply.raw.on('close', () => {
      const status = reply.raw.headersSent ? reply.raw.statusCode : CLIENT_CLOSED_REQUEST;
      meter.answered(request.routeOptions.url ?? 'none', request.method, status);
      if (reply.problem === undefined) return;
      const { code, members } = reply.problem;
      const limit = [members['violated-policies'] ?? []].flat()[0];
      meter.refused(code, typeof limit === 'string' ? limit : undefined);
    });
    done();
  });
}
