import type { buildConnector, Dispatcher } from 'undici';
import { mendAnswer } from './response-head.ts';

/** Two ways to the same origin. */
export interface Ways {
  /** Over connections that serve many requests. */
  readonly pooled: Dispatcher;
  /** Over a connection of its own, and with the head of the answer mended for the parser. */
  readonly single: Dispatcher;
}

/** Why a request that failed is worth sending once more at once, over a connection of its own. */
export type Reason = 'reused' | 'odd';

/** Sees connections break. */
export interface BreakWatch {
  /** Watches the connections of a connector. */
  watch(connect: buildConnector.connector): buildConnector.connector;
  /**
   * Tells why to send a request once more: `reused` where a connection that had served others ended instead of an answer,
   * as Go's client does, and `odd` where the parser refuses the answer.
   */
  reasonFor(error: unknown): Reason | undefined;
}

const BROKEN: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);
/** undici adds the digits of all lengths, and the space behind them, to one number, which no body has. */
const WRONG_LENGTH = 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH';
/** undici has no other name for an interim 100, which it takes for the answer. */
const INTERIM = 'bad response';

export function createBreakWatch(): BreakWatch {
  const received = new WeakMap<Error, number>();
  return {
    watch: (connect) => (target, callback) =>
      connect(target, (...[error, socket]) => {
        // Before undici does: the error itself says nothing of its connection.
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

/** Tells whether undici reads a Content-Length right: the space behind it would only show at the end of the body. */
export function isPlainLength(value: string | string[] | undefined): boolean {
  return value === undefined || /^\d+$/.test(String(value));
}

/** The error of undici for such a length. */
export function wrongLength(): Error {
  return Object.assign(new Error('The length is not a number alone'), { code: WRONG_LENGTH });
}

/** A connector whose connections are for one answer each. */
export function mending(connect: buildConnector.connector): buildConnector.connector {
  return (target, callback) =>
    connect(target, (...[error, socket]) => {
      if (error !== null) return callback(error, null);
      mendAnswer(socket);
      callback(null, socket);
    });
}

/** What undici tells of the connection in its own errors. */
function bytesOf(error: Error): number {
  const socket = 'socket' in error ? error.socket : undefined;
  const isTold = typeof socket === 'object' && socket !== null && 'bytesRead' in socket;
  return isTold && typeof socket.bytesRead === 'number' ? socket.bytesRead : 0;
}
