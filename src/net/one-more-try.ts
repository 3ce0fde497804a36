import type { buildConnector, Dispatcher } from 'undici';
import { mendAnswer } from './response-head.ts';

/** Two dispatchers for the same origin. */
export interface Ways {
  /** Reuses connections for many requests. */
  readonly pooled: Dispatcher;
  /** Uses a new connection for each request, and repairs the head of the response for the parser. */
  readonly single: Dispatcher;
}

/** Wraps a connector to change the behavior of its connections. */
export type WrapConnector = (connect: buildConnector.connector) => buildConnector.connector;

/** The reason why a failed request should be repeated immediately, over a new connection. */
export type Reason = 'reused' | 'odd';

/** Recognizes broken connections and responses. */
export interface BreakWatch {
  /** Watches the connections of a connector. */
  readonly watch: WrapConnector;
  /**
   * Returns why to repeat a request. `reused`: a reused connection ended before the response, which Go's client
   * repeats, too. `odd`: the parser refused the response. Undefined: do not repeat it.
   */
  reasonFor(error: unknown): Reason | undefined;
}

const BROKEN: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);
/** undici joins the digits of repeated lengths, and spaces after them, into one number that no body matches. */
const WRONG_LENGTH = 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH';
/** The message by which undici reports an interim 100, which it takes for the final response. */
const INTERIM = 'bad response';

export function createBreakWatch(): BreakWatch {
  const received = new WeakMap<Error, number>();
  return {
    watch: (connect) => (target, callback) =>
      connect(target, (...[error, socket]) => {
        // Registered before undici's listener, because the error itself does not identify its connection.
        socket?.once('error', (cause) => received.set(cause, socket.bytesRead));
        if (error === null) callback(null, socket);
        else callback(error, null);
      }),
    reasonFor(error) {
      if (!(error instanceof Error)) return undefined;
      const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
      if (error.name === 'HTTPParserError' || code === WRONG_LENGTH || error.message === INTERIM)
        return 'odd';
      const bytes = received.get(error) ?? bytesOf(error);
      return BROKEN.has(code) && bytes > 0 ? 'reused' : undefined;
    },
  };
}

/**
 * Tells whether undici reads a Content-Length correctly. A trailing space would cause an error only at the end of the
 * body.
 */
export function isPlainLength(value: string | string[] | undefined): boolean {
  return value === undefined || /^\d+$/.test(String(value));
}

/** Creates undici's error for such a length. */
export function wrongLength(): Error {
  return Object.assign(new Error('The length is not a number alone'), { code: WRONG_LENGTH });
}

/** Wraps a connector whose connections serve one response each, and repairs that response. */
export const mending: WrapConnector = (connect) => (target, callback) =>
  connect(target, (...[error, socket]) => {
    if (error !== null) return callback(error, null);
    mendAnswer(socket);
    callback(null, socket);
  });

/** Reads the bytes received on the connection from undici's own errors; 0 if they don't state it. */
function bytesOf(error: Error): number {
  const socket = 'socket' in error ? error.socket : undefined;
  const isTold = typeof socket === 'object' && socket !== null && 'bytesRead' in socket;
  return isTold && typeof socket.bytesRead === 'number' ? socket.bytesRead : 0;
}
