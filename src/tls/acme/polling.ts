import type { ChallengeType } from './challenge.ts';
import { FIRST_POLL_MS, pollDelay } from './poll-delay.ts';
import { AcmeProblemError, type AcmeResponse } from './transport.ts';

/** The function of `@root/acme` that sends every signed request. */
export type JwsRequest = typeof import('@root/acme/utils.js')['_jwsRequest'];
type SignedRequest = Parameters<JwsRequest>[1];

/** The clock for polling. */
export interface PollingClock {
  /** Milliseconds since the epoch. */
  now(): number;
  pause(milliseconds: number): Promise<void>;
}

/** How often a challenge or an order is polled before the order fails. */
export const POLLS = 120;
/**
 * Maximum attempts for a request whose nonce is refused. If half of all nonces are refused, one order in a million fails.
 */
const NONCE_ATTEMPTS = 24;
/**
 * A count at which `@root/acme` stops its own retries. They go through the function wrapped here, so they would
 * multiply.
 */
const NO_RETRIES = 2;

/**
 * Wraps the request function of `@root/acme` so that orders follow RFC 8555. By itself, `@root/acme` finalizes an order
 * before it is ready and again while it is `processing`. It reads the order's URL from a response that may lack it. It
 * also answers a challenge again while that is `pending`, and challenges of authorizations that are already valid.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-7.4
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-7.5.1
 */
export function pollingRight(
  jwsRequest: JwsRequest,
  clock: PollingClock,
  challenge: ChallengeType = 'http-01',
): JwsRequest {
  /** Maps finalize URLs to the URLs of their orders. */
  const orders = new Map<string, string>();
  /** URLs of challenges that need no response. */
  const settled = new Set<string>();

  const post: JwsRequest = (acme, request) => withFreshNonces(() => jwsRequest(acme, request), request);
  /** Polls of each challenge so far. */
  const challengePolls = new Map<string, number>();
  const waitAsTold = async ({ headers }: AcmeResponse, polls: number, already = 0): Promise<void> => {
    const pause = pollDelay(polls, headers['retry-after'], clock.now()) - already;
    if (pause > 0) await clock.pause(pause);
  };

  /** Finalizes an order once, as soon as it is ready, and polls it until it is valid or invalid. */
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
      await waitAsTold(answer, poll - 1);
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
      const already = challengePolls.get(request.url) ?? 0;
      challengePolls.set(request.url, already + 1);
      // `@root/acme` itself waits for the first interval.
      await waitAsTold(response, already, FIRST_POLL_MS);
      return withStatus(response, 'processing');
    }
    return settledChallenges(request.url, response, settled, challenge);
  };
}

/** States of an order or an answered challenge that the authority will change by itself. */
const UNFINISHED = new Set<unknown>(['pending', 'processing', 'ready']);

/**
 * Records valid challenges. An authorization may be valid through a challenge that this server can't answer, or without
 * one. Then a stand-in challenge is returned, because `@root/acme` would otherwise find no challenge to handle.
 */
function settledChallenges(
  url: string,
  response: AcmeResponse,
  settled: Set<string>,
  answered: ChallengeType,
): AcmeResponse {
  const { status, challenges } = Object(response.body) as Record<string, unknown>;
  if (!Array.isArray(challenges)) return response;
  const listed = challenges as { readonly type?: unknown; readonly url: string; readonly status: string }[];
  const isSettled = status === 'valid';
  for (const challenge of listed) if (isSettled || challenge.status === 'valid') settled.add(challenge.url);
  if (!isSettled || listed.some(({ type, status }) => type === answered && status === 'valid')) {
    return response;
  }
  const stand = { type: answered, url: `${url}#valid`, status: 'valid', token: '' };
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

/** Ignores `orderNotReady`: another machine of the authority reported the order as ready a moment ago. */
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
