import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';

export interface MetricsPage {
  readonly contentType: string;
  text(): Promise<string>;
}

/** `GET /metrics` on a listener of its own: what it tells is the operator's alone. Its end waits for nobody. */
export function createMetricsServer(metrics: MetricsPage, logger: FastifyBaseLogger): FastifyInstance {
  const app: FastifyInstance = fastify({
    loggerInstance: logger,
    forceCloseConnections: true,
    logController: new LogController({ disableRequestLogging: true }),
  });
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
  return app;
}
