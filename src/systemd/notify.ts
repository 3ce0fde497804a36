import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Tells whoever has started the service how it is. */
export interface ServiceManager {
  /** It serves; from now on the manager hears, as often as it wants, that the event loop turns and the service lives. */
  ready(status: string): Promise<void>;
  /** The service is stopping, and may take this number of milliseconds. */
  stopping(patience: number): Promise<void>;
}

export interface ServiceManagerOptions {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  /** True if the service does its work; unless told, it does while the event loop turns. */
  readonly isAlive?: () => boolean;
  readonly onFailure: (error: Error) => void;
}

const execute = promisify(execFile);
const NOTIFY_TIMEOUT_MS = 10_000;

/**
 * Speaks to systemd, through systemd-notify as Node.js has no datagram sockets of the Unix kind; where no manager listens,
 * it says nothing.
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
