/**
 * Milliseconds within which further signals belong to the first one. A terminal or a supervisor signals the whole process
 * group, and npm and our launcher then pass their copy on to the same process.
 */
const ONE_STOP_MS = 1_000;

export interface StopSignalsOptions {
  /** Begins a graceful end; called once. */
  readonly stop: () => void;
  /** Ends the process at once; called for each signal that comes later. */
  readonly force: (signal: NodeJS.Signals) => void;
  /** Milliseconds that never go back. */
  readonly uptime: () => number;
}

/** Makes a listener for SIGINT and SIGTERM: the first signal stops, and a later one, from someone who is done waiting, forces. */
export function createStopSignals({ stop, force, uptime }: StopSignalsOptions) {
  let first: number | undefined;
  return (signal: NodeJS.Signals): void => {
    if (first === undefined) {
      first = uptime();
      stop();
    } else if (uptime() - first > ONE_STOP_MS) {
      force(signal);
    }
  };
}
