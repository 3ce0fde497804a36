import type { DialOptions } from 'docker-modem';
import type Docker from 'dockerode';
import { isJsonObject, type JsonObject } from '../../oci/json.ts';

/** Milliseconds for a response that the engine gives without a registry. */
export const TIMEOUT_MS = 60_000;
/** Milliseconds. An engine unpacks a large layer, and writes a large image, without any output. */
export const LONGEST_SILENCE_MS = 30 * 60_000;

export const GET = {
  method: 'GET',
  statusCodes: { 200: true, 404: 'not found', 500: 'server error' },
} as const;

/** Sends a request for which dockerode has no method, or only one that ignores the query or the signal. */
export function dial(docker: Docker, request: DialOptions, abortSignal: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    docker.modem.dial({ ...request, abortSignal }, (error: unknown, data: unknown) =>
      error ? reject(error) : resolve(data),
    );
  });
}

/** Reads a JSON object. */
export async function get(
  docker: Docker,
  path: string,
  query: Record<string, string>,
  signal: AbortSignal,
): Promise<JsonObject> {
  const data = await dial(docker, { ...GET, path: `${path}?`, options: query }, limited(signal));
  if (isJsonObject(data)) return data;
  throw new Error(`The engine's response to ${path} is not a JSON object`);
}

/** Limits a call by the timeout, too. */
export function limited(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
}

/** Compares versions of the API, such as 1.9 and 1.41. */
export function isAtLeast(version: string, wanted: string): boolean {
  const [[major = 0, minor = 0], [wantedMajor = 0, wantedMinor = 0]] = [version, wanted].map((text) =>
    text.split('.').map(Number),
  ) as [number[], number[]];
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}
