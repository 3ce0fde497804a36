import { Readable } from 'node:stream';

/** A stream of server-sent events. */
export interface EventStream {
  readonly body: Readable;
  /** Sends an event whose data is JSON. */
  send(event: string, data: object): void;
  /** Sends an event soon; of several meanwhile, only the last, so that no reader is flooded. */
  sendSoon(event: string, data: object): void;
  end(): void;
}

/** Milliseconds between events that may be left out. */
const PACE_MS = 200;
/** Milliseconds between comments, which keep the connection open while nothing happens. */
const COMMENT_MS = 15_000;

/** @see https://html.spec.whatwg.org/multipage/server-sent-events.html */
export function createEventStream(): EventStream {
  let later: { event: string; data: object } | undefined;
  let lastSent = Number.NEGATIVE_INFINITY;
  let pace: NodeJS.Timeout | undefined;

  const write = (event: string, data: object): void => {
    lastSent = performance.now();
    body.push(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  const flush = (): void => {
    clearTimeout(pace);
    pace = undefined;
    if (later !== undefined) write(later.event, later.data);
    later = undefined;
  };
  const comments = setInterval(() => body.push(':\n\n'), COMMENT_MS);
  const stop = (): void => {
    clearInterval(comments);
    clearTimeout(pace);
  };
  const body = new Readable({
    read() {},
    destroy(error, callback) {
      stop();
      callback(error);
    },
  });

  return {
    body,
    send(event, data) {
      flush();
      write(event, data);
    },
    sendSoon(event, data) {
      if (later !== undefined && later.event !== event) flush();
      later = { event, data };
      const wait = lastSent + PACE_MS - performance.now();
      if (wait <= 0) flush();
      else pace ??= setTimeout(flush, wait);
    },
    end() {
      flush();
      stop();
      body.push(null);
    },
  };
}
