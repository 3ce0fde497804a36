import type { Addition, Count, CountingStore } from './counting-store.ts';

/** A store that several processes can share. */
export interface SharedCountingStore extends CountingStore {
  /** Tells the other processes that this process counts in the store during the next 30 seconds. */
  attend(): void;
  /** Tells whether another process counts in the store. */
  isShared(): boolean;
}

export interface BufferedCountingStoreOptions {
  readonly store: SharedCountingStore;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** True for one of several workers, which writes each count at once, even while the others do not run. */
  readonly isWorker?: boolean;
  /** Calls a function after {@link BUFFER_MS}; by a timer if absent. */
  readonly schedule?: (save: () => void) => void;
}

/** A counter in its current window, as this process knows it. */
interface Known {
  value: number;
  /** Milliseconds since the epoch. */
  resets: number;
  /** The part of the value that the store has not received. */
  unsaved: number;
  readonly window: number;
}

/** Maximum milliseconds until a count is saved, and until this process notices another one. */
const BUFFER_MS = 100;
/** Milliseconds between two calls of {@link SharedCountingStore.attend}. */
const ATTEND_MS = 10_000;
/** Maximum number of counters in memory. Beyond it, this process forgets them and reads them from the store again. */
const MOST_KNOWN = 10_000;

/**
 * Counts in memory and saves the counts in batches, as long as no other process uses the store. Writing each count to a
 * file would be the largest cost of a request. A killed process loses its counts of the last 100 ms. If another process
 * starts to count, both write each count at once.
 *
 * @throws Error from the store, in every method; a failed save is thrown later, by the next `add`
 */
export function createBufferedCountingStore({
  store,
  now,
  isWorker = false,
  schedule = (save) => setTimeout(save, BUFFER_MS).unref(),
}: BufferedCountingStoreOptions): CountingStore {
  const known = new Map<string, Known>();
  const unsaved = new Map<string, Known>();
  /** Counters that the store does not have. Each download reads several of them. */
  const absent = new Set<string>();
  let failure: Error | undefined;
  let isShared = true;
  let checked = Number.NEGATIVE_INFINITY;

  // If a window ends later than a whole window from now, the clock was set back.
  const isRunning = (counter: Known | undefined, at: number): counter is Known =>
    counter !== undefined && counter.resets > at && counter.resets <= at + counter.window;

  const learn = ({ counter: name, amount, window }: Addition, { value, resetsIn }: Count): void => {
    const at = now();
    const resets = at + resetsIn;
    const counter = known.get(name);
    if (isRunning(counter, at)) {
      counter.value = value + counter.unsaved;
      counter.resets = resets;
    } else if (value > 0) {
      known.set(name, { value, resets, unsaved: 0, window });
    } else if (amount === 0 && resetsIn === window) {
      absent.add(name);
    }
  };
  const addThere = async (additions: readonly Addition[]): Promise<Count[]> => {
    const counts = await store.add(additions);
    for (const [at, addition] of additions.entries()) {
      const count = counts[at];
      if (count !== undefined && !isShared) learn(addition, count);
    }
    return counts;
  };
  const save = (): void => {
    // The amounts of a window that is over must not count in the next one.
    const at = now();
    const counters = [...unsaved].filter(([, counter]) => isRunning(counter, at));
    unsaved.clear();
    if (counters.length === 0) return;
    const additions = counters.map(([counter, { unsaved: amount, window }]) => ({ counter, amount, window }));
    for (const [, counter] of counters) counter.unsaved = 0;
    addThere(additions).catch((error: Error) => {
      failure = error;
    });
  };
  const forget = (): void => {
    // The store processes calls in order, so it receives these counts before later ones.
    save();
    known.clear();
    absent.clear();
  };
  const addHere = ({ counter: name, amount, window }: Addition, at: number): Count | undefined => {
    const counter = known.get(name);
    if (!isRunning(counter, at)) {
      if (amount === 0 && absent.has(name)) return { value: 0, resetsIn: window };
      absent.delete(name);
      return undefined;
    }
    const before = counter.value;
    counter.value = Math.max(before + amount, 0);
    counter.unsaved += counter.value - before;
    if (amount !== 0) {
      if (unsaved.size === 0) schedule(save);
      unsaved.set(name, counter);
    }
    return { value: counter.value, resetsIn: counter.resets - at };
  };
  const check = (at: number): void => {
    if (Math.abs(at - checked) < BUFFER_MS) return;
    checked = at;
    isShared = isWorker || store.isShared();
    if (isShared || known.size + absent.size > MOST_KNOWN) forget();
  };

  const attend = (): void => {
    try {
      store.attend();
    } catch (error) {
      failure = error as Error;
    }
  };
  attend();
  const attendance = setInterval(attend, ATTEND_MS).unref();

  return {
    ...store,
    async add(additions) {
      if (failure !== undefined) throw failure;
      const at = now();
      check(at);
      if (isShared) return store.add(additions);
      const here = additions.map((addition) => addHere(addition, at));
      const missing = additions.filter((_, index) => here[index] === undefined);
      const there = missing.length === 0 ? [] : await addThere(missing);
      return here.flatMap((count) => count ?? there.shift() ?? []);
    },
    close() {
      clearInterval(attendance);
      save();
      store.close();
    },
  };
}
