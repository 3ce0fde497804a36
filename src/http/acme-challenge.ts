import type { FastifyInstance } from 'fastify';
import { detail } from '../errors/details.ts';
import { ServiceError } from '../errors.ts';

export interface ChallengeOptions {
  /** Returns the key authorization of a token; undefined for an unknown challenge. */
  readonly challenge: (token: string) => Promise<string | undefined>;
}

/**
 * `GET /.well-known/acme-challenge/TOKEN`: the resource by which an ACME authority verifies the domain.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-8.3
 */
export async function challengeRoutes(app: FastifyInstance, { challenge }: ChallengeOptions): Promise<void> {
  app.get<{ Params: { token: string } }>('/.well-known/acme-challenge/:token', async (request, reply) => {
    const keyAuthorization = await challenge(request.params.token);
    if (keyAuthorization === undefined) {
      throw new ServiceError('route-not-found', detail('challenge-missing', {}));
    }
    return reply.header('cache-control', 'no-store').type('application/octet-stream').send(keyAuthorization);
  });
}
