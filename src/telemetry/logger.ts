import { type LevelWithSilent, type Logger, pino, stdSerializers } from 'pino';
import { build as pretty } from 'pino-pretty';
import { CatalogueError } from '../errors.ts';

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
  const serializers = { err: serializeError };
  return forTerminal ? pino({ level, serializers }, pretty(options)) : pino({ level, serializers });
}

/** What a registry or a client did wrong needs no stack; what went wrong in here does. */
function serializeError(error: Error): object {
  if (!(error instanceof CatalogueError) || error.code === 'internal-error') return stdSerializers.err(error);
  const { code, message, cause } = error;
  return { type: error.name, code, message, ...(cause instanceof Error && { cause: cause.message }) };
}
