import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import { isJsonObject } from '../../oci/json.ts';

/** Explains to the operator, in the log, why an engine lacks blobs. */
export const MISSING_BLOBS =
  'An engine that has a layer in another compression does not pull it again. Remove the images that share layers with this one from the engine, or take images from their registries with --source registry.';

/** Converts an error from dockerode into a ServiceError. */
export function engineError(error: unknown, url: string): ServiceError {
  if (error instanceof ServiceError) return error;
  // Moby's getPushDescriptor answers this if no image for the platform has all its blobs.
  if (statusOf(error) === 404 && /no suitable export target/.test(messageOf(error))) {
    return new ServiceError('engine-failed', detail('engine-lacks-layers', {}), {
      reason: 'The engine lacks layers of the image',
      cause: new Error(`${messageOf(error)}. ${MISSING_BLOBS}`),
    });
  }
  if (statusOf(error) !== undefined) {
    return new ServiceError('engine-failed', detail('engine-refused', {}), {
      cause: error,
    });
  }
  const isOfNetwork = error instanceof Error && 'code' in error;
  if (isOfNetwork || (error instanceof Error && /aborted|hang up|timeout/i.test(error.message))) {
    return new ServiceError('engine-unreachable', detail('engine-silent', {}), {
      cause: new Error(`${url}: ${messageOf(error)}`),
    });
  }
  return new ServiceError('engine-failed', detail('engine-unreadable', {}), {
    cause: error,
  });
}

/** Tells whether the engine refused the version of the API, for example after an upgrade or a downgrade. */
export function isOfOtherVersion(error: unknown): boolean {
  return statusOf(error) === 400 && /client version \S+ is too (?:old|new)/.test(messageOf(error));
}

/** Returns the HTTP status of an error response. */
export function statusOf(error: unknown): number | undefined {
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
  return typeof status === 'number' ? status : undefined;
}

/** Returns the engine's own message without dockerode's additions. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return `${error}`;
  const said = 'json' in error && isJsonObject(error.json) ? error.json.message : undefined;
  return typeof said === 'string' ? said : error.message.replace(/^\(HTTP code \d+\) [^-]*- /, '').trim();
}
