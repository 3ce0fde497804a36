import { parseRetryAfter } from '../../retry-after.ts';
import { AcmeProblemError, type AcmeResponse } from './transport.ts';

/** The function of `@root/acme` through which each of its signed requests goes. */
export type JwsRequest = typeof import('@root/acme/utils.js')['_jwsRequest'];
type SignedRequest = Parameters<JwsRequest>[1];

/** The clock that polling goes by. */
export interface PollingClock {
  /** Milliseconds since the epoch. */
  now(): number;
  pause(milliseconds: number): Promise<void>;
}

/** How often a challenge or an order is read before its order is given up. */
export const POLLS = 120;
/** Milliseconds between two readings where the authority names no other time, and the longest that it may name. */
const POLL_MS = 1000;
const LONGEST_POLL_MS = 60_000;
/** How often a request is made whose nonce is refused; with one refused in two, one order in four thousand fails. */
const NONCE_ATTEMPTS = 16;
/** Retries after which `@root/acme` makes none. Its own come through the function that is wrapped here, so that they would multiply. */
const NO_RETRIES = 2;

/**
 * Makes `@root/acme` follow an order as RFC 8555 has it. By itself it finalizes an order before that is ready and again
 * while that is `processing`, takes the order's URL from an answer that need not have it, posts its answer to a challenge
 * again while that is `pending`, and answers challenges of authorizations that are valid already.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-7.4
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-7.5.1
 */
export function pollingRight(jwsRequest: JwsRequest, clock: PollingClock): JwsRequest {
  /** Finalize URLs → the URL of their order. */
  const orders = new Map<string, string>();
  /** URLs of challenges that need no answer. */
  const settled = new Set<string>();

  const post: JwsRequest = (acme, request) => withFreshNonces(() => jwsRequest(acme, request), request);
  const waitAsTold = async ({ headers }: AcmeResponse, already = 0): Promise<void> => {
    const asked = parseRetryAfter(headers['retry-after'], clock.now()) ?? POLL_MS;
    const pause = Math.min(Math.max(asked, POLL_MS), LONGEST_POLL_MS) - already;
    if (pause > 0) await clock.pause(pause);
  };

  /** Finalizes an order once, as soon as it is ready, and reads it until it is valid or invalid. */
  const finish = async (acme: object, request: SignedRequest, url: string): Promise<AcmeResponse> => {
    let isFinalized = false;
    let answer = await post(acme, { ...request, url, payload: '' });
    for (let poll = 1; poll < POLLS; poll += 1) {
      const status = statusOf(answer);
      if (status === 'ready' && !isFinalized) {
        const finalized = await post(acme, request).catch(unlessNotReady);
        isFinalized = finalized !== undefined;
        answer = finalized ?? answer;
        if (isFinalized && !UNFINISHED.has(statusOf(answer))) return answer;
      } else if (!UNFINISHED.has(status)) return answer;
      await waitAsTold(answer);
      answer = await post(acme, { ...request, url, payload: '' });
    }
    return answer;
  };

  return async (acme, request) => {
    if (settled.has(request.url)) return { statusCode: 200, headers: {}, body: { status: 'valid' } };
    const order = orders.get(request.url);
    if (order !== undefined) return finish(acme, request, order);
    const response = await post(acme, request);
    const { type, finalize } = Object(response.body) as Record<string, unknown>;
    if (typeof finalize === 'string' && response.headers.location !== undefined) {
      orders.set(finalize, response.headers.location);
    }
    const isChallenge = typeof type === 'string';
    if (isChallenge && UNFINISHED.has(statusOf(response))) {
      // `@root/acme` waits for a second by itself.
      await waitAsTold(response, POLL_MS);
      return withStatus(response, 'processing');
    }
    return settledChallenges(request.url, response, settled);
  };
}

/** States of an order, or of a challenge that was answered, that change by themselves. */
const UNFINISHED = new Set<unknown>(['pending', 'processing', 'ready']);

/**
 * Remembers challenges that are valid. An authorization may be valid by a challenge that this server can't answer, or
 * by none: then the authority has it from elsewhere, and `@root/acme` would find nothing to do for it.
 */
function settledChallenges(url: string, response: AcmeResponse, settled: Set<string>): AcmeResponse {
  const { status, challenges } = Object(response.body) as Record<string, unknown>;
  if (!Array.isArray(challenges)) return response;
  const listed = challenges as { readonly type?: unknown; readonly url: string; readonly status: string }[];
  const isSettled = status === 'valid';
  for (const challenge of listed) if (isSettled || challenge.status === 'valid') settled.add(challenge.url);
  if (!isSettled || listed.some(({ type, status }) => type === 'http-01' && status === 'valid')) {
    return response;
  }
  const stand = { type: 'http-01', url: `${url}#valid`, status: 'valid', token: '' };
  settled.add(stand.url);
  return { ...response, body: { ...(response.body as object), challenges: [stand] } };
}

async function withFreshNonces<T>(post: () => Promise<T>, request: SignedRequest): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    request._retries = NO_RETRIES;
    try {
      return await post();
    } catch (error) {
      if (!isProblem(error, 'badNonce') || attempt >= NONCE_ATTEMPTS) throw error;
    }
  }
}

/** What an order is finalized with that was read as ready a moment ago, from another machine of the authority. */
function unlessNotReady(error: unknown): undefined {
  if (!isProblem(error, 'orderNotReady')) throw error;
}

function isProblem(error: unknown, kind: string): boolean {
  return error instanceof AcmeProblemError && error.urn.endsWith(`:${kind}`);
}

function statusOf({ body }: AcmeResponse): unknown {
  return (Object(body) as { status?: unknown }).status;
}

function withStatus(response: AcmeResponse, status: string): AcmeResponse {
  return { ...response, body: { ...(response.body as object), status } };
}
