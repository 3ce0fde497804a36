import type { FastifyInstance } from 'fastify';
import type { Readiness } from '../telemetry/readiness.ts';

export interface HealthOptions {
  readonly readiness: Readiness;
}

/**
 * `GET /healthz`: 200 while the process responds. `GET /readyz`: 200 if all parts work, otherwise 503, with the status
 * of each part.
 */
export async function healthRoutes(app: FastifyInstance, { readiness }: HealthOptions): Promise<void> {
  app.get('/healthz', { config: { counts: 'nothing' } }, async (_request, reply) =>
    reply.header('cache-control', 'no-store').send({ status: 'ok' }),
  );
  app.get('/readyz', { config: { counts: 'nothing' } }, async (_request, reply) => {
    const { isReady, checks } = await readiness();
    const parts = Object.entries(checks).map(([name, { isReady: ready, details }]) => [
      name,
      { ready, ...details },
    ]);
    return reply
      .status(isReady ? 200 : 503)
      .header('cache-control', 'no-store')
      .send({ status: isReady ? 'ready' : 'not ready', checks: Object.fromEntries(parts) });
  });
}
