import { createGate } from '../../util/gate.ts';
import type { ChallengeType } from './challenge.ts';
import type { JwsRequest } from './polling.ts';

export interface AnswersOptions {
  readonly challenge: ChallengeType;
  /** Waits until the authority can see all answers that were presented. */
  readonly spread: () => Promise<void>;
}

/** Maximum number of concurrent requests. Let's Encrypt allows 20 a second. */
const AT_ONCE = 10;

/**
 * Wraps the request function of `@root/acme` so that all challenges of an order are answered together. By itself,
 * `@root/acme` presents all challenges, then answers each one only after the authority has validated the previous one.
 */
export function answersAtOnce(jwsRequest: JwsRequest, { challenge, spread }: AnswersOptions): JwsRequest {
  /** URLs of challenges without a response so far. */
  const open = new Set<string>();
  const answered = new Set<string>();
  const { signal } = new AbortController();

  return async (acme, request) => {
    const { url } = request;
    // The authority already validates this challenge. Another response would be an error.
    if (answered.has(url)) return jwsRequest(acme, { ...request, payload: '' });
    if (open.delete(url)) {
      await spread();
      const gate = createGate(AT_ONCE);
      const answer = async (other: string): Promise<void> => {
        // The request function changes the protected header.
        const own = { ...request, url: other, protected: { ...request.protected } };
        await gate.run(() => jwsRequest(acme, own), signal);
        answered.add(other);
      };
      // After a failure, `@root/acme` itself answers the challenge later, and reports the error.
      await Promise.allSettled([...open].map(answer));
      open.clear();
      answered.add(url);
    }
    const response = await jwsRequest(acme, request);
    for (const found of openChallenges(response.body, challenge)) open.add(found);
    return response;
  };
}

/** Finds the challenges of a type in an authorization. */
function openChallenges(body: unknown, type: ChallengeType): string[] {
  const { challenges } = Object(body) as { challenges?: unknown };
  if (!Array.isArray(challenges)) return [];
  const listed = challenges as { readonly type?: unknown; readonly url: string; readonly status?: unknown }[];
  return listed.filter((each) => each.type === type && each.status === 'pending').map(({ url }) => url);
}
