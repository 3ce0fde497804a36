import type { FastifyInstance } from 'fastify';

/** Two years, which browsers recommend. Without subdomains, because other services may run there. */
const POLICY = 'max-age=63072000';

/**
 * Tells browsers to use only HTTPS from now on.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6797
 */
export function demandHttps(app: FastifyInstance): void {
  // In this hook, because downloads bypass the `onSend` hooks, and problems reset the headers.
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('strict-transport-security', POLICY);
  });
  app.addHook('onSend', async (_request, reply) => {
    reply.header('strict-transport-security', POLICY);
  });
}
