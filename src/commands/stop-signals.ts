/**
 * Milliseconds within which further signals count as copies of the first. A terminal or supervisor signals the whole
 * process group, and npm and our launcher then forward their copies to the same process.
 */
const ONE_STOP_MS = 1_000;

export interface StopSignalsOptions {
  /** Starts a graceful end. Called once. */
  readonly stop: (signal: NodeJS.Signals) => void;
  /** Ends the process immediately. Called for each later signal. */
  readonly force: (signal: NodeJS.Signals) => void;
  /** Returns monotonic milliseconds. */
  readonly uptime: () => number;
}

/**
 * Creates a listener for SIGINT and SIGTERM. The first signal stops the process gracefully; a later one forces the end.
 */
export function createStopSignals({ stop, force, uptime }: StopSignalsOptions) {
  let first: number | undefined;
  return (signal: NodeJS.Signals): void => {
    if (first === undefined) {
      first = uptime();
      stop(signal);
    } else if (uptime() - first > ONE_STOP_MS) {
      force(signal);
    }
  };
}
