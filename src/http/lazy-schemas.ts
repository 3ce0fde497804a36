import ajvCompiler from '@fastify/ajv-compiler';
import stringifyCompiler from '@fastify/fast-json-stringify-compiler';
import type { FastifyInstance } from 'fastify';
import type { FastifyValidationResult } from 'fastify/types/schema.js';

/**
 * Compiles the schemas of a route at its first request or response. Fastify would compile all schemas at the start, which
 * takes a quarter of the startup time.
 */
export function compileSchemasLazily(app: FastifyInstance): void {
  // Unknown parameters are refused, not removed, because a request is never partly ignored. Don't validate the schemas
  // themselves, because Ajv would compile the schema of schemas for that.
  const customOptions = { removeAdditional: false, validateSchema: false };
  const validators = once(() => ajvCompiler()({}, { customOptions }));
  const serializers = once(() => stringifyCompiler()(app.getSchemas()));
  app.setValidatorCompiler((route) => {
    const compiled = once((): FastifyValidationResult => validators()(route));
    const validate: FastifyValidationResult = (value) => {
      const result = compiled()(value);
      // Fastify reads the errors from the function.
      validate.errors = compiled().errors ?? null;
      return result;
    };
    return validate;
  });
  app.setSerializerCompiler((route) => {
    const compiled = once(() => serializers()({ ...route, httpStatus: `${route.httpStatus}` }));
    return (value) => compiled()(value);
  });
}

/** Returns a function that creates a value when it is first called. */
function once<T>(create: () => T): () => T {
  let created: { readonly value: T } | undefined;
  return () => {
    created ??= { value: create() };
    return created.value;
  };
}
