/**
 * greenlock's view of what there is to manage: nothing but its defaults. Which certificates there are, and when they
 * are renewed, is decided outside of greenlock.
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
