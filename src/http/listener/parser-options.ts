/** Milliseconds from the start of the connection or the last response. */
export interface RequestTimeouts {
  /** The limit for the head of a request. */
  readonly head: number;
  /** The limit for a whole request, including its body. */
  readonly request: number;
  /** The interval between checks for late requests. */
  readonly look: number;
}

export const TIMEOUTS: RequestTimeouts = { head: 20_000, request: 30_000, look: 5_000 };
/** Maximum bytes of the head of a request. */
const MAX_HEADER_SIZE = 16 * 1024;

/** How Node's parser reads requests, for each server of this process. */
export function parserOptions({ head, request, look }: RequestTimeouts) {
  return {
    // Overrides the options of the process, so that two readers of one request cannot understand it in two ways.
    insecureHTTPParser: false,
    // A request without a Host header gets a problem, like other invalid requests.
    requireHostHeader: false,
    maxHeaderSize: MAX_HEADER_SIZE,
    headersTimeout: head,
    requestTimeout: request,
    connectionsCheckingInterval: look,
  };
}
