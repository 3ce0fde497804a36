import { Readable } from 'node:stream';

/** A stream of server-sent events. */
export interface EventStream {
  readonly body: Readable;
  /** Sends an event whose data is JSON. */
  send(event: string, data: object): void;
  /**
   * Sends an event after its reader has taken the previous ones. If several events of one name wait, only the last one
   * is sent, so that a slow reader costs no memory.
   */
  sendSoon(event: string, data: object): void;
  end(): void;
}

/** Milliseconds between events that may be omitted. */
const PACE_MS = 200;
/** Milliseconds between comments, which keep the connection open while nothing happens. */
const COMMENT_MS = 15_000;
const COMMENT = ':\n\n';

/** @see https://html.spec.whatwg.org/multipage/server-sent-events.html */
export function createEventStream(): EventStream {
  /** Waiting events by name, in the order of the latest of each. */
  const later = new Map<string, object>();
  let lastSent = Number.NEGATIVE_INFINITY;
  let pace: NodeJS.Timeout | undefined;
  let isBehind = false;

  const push = (text: string): void => {
    isBehind = !body.push(text);
  };
  const write = (event: string, data: object): void => {
    lastSent = performance.now();
    push(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  const flush = (): void => {
    clearTimeout(pace);
    pace = undefined;
    const events = [...later];
    later.clear();
    for (const [event, data] of events) write(event, data);
  };
  const flushSoon = (): void => {
    if (isBehind || later.size === 0) return;
    const wait = lastSent + PACE_MS - performance.now();
    if (wait <= 0) flush();
    else pace ??= setTimeout(flush, wait);
  };
  const comments = setInterval(() => {
    if (!isBehind) push(COMMENT);
  }, COMMENT_MS);
  const stop = (): void => {
    clearInterval(comments);
    clearTimeout(pace);
  };
  const body = new Readable({
    read() {
      isBehind = false;
      flushSoon();
    },
    destroy(error, callback) {
      stop();
      callback(error);
    },
  });

  // Node.js sends the headers with the first byte, so that the client learns at once that the request was accepted.
  push(COMMENT);
  return {
    body,
    send(event, data) {
      flush();
      write(event, data);
    },
    sendSoon(event, data) {
      // A new stage has begun, so send the last event of the previous one first.
      if (later.size > 0 && !later.has(event) && !isBehind) flush();
      later.delete(event);
      later.set(event, data);
      flushSoon();
    },
    end() {
      flush();
      stop();
      body.push(null);
    },
  };
}
