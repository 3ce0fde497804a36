import type { FastifySchemaValidationError } from 'fastify/types/schema.js';
import { invalidParameter } from '../../download/read-parameters.ts';
import { type Detail, detail } from '../../errors/details.ts';
import { quote, ServiceError } from '../../errors.ts';

/** Returns the error for a request that violates the schema of its route. */
export function validationError(errors: readonly FastifySchemaValidationError[]): ServiceError {
  const [{ keyword = '', params = {}, instancePath = '' } = {}] = errors;
  if (keyword === 'additionalProperties') {
    const text = quote(`${params.additionalProperty}`);
    return new ServiceError('parameter-unknown', detail('parameter-unexpected', { text }), {
      reason: `Unknown parameter ${text}`,
    });
  }
  const missing = keyword === 'required' ? `${params.missingProperty}` : undefined;
  const [, name = ''] = instancePath.split('/');
  const option = { parameter: missing ?? name };
  return invalidParameter(
    missing === undefined ? violation(option, errors) : detail('option-missing', { option }),
  );
}

/** Describes the violated rule. */
function violation(
  option: { readonly parameter: string },
  errors: readonly FastifySchemaValidationError[],
): Detail {
  const [{ keyword = '', params = {} } = {}] = errors;
  const limit = Number(params.limit);
  // A union of texts has an error for each.
  const allowed = errors.flatMap(({ params: { allowedValue } }) =>
    allowedValue === undefined ? [] : [`${allowedValue}`],
  );
  if (keyword === 'const') return detail('option-choice', { option, choices: { anyOf: allowed } });
  if (keyword === 'type') return detail('option-repeated', { option });
  if (keyword === 'minLength' && limit === 1) return detail('option-empty', { option });
  if (keyword === 'minLength') return detail('option-short', { option, limit });
  if (keyword === 'maxLength') return detail('option-long', { option, limit });
  if (keyword === 'maxItems') return detail('option-often', { option, limit });
  return detail('option-wrong', { option });
}
