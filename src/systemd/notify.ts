import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Reports the state of the service to the service manager. */
export interface ServiceManager {
  /**
   * Reports that the service is ready. From then on, sends watchdog messages while the event loop runs and the service
   * works.
   */
  ready(status: string): Promise<void>;
  /** Reports that the service is stopping, which may take this number of milliseconds. */
  stopping(patience: number): Promise<void>;
}

export interface ServiceManagerOptions {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  /** Returns true if the service works; if absent, a running event loop suffices. */
  readonly isAlive?: () => boolean;
  readonly onFailure: (error: Error) => void;
}

const execute = promisify(execFile);
const NOTIFY_TIMEOUT_MS = 10_000;

/**
 * Creates the connection to systemd. It runs systemd-notify, because Node.js lacks Unix datagram sockets. Without a
 * manager, it does nothing.
 *
 * @see https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
 */
export function createServiceManager({
  variables,
  pid,
  isAlive = () => true,
  onFailure,
}: ServiceManagerOptions): ServiceManager {
  const { NOTIFY_SOCKET, PATH, WATCHDOG_PID, WATCHDOG_USEC } = variables;
  let watchdog: NodeJS.Timeout | undefined;

  const notify = async (...assignments: string[]): Promise<void> => {
    if (NOTIFY_SOCKET === undefined) return;
    try {
      const env = { NOTIFY_SOCKET, ...(PATH !== undefined && { PATH }) };
      await execute('systemd-notify', assignments, { env, timeout: NOTIFY_TIMEOUT_MS });
    } catch (error) {
      onFailure(error as Error);
    }
  };

  return {
    async ready(status) {
      await notify('READY=1', `STATUS=${status}`);
      const isWatched = WATCHDOG_PID === undefined || WATCHDOG_PID === `${pid}`;
      const patience = isWatched ? Number(WATCHDOG_USEC ?? 0) / 1000 : 0;
      const tell = (): void => {
        if (isAlive()) notify('WATCHDOG=1');
      };
      if (patience > 0) watchdog = setInterval(tell, patience / 2).unref();
    },
    async stopping(patience) {
      clearInterval(watchdog);
      await notify('STOPPING=1', 'STATUS=Downloads under way end', `EXTEND_TIMEOUT_USEC=${patience * 1000}`);
    },
  };
}
