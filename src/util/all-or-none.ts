/** Starts several tasks concurrently. The first failure aborts the others and is thrown. */
export async function allOrNone<T>(
  signal: AbortSignal,
  start: (signal: AbortSignal) => Promise<T>[],
): Promise<T[]> {
  const failed = new AbortController();
  try {
    return await Promise.all(start(AbortSignal.any([signal, failed.signal])));
  } catch (error) {
    failed.abort();
    throw error;
  }
}
