import type { FastifySchemaValidationError } from 'fastify/types/schema.js';
import { quote, ServiceError } from '../../errors.ts';

/** Returns the error for a request that violates the schema of its route. */
export function validationError(errors: readonly FastifySchemaValidationError[]): ServiceError {
  const [first] = errors;
  const { keyword, params = {}, instancePath = '', message = 'is wrong' } = first ?? {};
  if (keyword === 'additionalProperties') {
    const name = quote(`${params.additionalProperty}`);
    return new ServiceError('parameter-unknown', `Unknown parameter ${name}.`, {
      reason: `Unknown parameter ${name}`,
    });
  }
  if (keyword === 'required') return invalid(`The parameter ${params.missingProperty} is missing`);
  const [, name = ''] = instancePath.split('/');
  return invalid(`The parameter ${name} ${rule(errors) ?? message}`);
}

/** Describes the violated rule, if the validator's own message is unclear. */
function rule(errors: readonly FastifySchemaValidationError[]): string | undefined {
  const [{ keyword = '', params = {} } = {}] = errors;
  // A union of texts has an error for each.
  const allowed = errors.flatMap(({ params: { allowedValue } }) => allowedValue ?? []);
  if (keyword === 'const') return `must be ${allowed.join(' or ')}`;
  if (keyword === 'type') return 'is given more than once';
  if (keyword === 'minLength' && params.limit === 1) return 'is empty';
  if (keyword === 'minLength') return `must have at least ${params.limit} characters`;
  if (keyword === 'maxLength') return `must have at most ${params.limit} characters`;
  if (keyword === 'maxItems') return `may be given at most ${params.limit} times`;
  return undefined;
}

function invalid(sentence: string): ServiceError {
  return new ServiceError('parameter-invalid', `${sentence}.`, { reason: sentence });
}
