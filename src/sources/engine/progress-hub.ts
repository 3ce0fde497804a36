import type { Progress } from '../image-source.ts';

/** Tells everyone who waits for a shared piece of work how far it is, also those who come later. */
export interface ProgressHub {
  report(key: string, progress: Progress): void;
  /** Hears, from the last report on, what is reported; what comes back ends that. */
  watch(key: string, listener: (progress: Progress) => void): () => void;
}

interface Topic {
  readonly listeners: Set<(progress: Progress) => void>;
  last: Progress | undefined;
}

export function createProgressHub(): ProgressHub {
  // A topic lives as long as somebody listens: work that nobody waits for is ended anyway.
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
      // Each its own, also where one function listens twice.
      const own = (progress: Progress): void => listener(progress);
      topic.listeners.add(own);
      if (topic.last !== undefined) listener(topic.last);
      return () => {
        topic.listeners.delete(own);
        if (topic.listeners.size === 0) topics.delete(key);
      };
    },
  };
}
