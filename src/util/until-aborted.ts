/**
 * Waits for work until the signal aborts. Some work notices the abort late or never, such as a DNS lookup, or a request
 * that undici has not yet assigned to a connection.
 *
 * @param discard receives a result that arrives after the abort, to free what it holds
 * @throws the reason of the signal, or the error of the work
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
