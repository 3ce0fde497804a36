import type { Challenge } from '../challenge.ts';
import { storesFrom, threadPort } from '../thread-stores.ts';

/** A challenge as greenlock passes it. */
interface Posed {
  readonly challenge: {
    readonly type: Challenge['type'];
    readonly identifier: { readonly value: string };
    readonly token: string;
    readonly keyAuthorization: string;
  };
}

/** greenlock's view of the responder that the HTTP server or the DNS hook answers by. */
export function create() {
  const { challenges } = storesFrom(threadPort());
  const posed = new Map<string, Challenge>();
  return {
    /** The shortest wait, in milliseconds. The first response to the authority waits for the records instead. */
    propagationDelay: 1,
    async init() {
      return null;
    },
    async zones() {
      return [];
    },
    async set({ challenge: { type, identifier, token, keyAuthorization } }: Posed) {
      const challenge = { type, name: identifier.value, token, keyAuthorization };
      posed.set(token, challenge);
      await challenges.present(challenge);
      return null;
    },
    async get({ challenge: { token } }: Posed) {
      return posed.get(token) ?? null;
    },
    async remove({ challenge: { token } }: Posed) {
      const challenge = posed.get(token);
      if (challenge !== undefined) await challenges.cleanup(challenge);
      return null;
    },
  };
}
