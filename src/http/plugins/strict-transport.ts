import type { FastifyInstance } from 'fastify';

/** Two years, which browsers recommend. Without subdomains, because other services may run there. */
const POLICY = 'max-age=63072000';

/**
 * Tells browsers to use only HTTPS from now on.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6797
 */
export function demandHttps(app: FastifyInstance): void {
  // Not in an `onSend` hook, because downloads bypass these.
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('strict-transport-security', POLICY);
    done();
  });
}
