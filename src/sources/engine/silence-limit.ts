/** An idle timeout, which aborts its signal if no message arrives in time. */
export interface SilenceLimit {
  readonly signal: AbortSignal;
  /** Restarts the timeout for the next message, in milliseconds. */
  heard(patience: number): void;
  /** Stops the timeout. */
  end(): void;
}

/** @param patience milliseconds until the first message */
export function createSilenceLimit(patience: number): SilenceLimit {
  const limit = new AbortController();
  const listen = (time: number): NodeJS.Timeout => setTimeout(() => limit.abort(), time);
  let timer = listen(patience);
  const end = (): void => clearTimeout(timer);
  return {
    signal: limit.signal,
    heard(next) {
      end();
      timer = listen(next);
    },
    end,
  };
}
