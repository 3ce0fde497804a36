/** The files that this process reads or writes at the moment. Other processes see their access times. */
export interface Pins {
  has(path: string): boolean;
  /**
   * Keeps a file from eviction until the returned function is called.
   *
   * @param touch sets the file's access time; absent if other processes see by other means that the file is in use
   */
  hold(path: string, touch?: () => Promise<void>): () => void;
}

interface Hold {
  count: number;
  touch: (() => Promise<void>) | undefined;
}

/** Milliseconds between updates of access times, which protect a file for {@link PINNED_ELSEWHERE_MS}. */
const TOUCH_MS = 10_000;

export function createPins(): Pins {
  const holds = new Map<string, Hold>();
  let timer: NodeJS.Timeout | undefined;

  const touchAll = async (): Promise<void> => {
    for (const { touch } of [...holds.values()]) {
      // A file that is deleted or read-only still serves its open readers.
      await touch?.().catch(() => {});
    }
  };
  return {
    has: (path) => holds.has(path),
    hold(path, touch) {
      const known = holds.get(path);
      const hold = known ?? { count: 0, touch };
      hold.count += 1;
      hold.touch ??= touch;
      holds.set(path, hold);
      timer ??= setInterval(touchAll, TOUCH_MS).unref();
      return () => {
        hold.count -= 1;
        if (hold.count > 0) return;
        holds.delete(path);
        if (holds.size > 0) return;
        clearInterval(timer);
        timer = undefined;
      };
    },
  };
}
