import type { Repository } from '../oci/reference.ts';

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
// Each run of spaces matches in only one way, so that an unterminated header is refused in linear time.
const PARAMETER = `\\s*;(?:\\s*${TOKEN}(?:\\s*=\\s*(?:"(?:[^"\\\\]|\\\\.)*"|[^\\s,;"]*))?)?`;
// Docker and skopeo also accept a target without angle brackets.
const LINK = new RegExp(`(?:<([^<>]*)>|([^\\s<>;,"]+))((?:${PARAMETER})*)\\s*(?:,[\\s,]*|$)`, 'y');
/** Stands for an unreadable target. It is not a valid URL. */
const UNREADABLE = 'http://[';
const REL = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s,;"]*))/i;

/**
 * Finds the query of the next page of a list, such as `?n=1000&last=1.27`, in a link to the same list. The scheme and
 * host of the link are ignored: a registry behind a proxy may state others, and must not choose the next host.
 *
 * @param resource the list in its repository, such as `tags/list`
 * @param base the URL that answered
 * @returns undefined on the last page, `'astray'` if the link names another list
 * @see https://www.rfc-editor.org/rfc/rfc8288
 */
export function nextPage(
  link: string | undefined,
  { path }: Repository,
  resource: string,
  base: URL,
): `?${string}` | '' | 'astray' | undefined {
  const target = nextTarget(link ?? '');
  if (target === undefined) return undefined;
  const url = URL.parse(target, base.href);
  const named = url && decoded(url.pathname);
  // The API of a mirror may have a path other than /v2, and another registry may have answered after a redirect.
  const isThisList = named?.endsWith(`/${path}/${resource}`) || named === decoded(base.pathname);
  return url && isThisList ? (url.search as `?${string}` | '') : 'astray';
}

/**
 * Reads the target of the first link to a next page. A link without `rel` counts, because Docker, skopeo, and crane
 * ignore `rel`. An unreadable header returns {@link UNREADABLE}.
 */
function nextTarget(header: string): string | undefined {
  let end = /^[\s,]*/.exec(header)?.[0].length ?? 0;
  while (end < header.length) {
    LINK.lastIndex = end;
    const link = LINK.exec(header);
    if (link === null) return UNREADABLE;
    end = LINK.lastIndex;
    const [, bracketed, plain = '', parameters = ''] = link;
    const [, quoted, bare] = REL.exec(withoutOtherTexts(parameters)) ?? [];
    const relations = (quoted ?? bare ?? 'next').toLowerCase().split(/\s+/);
    if (relations.includes('next')) return bracketed ?? plain;
  }
  return undefined;
}

/** Empties quoted values except that of `rel`, because they could contain something that looks like a parameter. */
function withoutOtherTexts(parameters: string): string {
  return parameters.replace(/([^\s;=]+)(\s*=\s*)"(?:[^"\\]|\\.)*"/g, (whole, name: string, equals: string) =>
    name.toLowerCase() === 'rel' ? whole : `${name}${equals}""`,
  );
}

function decoded(pathname: string): string {
  try {
    return decodeURIComponent(pathname);
  } catch {
    return pathname;
  }
}
