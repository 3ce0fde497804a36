/** A request as `@root/acme` makes it; its body is text already. */
export interface AcmeRequest {
  readonly url: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

/** An answer as `@root/acme` takes it: JSON is parsed, anything else stays text. */
export interface AcmeResponse {
  readonly statusCode: number;
  readonly headers: Record<string, string>;
  readonly body: unknown;
}

/**
 * What an authority says that went wrong.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-6.7
 */
export interface AcmeProblem {
  /** Such as `urn:ietf:params:acme:error:rateLimited`. */
  readonly type: string;
  readonly detail: string;
  readonly status: number;
  /** Milliseconds; absent where the authority does not say when to come back. */
  readonly retryAfter: number | undefined;
}

/** An answer of the authority that is none of those that were hoped for; `urn` and `status` are read by `@root/acme`. */
export class AcmeProblemError extends Error {
  override readonly name = 'AcmeProblemError';
  readonly problem: AcmeProblem;
  readonly urn: string;
  readonly status: number;

  constructor(problem: AcmeProblem) {
    super(problem.detail);
    this.problem = problem;
    this.urn = problem.type;
    this.status = problem.status;
  }
}

/** Bytes. A chain of certificates has a few thousand. */
const LARGEST_BODY = 1 << 20;

/**
 * Makes one request to the authority. Unlike the transport that `@root/acme` brings, it gives up on one that does not
 * answer or does not end, and takes every status from 400 on for an error.
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
    throw new AcmeProblemError({ ...problemOf(parsed), status: response.status, retryAfter });
  }
  return { statusCode: response.status, headers: Object.fromEntries(response.headers), body: parsed };
}

/** The type and the detail of problem details, also where they are those of a challenge that has failed. */
export function problemOf(body: unknown): Pick<AcmeProblem, 'type' | 'detail'> {
  const { type, detail } = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  return { type: typeof type === 'string' ? type : '', detail: typeof detail === 'string' ? detail : '' };
}

/**
 * Reads Retry-After, which is a number of seconds or a date.
 *
 * @returns milliseconds from now
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
 */
export function parseRetryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const delay = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(delay) && delay >= 0 ? delay : undefined;
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
