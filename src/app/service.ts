import type { Logger } from 'pino';
import type { Config } from '../config/schema.ts';

/** A service that starts and stops as one, in any number of processes. */
export interface Service {
  /**
   * Begins to serve, and to look after the certificate.
   *
   * @returns if it serves, as a URL
   */
  listen(): Promise<string>;
  /** True if a process serves. */
  isServing(): boolean;
  /**
   * Applies the settings that may change at runtime, and reads the files of lists again.
   *
   * @returns keys of the settings that have changed and need a restart
   * @throws ConfigError if a list has a mistake; then nothing changes
   */
  reload(fresh: Config): readonly string[];
  /** Checks the certificate again immediately. */
  reloadCertificate(): Promise<void>;
  /** Stops all parts. Downloads in progress may finish first, until the timeout aborts them. */
  close(): Promise<void>;
  /** Kills the other processes of the service immediately; the caller ends its own. */
  kill(): void;
}

/** Reloads the settings and logs the result. Settings with a mistake stay as they were. */
export function reportReload(logger: Logger, reload: () => readonly string[]): void {
  try {
    const needRestart = reload();
    logger.info('Reloaded the settings and the access lists');
    if (needRestart.length === 0) return;
    logger.warn(`These settings have changed and need a restart: ${needRestart.join(', ')}`);
  } catch (err) {
    logger.error({ err }, 'Cannot reload the settings and the access lists; they stay as they were');
  }
}
