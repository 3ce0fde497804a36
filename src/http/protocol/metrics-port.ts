/** The measurements of the HTTP side. Labels have few values: their number does not grow with images or clients. */
export interface HttpMetrics {
  /**
   * A request is over.
   *
   * @param route the pattern of its route, or `none`
   * @param status 499, as nginx has it, where the client went before there was an answer
   */
  answered(route: string, method: string, status: number): void;
  /**
   * A request was refused, or failed.
   *
   * @param code a code of the error catalogue
   * @param limit which of a client's limits it was
   */
  refused(code: string, limit: string | undefined): void;
  /** The bytes of an archive begin to flow. */
  download(): DownloadMetrics;
  /** The bytes of a blob begin to flow to a daemon. */
  pull(): DownloadMetrics;
}

/** One download, or one pull of a blob, that is under way. */
export interface DownloadMetrics {
  /** @param seconds since the request */
  firstByte(seconds: number): void;
  sent(bytes: number): void;
  /** @param seconds since the request */
  end(result: DownloadResult, seconds: number): void;
}

/** `left`: by the client. */
export type DownloadResult = 'ok' | 'left' | 'failed';
