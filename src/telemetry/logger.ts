import { type LevelWithSilent, type Logger, pino, stdSerializers } from 'pino';
import { ServiceError } from '../errors.ts';
import { printableLine } from '../util/printable.ts';

export interface LoggerOptions {
  readonly level: LevelWithSilent;
  /** True for readable lines instead of JSON, for a terminal. */
  readonly forTerminal: boolean;
}

const STDOUT = 1;

/** The surroundings of a log. */
export interface LogSurroundings {
  readonly stdout: { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Tells whether a log has readable lines. journald names its streams in JOURNAL_STREAM.
 *
 * @see https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html
 */
export function isTextLog(format: 'auto' | 'json' | 'text', { stdout, env }: LogSurroundings): boolean {
  if (format !== 'auto') return format === 'text';
  return stdout.isTTY === true || env.JOURNAL_STREAM !== undefined;
}

export async function createLogger({ level, forTerminal }: LoggerOptions): Promise<Logger> {
  // Synchronous, so that no line is lost if the process ends.
  const options = {
    sync: true,
    destination: STDOUT,
    translateTime: 'HH:MM:ss',
    ignore: 'pid,hostname,reqId,kind,image,client,digest,bytes,offset,zstd,seconds,status,url',
  };
  const serializers = { err: forTerminal ? describeError : serializeError };
  const settings = { level, serializers, hooks: { streamWrite: forTerminal ? harmless : escaped } };
  if (!forTerminal) return pino(settings, pino.destination({ dest: STDOUT, sync: true }));
  const { build: pretty } = await import('pino-pretty');
  return pino(settings, pretty(options));
}

/**
 * Creates a log that shows warnings to the person who runs a command. Each warning is one sentence and appears once, even
 * if several blobs cause it.
 *
 * @param say writes a line, with its line feed
 */
export function createPlainLogger(say: (line: string) => void): Logger {
  const said = new Set<string>();
  const write = (line: string): void => {
    const { msg } = JSON.parse(line) as { readonly msg: string };
    const subject = msg.replace(/\bsha256:\w+/g, '');
    if (said.has(subject)) return;
    said.add(subject);
    say(`Warning: ${printableLine(msg).replace(/\.?$/, '.')}\n`);
  };
  return pino({ level: 'warn' }, { write });
}

/** Control characters above ASCII and marks that turn text around, which JSON leaves as they are. */
const UNSAFE = /[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** Escapes control characters, so that log lines keep their content but cannot control a terminal. */
function escaped(line: string): string {
  return line.replace(UNSAFE, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/**
 * Escapes control characters for a terminal, because the readable form unescapes JSON. Keeps line feeds, which stacks
 * contain.
 */
function harmless(line: string): string {
  return line
    .replace(UNSAFE, '?')
    .replace(/\\(?:u00[01][0-9a-f]|[bfr]|.)/g, (sign) => (/^\\[bfru]/.test(sign) ? '?' : sign));
}

/** A failure of a registry or a client needs no stack; a failure of this service does. */
function serializeError(error: Error): object {
  if (!(error instanceof ServiceError) || error.code === 'internal-error') return stdSerializers.err(error);
  const { code, message, cause } = error;
  return { type: error.name, code, message, ...(cause instanceof Error && { cause: cause.message }) };
}

/** Describes a failure of a registry or a client on one line, because journald makes an entry of each line. */
function describeError(error: Error): object | string {
  if (!(error instanceof ServiceError) || error.code === 'internal-error') return stdSerializers.err(error);
  const { message, cause } = error;
  return cause instanceof Error ? `${message} (${cause.message})` : message;
}
