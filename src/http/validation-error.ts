import type { FastifySchemaValidationError } from 'fastify/types/schema.js';
import { CatalogueError, quote } from '../errors.ts';

/** Says which parameter of a request breaks the schema of its route, and how. */
export function validationError([first]: readonly FastifySchemaValidationError[]): CatalogueError {
  const { keyword, params = {}, instancePath = '', message = 'is wrong' } = first ?? {};
  if (keyword === 'additionalProperties') {
    const name = quote(`${params.additionalProperty}`);
    return new CatalogueError('parameter-unknown', `There is no parameter ${name} here.`, {
      reason: `Unknown parameter ${name}`,
    });
  }
  if (keyword === 'required') return invalid(`The parameter ${params.missingProperty} is missing`);
  const [, name = ''] = instancePath.split('/');
  return invalid(`The parameter ${name} ${message}`);
}

function invalid(sentence: string): CatalogueError {
  return new CatalogueError('parameter-invalid', `${sentence}.`, { reason: sentence });
}
