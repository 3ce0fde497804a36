import { createHash } from 'node:crypto';
import { get, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { get as getOverTls, type RequestOptions } from 'node:https';

/** A complete response. */
export interface Download {
  status: number;
  headers: IncomingHttpHeaders;
  sha256: string;
  /** Bytes. */
  size: number;
}

/** A client that can pause, continue, and disconnect. It keeps only the hash of the received bytes. */
export interface OngoingDownload {
  /** Bytes so far. */
  received(): number;
  /** Reads on after a pause, up to a total number of bytes; to the end by default. */
  resume(until?: number): void;
  leave(): void;
  /** Rejects if the body is broken off or the client has left. */
  done: Promise<Download>;
}

export interface DownloadOptions {
  headers?: Record<string, string>;
  /** Bytes after which it stops reading; 0 reads nothing at first. */
  pauseAt?: number;
  /** For https:// alone: the trusted authorities, and the addresses of names. */
  tls?: Pick<RequestOptions, 'ca' | 'lookup'>;
}

/** Begins a download. A broken one rejects `done`, which callers may ignore. */
export function startDownload(url: string, options: DownloadOptions = {}): OngoingDownload {
  const hash = createHash('sha256');
  let size = 0;
  let limit = options.pauseAt ?? Number.POSITIVE_INFINITY;
  let response: IncomingMessage | undefined;
  const result = Promise.withResolvers<Download>();
  result.promise.catch(() => {});
  const common = { agent: false as const, headers: options.headers ?? {} };
  const request = url.startsWith('https:')
    ? getOverTls(url, { ...common, ...options.tls })
    : get(url, common);
  request.once('error', result.reject);
  request.once('response', (message) => {
    response = message;
    message.on('data', (chunk: Buffer) => {
      size += chunk.length;
      hash.update(chunk);
      if (size >= limit) message.pause();
    });
    if (limit === 0) message.pause();
    message.once('error', result.reject);
    message.once('end', () => {
      const { statusCode: status = 0, headers } = message;
      result.resolve({ status, headers, sha256: hash.digest('hex'), size });
    });
  });
  return {
    received: () => size,
    resume: (until = Number.POSITIVE_INFINITY) => {
      limit = until;
      response?.resume();
    },
    leave: () => {
      request.destroy();
      result.reject(new Error('the client has left'));
    },
    done: result.promise,
  };
}

/** Downloads a whole file; rejects if the body ends early. */
export function download(url: string, options?: DownloadOptions): Promise<Download> {
  return startDownload(url, options).done;
}
