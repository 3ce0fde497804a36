/** Milliseconds, from the connection or the last answer on. */
export interface RequestTimeouts {
  /** In which a request's head must have come. */
  readonly head: number;
  /** In which all of a request must have come, also while it is answered. */
  readonly request: number;
  /** How often is looked for those that have not. */
  readonly look: number;
}

export const TIMEOUTS: RequestTimeouts = { head: 20_000, request: 30_000, look: 5_000 };
/** Bytes. */
const MAX_HEADER_SIZE = 16 * 1024;

/** How Node's parser reads requests, for each server of this process. */
export function parserOptions({ head, request, look }: RequestTimeouts) {
  return {
    // Overrides the options of the process, so that two readers of one request cannot understand it in two ways.
    insecureHTTPParser: false,
    // A request without one gets a problem, like all others.
    requireHostHeader: false,
    maxHeaderSize: MAX_HEADER_SIZE,
    headersTimeout: head,
    requestTimeout: request,
    connectionsCheckingInterval: look,
  };
}
