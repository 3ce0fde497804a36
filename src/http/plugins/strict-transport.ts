import type { FastifyInstance } from 'fastify';

/** Two years, as browsers ask for. Without subdomains: they are not ours to speak for. */
const POLICY = 'max-age=63072000';

/**
 * Tells browsers to come by HTTPS alone from now on.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6797
 */
export function demandHttps(app: FastifyInstance): void {
  // A download is written past the hooks of sending, and a problem begins its headers again.
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('strict-transport-security', POLICY);
  });
  app.addHook('onSend', async (_request, reply) => {
    reply.header('strict-transport-security', POLICY);
  });
}
