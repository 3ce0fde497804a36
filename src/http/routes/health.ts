import type { FastifyInstance } from 'fastify';

/** `GET /healthz`: 200 for as long as the process answers at all. */
export async function healthRoutes(app: FastifyInstance): Promise<void> {
  app.get('/healthz', async (_request, reply) =>
    reply.header('cache-control', 'no-store').send({ status: 'ok' }),
  );
}
