import process from 'node:process';
import closeWithGrace from 'close-with-grace';
import { createStopSignals } from './stop-signals.ts';

/** Milliseconds that a serving process may take to stop everything else after downloads have ended. */
export const END_GRACE_MS = 3_000;
const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const;
/**
 * Signals that do not begin a graceful end. SIGHUP reloads; the others mean a broken process, such as SIGABRT from the
 * watchdog.
 */
const UNGRACEFUL = ['SIGHUP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV', 'SIGTRAP'] as const;

/** Listens for SIGINT and SIGTERM. Returns a function that stops listening. */
export function onStopSignals(
  stop: (signal: NodeJS.Signals) => void,
  force: (signal: NodeJS.Signals) => void,
): () => void {
  const hear = createStopSignals({ stop, force, uptime: () => performance.now() });
  for (const signal of STOP_SIGNALS) process.on(signal, hear);
  return () => {
    for (const signal of STOP_SIGNALS) process.off(signal, hear);
  };
}

/**
 * Ends the process after `close` has finished. An error or the first call of `close()` starts it; later calls do
 * nothing.
 */
export function createCloser(
  options: closeWithGrace.Options,
  close: (event: { err?: Error | undefined }) => Promise<void>,
): Pick<ReturnType<typeof closeWithGrace>, 'close' | 'uninstall'> {
  let isClosing = false;
  const closer = closeWithGrace({ ...options, skip: [...UNGRACEFUL, ...STOP_SIGNALS] }, async (event) => {
    isClosing = true;
    await close(event);
  });
  return {
    uninstall: () => closer.uninstall(),
    close() {
      if (!isClosing) closer.close();
    },
  };
}
