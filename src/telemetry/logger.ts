import { type LevelWithSilent, type Logger, pino } from 'pino';
import { build as pretty } from 'pino-pretty';

export interface LoggerOptions {
  readonly level: LevelWithSilent;
  /** Whether a person is looking: then lines to read instead of JSON. */
  readonly forTerminal: boolean;
}

/** Logs to stdout. */
export function createLogger({ level, forTerminal }: LoggerOptions): Logger {
  // Sync: what was logged is there, whatever happens to the process next.
  const options = {
    sync: true,
    translateTime: 'HH:MM:ss',
    ignore: 'pid,hostname,reqId,image,client,digest,bytes,offset,zstd,seconds,status,url',
  };
  return forTerminal ? pino({ level }, pretty(options)) : pino({ level });
}
