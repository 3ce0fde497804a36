import { detail } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';

/** Lets a few pieces of work run at once; the others wait in their order. */
export interface Queue {
  /**
   * Runs the work when a slot is free.
   *
   * @param onWait called at once, and after each change, with the number of requests ahead; not called without a wait
   * @throws ServiceError `engine-busy` if too many requests already wait
   */
  run<T>(work: () => Promise<T>, onWait: (ahead: number) => void, signal: AbortSignal): Promise<T>;
}

export interface QueueOptions {
  readonly atOnce: number;
  /** Maximum waiting requests. */
  readonly length: number;
}

interface Waiting {
  readonly begin: () => void;
  readonly onWait: (ahead: number) => void;
}

const RETRY_AFTER_S = 60;

export function createQueue({ atOnce, length }: QueueOptions): Queue {
  const waiting: Waiting[] = [];
  let running = 0;

  const tell = (): void => {
    for (const [ahead, { onWait }] of waiting.entries()) onWait(ahead + 1);
  };
  const next = (): void => {
    const first = waiting.shift();
    if (first === undefined) {
      running -= 1;
      return;
    }
    first.begin();
    tell();
  };

  const turn = (onWait: Waiting['onWait'], signal: AbortSignal): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const entry = { begin: resolve, onWait };
    waiting.push(entry);
    onWait(waiting.length);
    const leave = (): void => {
      const at = waiting.indexOf(entry);
      if (at === -1) return;
      waiting.splice(at, 1);
      tell();
      reject(signal.reason);
    };
    signal.addEventListener('abort', leave, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', leave));
  };

  return {
    async run(work, onWait, signal) {
      signal.throwIfAborted();
      if (running < atOnce) {
        running += 1;
      } else if (waiting.length < length) {
        await turn(onWait, signal);
      } else {
        throw new ServiceError('engine-busy', detail('engine-queue-full', { count: waiting.length }), {
          retryAfter: RETRY_AFTER_S,
        });
      }
      try {
        return await work();
      } finally {
        next();
      }
    },
  };
}
