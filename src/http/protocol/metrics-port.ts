/** The measurements of the HTTP side. Labels have few values: their number does not grow with images or clients. */
export interface HttpMetrics {
  /**
   * Counts a finished request.
   *
   * @param route the pattern of its route, or `none`
   * @param status 499, as in nginx, if the client disconnected before the response
   */
  answered(route: string, method: string, status: number): void;
  /**
   * Counts a refused or failed request.
   *
   * @param code a code of the error catalogue
   * @param limit the exceeded limit of the client
   */
  refused(code: string, limit: string | undefined): void;
  /** Notes that the first bytes of an archive are sent. */
  download(): DownloadMetrics;
  /** Notes that the first bytes of a blob are sent to a daemon. */
  pull(): DownloadMetrics;
}

/** One download, or one pull of a blob, in progress. */
export interface DownloadMetrics {
  /** @param seconds since the request */
  firstByte(seconds: number): void;
  sent(bytes: number): void;
  /** @param seconds since the request */
  end(result: DownloadResult, seconds: number): void;
}

/** `left`: the client disconnected. */
export type DownloadResult = 'ok' | 'left' | 'failed';
