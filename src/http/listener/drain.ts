import type { FastifyReply } from 'fastify';
import { whenOver } from '../protocol/client-abort.ts';

/** Counts the downloads in progress, and aborts them when the time for them ends during a stop. */
export interface Drain {
  /** Aborts when that time is over, which closes all connections. */
  readonly over: AbortSignal;
  /** Counts a download until its response ends for any reason. */
  add(reply: FastifyReply): void;
  /** The number of downloads in progress. */
  count(): number;
  /**
   * Ends the time.
   *
   * @returns the number of downloads that this aborts
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
      whenOver(reply, () => {
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
