import { storesFrom, threadPort } from '../thread-stores.ts';

/** A challenge as greenlock passes it. */
interface Posed {
  readonly challenge: { readonly token: string; readonly keyAuthorization: string };
}

/** greenlock's view of the challenge store, from which the HTTP server answers. */
export function create() {
  const { challenges } = storesFrom(threadPort());
  return {
    async init() {
      return null;
    },
    async set({ challenge: { token, keyAuthorization } }: Posed) {
      await challenges.set(token, keyAuthorization);
      return null;
    },
    async get({ challenge: { token } }: Posed) {
      const keyAuthorization = await challenges.get(token);
      return keyAuthorization === undefined ? null : { keyAuthorization };
    },
    async remove({ challenge: { token } }: Posed) {
      await challenges.remove(token);
      return null;
    },
  };
}
