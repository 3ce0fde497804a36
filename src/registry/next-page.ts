import type { Repository } from '../oci/reference.ts';

/**
 * The query of the next page of a list, such as `?n=1000&last=1.27`; undefined where there is none, and `'astray'` where the
 * link leads elsewhere: a registry has no say in where it is, so that only this list at this origin is asked for it.
 *
 * @param resource the list in its repository, such as `tags/list`
 * @see https://www.rfc-editor.org/rfc/rfc8288
 */
export function nextPage(
  link: string | undefined,
  { path }: Repository,
  resource: string,
  base: URL,
): `?${string}` | '' | 'astray' | undefined {
  const [, target = ''] = /<([^<>]*)>\s*;[^<]*\brel="?next"?/i.exec(link ?? '') ?? [];
  if (target === '') return undefined;
  const url = URL.parse(target, base.href);
  // The API of a mirror need not be at /v2.
  const isThisList = url?.origin === base.origin && url.pathname.endsWith(`/${path}/${resource}`);
  return isThisList ? (url.search as `?${string}` | '') : 'astray';
}
