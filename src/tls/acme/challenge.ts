import { createHash } from 'node:crypto';
import type { AlpnChallengeStore } from '../stores/alpn-challenge-store.ts';
import type { ChallengeStore } from '../stores/challenge-store.ts';

/** @see https://www.iana.org/assignments/acme/acme.xhtml#acme-validation-methods */
export type ChallengeType = 'http-01' | 'tls-alpn-01' | 'dns-01';

/** A challenge that an authority poses. It can be cloned between threads. */
export interface Challenge {
  readonly type: ChallengeType;
  /** The DNS name, without a wildcard, or the IP address to validate. */
  readonly name: string;
  readonly token: string;
  readonly keyAuthorization: string;
}

/** Shows the answers to challenges to an authority. The signal ends the work when the order ends. */
export interface ChallengeResponder {
  present(challenge: Challenge, signal?: AbortSignal): Promise<void>;
  /** Waits until the authority can see answers that were presented. */
  spread(challenges: readonly Challenge[], signal?: AbortSignal): Promise<void>;
  cleanup(challenge: Challenge): Promise<void>;
}

/** Answers HTTP-01 at port 80. */
export function createHttpResponder({
  set,
  remove,
}: Pick<ChallengeStore, 'set' | 'remove'>): ChallengeResponder {
  return {
    present: ({ token, keyAuthorization }) => set(token, keyAuthorization),
    async spread() {},
    cleanup: ({ token }) => remove(token),
  };
}

/** Answers TLS-ALPN-01 at port 443. */
export function createAlpnResponder({ set, spread, remove }: AlpnChallengeStore): ChallengeResponder {
  return {
    present: ({ name, keyAuthorization }) => set(name, keyAuthorization),
    spread,
    cleanup: ({ name }) => remove(name),
  };
}

/** Answers each challenge by the responder of its type. */
export function createResponder(
  responders: Readonly<Partial<Record<ChallengeType, ChallengeResponder>>>,
): ChallengeResponder {
  const of = ({ type }: Pick<Challenge, 'type'>): ChallengeResponder => {
    const responder = responders[type];
    if (responder === undefined) throw new Error(`challenges of the type ${type} cannot be answered`);
    return responder;
  };
  return {
    present: async (challenge, signal) => of(challenge).present(challenge, signal),
    async spread(challenges, signal) {
      const [first] = challenges;
      // All challenges of an order have one type.
      if (first !== undefined) await of(first).spread(challenges, signal);
    },
    cleanup: async (challenge) => of(challenge).cleanup(challenge),
  };
}

/** The digest of a key authorization, which TLS-ALPN-01 and DNS-01 show. */
export function digestOf(keyAuthorization: string): Buffer {
  return createHash('sha256').update(keyAuthorization).digest();
}
