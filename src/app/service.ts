import type { Logger } from 'pino';
import type { Config } from '../config/schema.ts';

/** What is started and ended as one, however many processes it is. */
export interface Service {
  /**
   * Begins to serve, and to look after the certificate.
   *
   * @returns where it serves, as a URL
   */
  listen(): Promise<string>;
  /** Whether a process serves. */
  isServing(): boolean;
  /**
   * Takes over what may change while it runs, and reads the files of lists anew.
   *
   * @returns keys of the settings that have changed and need a restart
   * @throws ConfigError where a list has a mistake; then all stays as it was
   */
  reload(fresh: Config): readonly string[];
  /** Looks again at once at the certificate. */
  reloadCertificate(): Promise<void>;
  /** Ends all parts; downloads under way end first, and when their time is over, they are broken off. */
  close(): Promise<void>;
  /** Kills the other processes of the service immediately; the caller ends its own. */
  kill(): void;
}

/** Takes other settings, and tells what has come of it: what has a mistake stays as it was. */
export function reportReload(logger: Logger, reload: () => readonly string[]): void {
  try {
    const needRestart = reload();
    logger.info('The settings and the lists of who may fetch what were read anew');
    if (needRestart.length === 0) return;
    logger.warn(`These settings have changed and need a restart: ${needRestart.join(', ')}`);
  } catch (err) {
    logger.error({ err }, 'The settings and the lists of who may fetch what stay as they were');
  }
}
