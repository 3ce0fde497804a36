/**
 * The reason of an abort after the work is over. Without a reason, Node.js creates an error with a stack for each abort,
 * which takes longer than the rest of a short response.
 */
export const ABORTED: DOMException = new DOMException('This operation was aborted', 'AbortError');
