import { parseRetryAfter } from '../../util/retry-after.ts';

/** A request as `@root/acme` makes it; its body is text already. */
export interface AcmeRequest {
  readonly url: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/** A response as `@root/acme` expects it: JSON is parsed, anything else stays text. */
export interface AcmeResponse {
  readonly statusCode: number;
  readonly headers: Record<string, string>;
  readonly body: unknown;
}

/**
 * A problem that an authority reports.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-6.7
 */
export interface AcmeProblem {
  /** Such as `urn:ietf:params:acme:error:rateLimited`. */
  readonly type: string;
  readonly detail: string;
  readonly status: number;
  /** True if the request itself was refused, rather than the challenge or order that it reads. */
  readonly isOfRequest: boolean;
  /** Milliseconds; undefined if the authority states no time. */
  readonly retryAfter: number | undefined;
}

/**
 * Tells whether an authority may have refused a request because of the account that signed it. Boulder and pebble report
 * `malformed` if the account has another key, as after a key roll-over by another client.
 */
export function isAccountProblem({ type, isOfRequest }: AcmeProblem): boolean {
  return isOfRequest && /:(?:accountDoesNotExist|unauthorized|malformed)$/.test(type);
}

/** An error response of the authority. `@root/acme` reads `urn` and `status`. */
export class AcmeProblemError extends Error {
  override readonly name = 'AcmeProblemError';
  readonly problem: AcmeProblem;
  readonly urn: string;
  readonly status: number;
  /** The nonce for the next attempt; undefined if the response had none. */
  readonly nonce: string | undefined;

  constructor(problem: AcmeProblem, nonce?: string) {
    super(problem.detail);
    this.problem = problem;
    this.nonce = nonce;
    this.urn = problem.type;
    this.status = problem.status;
  }
}

/** Bytes. A chain of certificates has a few thousand. */
const LARGEST_BODY = 1 << 20;

/**
 * Makes one request to the authority. Unlike the transport of `@root/acme`, it aborts a request whose response does not
 * start or end in time, and treats every status from 400 as an error.
 *
 * @param timeout milliseconds, from the connection to the last byte
 * @throws AcmeProblemError, or what `fetch` throws
 */
export async function acmeFetch(
  { url, method = 'GET', headers = {}, body }: AcmeRequest,
  timeout: number,
): Promise<AcmeResponse> {
  const signal = AbortSignal.timeout(timeout);
  const response = await fetch(url, { method, headers, body: body ?? null, signal, redirect: 'error' });
  const text = await readBody(response);
  const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '');
  const parsed: unknown = isJson && text !== '' ? JSON.parse(text) : text;
  if (response.status >= 400) {
    const retryAfter = parseRetryAfter(response.headers.get('retry-after'), Date.now());
    const problem = { ...problemOf(parsed, response.status), isOfRequest: true, retryAfter };
    throw new AcmeProblemError(problem, response.headers.get('replay-nonce') ?? undefined);
  }
  return { statusCode: response.status, headers: Object.fromEntries(response.headers), body: parsed };
}

/**
 * Reads problem details, including those in a failed challenge or order.
 *
 * @param answered the status of the response, used if the problem states none
 */
export function problemOf(body: unknown, answered: number): Omit<AcmeProblem, 'isOfRequest'> {
  const { type, detail, status } = Object(body) as Record<string, unknown>;
  return {
    type: typeof type === 'string' ? type : '',
    detail: typeof detail === 'string' ? detail : '',
    status: typeof status === 'number' ? status : answered,
    retryAfter: undefined,
  };
}

async function readBody(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > LARGEST_BODY) throw new Error('The answer of the authority is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
