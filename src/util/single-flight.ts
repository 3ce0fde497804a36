import { ABORTED } from './aborted.ts';

/**
 * Shares one run of work among concurrent callers with the same key. The work is aborted only after all callers have
 * left.
 */
export type SingleFlight<T> = (
  key: string,
  work: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
) => Promise<T>;

interface Flight<T> {
  readonly result: Promise<T>;
  readonly abandoned: AbortController;
  waiting: number;
}

/**
 * @param isPersonal tells whether an error concerns only the caller that started the work, such as a client's limit. The
 *   other callers then start the work again instead of getting the error.
 */
export function createSingleFlight<T>(
  isPersonal: (error: unknown) => boolean = () => false,
): SingleFlight<T> {
  const flights = new Map<string, Flight<T>>();

  const begin = (key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> => {
    const abandoned = new AbortController();
    const flight = { result: work(abandoned.signal), abandoned, waiting: 0 };
    const land = (): void => {
      if (flights.get(key) === flight) flights.delete(key);
    };
    abandoned.signal.addEventListener('abort', land, { once: true });
    flight.result.then(land, land);
    flights.set(key, flight);
    return flight;
  };

  const join = async (flight: Flight<T>, signal: AbortSignal): Promise<T> => {
    const left = Promise.withResolvers<never>();
    const leave = (): void => left.reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    flight.waiting += 1;
    try {
      signal.throwIfAborted();
      return await Promise.race([flight.result, left.promise]);
    } finally {
      signal.removeEventListener('abort', leave);
      flight.waiting -= 1;
      if (flight.waiting === 0) flight.abandoned.abort(ABORTED);
    }
  };

  return async (key, work, signal) => {
    for (;;) {
      const shared = flights.get(key);
      if (shared === undefined) return join(begin(key, work), signal);
      try {
        return await join(shared, signal);
      } catch (error) {
        if (signal.aborted || !isPersonal(error)) throw error;
      }
    }
  };
}
