/** Does work for several items concurrently. The first failure aborts the others and is thrown. */
export async function allOrNone<Item, T>(
  items: readonly Item[],
  work: (item: Item, signal: AbortSignal, at: number) => Promise<T>,
  signal: AbortSignal,
): Promise<T[]> {
  const [only] = items;
  // Most requests are for one image, and a combined signal costs more than the rest of this function.
  if (only !== undefined && items.length === 1) return [await work(only, signal, 0)];
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  try {
    return await Promise.all(items.map((item, at) => work(item, either, at)));
  } catch (error) {
    failed.abort();
    throw error;
  }
}
