import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { CountRequest } from '../plugins/limits.ts';
import type { WebFolder } from '../web-assets.ts';
import { sendProblem } from './problem.ts';
import { createRenderProblem } from './problem-page.ts';
import { createTranslate } from './translations.ts';
import { validationError } from './validation-error.ts';

/**
 * Answers every error, of ours or of the framework, from the catalogue. Call it on the root instance.
 *
 * @param countMiss counts a request that finds nothing
 */
export function answerProblems(app: FastifyInstance, countMiss: CountRequest, web: WebFolder): void {
  app.decorate('explainProblem', createTranslate(web));
  app.decorate('renderProblem', createRenderProblem(web));
  // The files of the portal are looked for once a request has passed the hooks that count.
  app.setNotFoundHandler({ preHandler: countMiss }, (_request, reply) =>
    sendProblem(reply, new ServiceError('route-not-found', detail('page-missing', {}))),
  );

  app.setErrorHandler(async (error: FastifyError, request, reply) => {
    // The client has disconnected, so no response is possible.
    if (error.name === 'AbortError' && reply.raw.destroyed) return reply.hijack();
    const { credentials } = request;
    return answerError((await credentials?.explain(catalogued(error))) ?? error, request, reply);
  });
}

/** Answers an error, also for a request without a route. */
export function answerError(
  error: FastifyError | ServiceError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const known = catalogued(error);
  if (known.code === 'internal-error') request.log.error({ err: error, url: request.url }, known.message);
  return sendProblem(reply, known);
}

/** Returns the ServiceError for any error. */
export function catalogued(error: Partial<FastifyError>): ServiceError {
  if (error instanceof ServiceError) return error;
  if (error.validation !== undefined) return validationError(error.validation);
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return new ServiceError('request-malformed', detail('request-unreadable', {}), { cause: error });
  }
  return new ServiceError('internal-error', detail('failure-internal', {}), { cause: error });
}
