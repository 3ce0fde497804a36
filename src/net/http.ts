import type { Readable } from 'node:stream';

/** A request; redirects of GET and HEAD are followed, POST is not redirected. */
export interface HttpRequest {
  readonly method?: 'GET' | 'HEAD' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /**
   * The origin of the registry that chose the URL, or {@link ANYONE}. Absent if the URL is the registry's own.
   */
  readonly chosenBy?: string;
}

/** The value for URLs from an image, which no listed origin has chosen. */
export const ANYONE = 'anyone';

/** A response whose body the caller reads, drains or destroys. */
export interface HttpResponse {
  readonly status: number;
  /** The method of the request; GET if absent. */
  readonly method?: HttpRequest['method'];
  /** The URL of the response, after redirects. */
  readonly url: URL;
  /** Returns the first line of a header; for lists such as Link, all lines joined by commas. */
  header(name: string): string | undefined;
  readonly body: Readable;
  /** Releases the memory of a chunk of the body early; optional. See {@link ReadBuffers.release}. */
  release(chunk: Uint8Array): void;
  /** Runs work that holds a large body in memory once memory is available; immediately if absent. */
  readonly holdLarge?: <T>(work: () => Promise<T>) => Promise<T>;
}

/** The only HTTP client: every request, redirect, and connection passes the guard. */
export interface HttpClient {
  /**
   * Sends a request and waits for the response's headers.
   *
   * @throws ServiceError `address-refused`, `registry-timeout`, `registry-failed`; AbortError
   */
  request(url: URL, request: HttpRequest, signal: AbortSignal): Promise<HttpResponse>;
  close(): Promise<void>;
}
