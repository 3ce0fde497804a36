/**
 * greenlock's manager, which has only defaults. The issuer decides outside of greenlock which certificates exist, and
 * when to renew them.
 */
export function create({ defaults }: { readonly defaults: object }) {
  return {
    async init() {
      return null;
    },
    async defaults() {
      return { ...defaults };
    },
    async find() {
      return [];
    },
    async get() {
      return null;
    },
    async set() {
      return null;
    },
  };
}
