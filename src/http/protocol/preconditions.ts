/** The headers that a conditional GET or HEAD may carry. */
export interface Preconditions {
  readonly ifMatch: string | undefined;
  readonly ifNoneMatch: string | undefined;
}

/**
 * Settles a conditional request against a strong ETag: `failed` (412), `not-modified` (304) or `passed`.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2
 */
export function evaluatePreconditions(
  { ifMatch, ifNoneMatch }: Preconditions,
  etag: string,
): 'failed' | 'not-modified' | 'passed' {
  if (ifMatch !== undefined && !names(ifMatch, etag, 'strong')) return 'failed';
  if (ifNoneMatch !== undefined && names(ifNoneMatch, etag, 'weak')) return 'not-modified';
  return 'passed';
}

/**
 * Checks whether a Range header applies. If If-Range names another version, the response is the whole new file, so that
 * no download is spliced from two. A date never applies, because responses have no Last-Modified.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5
 */
export function isRangeValid(ifRange: string | string[] | undefined, etag: string): boolean {
  return ifRange === undefined || ifRange === etag;
}

function names(header: string, etag: string, comparison: 'strong' | 'weak'): boolean {
  if (header.trim() === '*') return true;
  const tags = header.match(/(?:W\/)?"[^"]*"/g) ?? [];
  return tags.some((tag) => (comparison === 'weak' ? tag.replace(/^W\//, '') : tag) === etag);
}
