import helmet from '@fastify/helmet';
import type { FastifyInstance } from 'fastify';

/**
 * Tells browsers what these pages need, so that nothing else runs in them: no inline script or style, no frame, nothing
 * from elsewhere. HSTS belongs to whoever knows of the certificate.
 *
 * @see https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP
 */
export async function securityHeaders(app: FastifyInstance): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'"],
        connectSrc: ["'self'"],
        formAction: ["'self'"],
        baseUri: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
    strictTransportSecurity: false,
    xFrameOptions: { action: 'deny' },
    referrerPolicy: { policy: 'no-referrer' },
  });
}
