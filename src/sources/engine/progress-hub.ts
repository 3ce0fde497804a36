import type { Progress } from '../image-source.ts';

/** Reports the progress of shared work to all requests that wait for it, including later ones. */
export interface ProgressHub {
  report(key: string, progress: Progress): void;
  /** Calls the listener with the last report and all later ones until the returned object is disposed. */
  watch(key: string, listener: (progress: Progress) => void): Disposable;
}

interface Topic {
  readonly listeners: Set<(progress: Progress) => void>;
  last: Progress | undefined;
}

export function createProgressHub(): ProgressHub {
  // A topic lives as long as it has listeners. Work without waiting requests ends anyway.
  const topics = new Map<string, Topic>();
  return {
    report(key, progress) {
      const topic = topics.get(key);
      if (topic === undefined) return;
      topic.last = progress;
      for (const listener of topic.listeners) listener(progress);
    },

    watch(key, listener) {
      const topic = topics.get(key) ?? { listeners: new Set(), last: undefined };
      topics.set(key, topic);
      // One entry for each call, even if a function listens twice.
      const own = (progress: Progress): void => listener(progress);
      topic.listeners.add(own);
      if (topic.last !== undefined) listener(topic.last);
      return {
        [Symbol.dispose]() {
          topic.listeners.delete(own);
          if (topic.listeners.size === 0) topics.delete(key);
        },
      };
    },
  };
}
