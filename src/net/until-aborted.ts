/**
 * Waits for work only until the signal aborts, where the work itself may notice that late or never: a look-up, or a
 * request that undici has not yet put on a connection.
 *
 * @param discard receives a result that arrives after the abort, to free what it holds
 * @throws the reason of the signal, or what the work throws
 */
export async function untilAborted<T>(
  work: Promise<T>,
  signal: AbortSignal,
  discard: (late: T) => void = () => {},
): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => {
    aborted.reject(signal.reason);
    work.then(discard, () => {});
  };
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([aborted.promise, work]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
