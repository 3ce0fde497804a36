import type { FastifyReply } from 'fastify';

/** The downloads under way, and the end of the time that they have once the service stops. */
export interface Drain {
  /** Aborts when that time is over: then no connection stays. */
  readonly over: AbortSignal;
  /** Counts a download until its answer is over, however. */
  add(reply: FastifyReply): void;
  /** The number of downloads under way. */
  count(): number;
  /**
   * Ends the time.
   *
   * @returns how many downloads that breaks off
   */
  end(): number;
  /** Resolves when no download is in progress and all observers know it, a moment before the server closes. */
  settled(): Promise<void>;
}

export function createDrain(): Drain {
  const over = new AbortController();
  const underWay = new Set<FastifyReply>();
  let onSettled = (): void => {};
  return {
    over: over.signal,
    add(reply) {
      underWay.add(reply);
      reply.raw.once('close', () => {
        underWay.delete(reply);
        if (underWay.size === 0) onSettled();
      });
    },
    count() {
      return underWay.size;
    },
    end() {
      const { size } = underWay;
      over.abort();
      return size;
    },
    settled() {
      if (underWay.size === 0) return Promise.resolve();
      return new Promise((resolve) => {
        onSettled = resolve;
      });
    },
  };
}
