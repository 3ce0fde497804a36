import { PARAMETER_NAMES, type ParameterName } from './parameters.ts';

/** The parameters of a URL, which decide the bytes of its file. Several images make a bundle. */
export type DownloadQuery = { readonly myimage: string | readonly string[] } & {
  readonly [Name in Exclude<ParameterName, 'stream' | 'redirect'>]?: string | readonly string[] | undefined;
};

/** The order in a URL: images first. */
const ORDER = [...new Set<ParameterName>(['myimage', 'have', ...PARAMETER_NAMES])].filter(
  (name) => name !== 'stream' && name !== 'redirect',
);

/** Returns the path and query of a download, as a person writes them: `/dl?myimage=ghcr.io/org/app:1.2`. */
export function downloadUrl(query: DownloadQuery): string {
  const parameters: string[] = [];
  for (const name of ORDER) {
    const value = query[name];
    if (value === undefined) continue;
    for (const one of typeof value === 'string' ? [value] : value)
      parameters.push(`${name}=${readable(one)}`);
  }
  return `/dl?${parameters.join('&')}`;
}

/** Most values, such as names of images, are written as they are. */
const READABLE = /^[\w.~!*'():/@-]*$/;

function readable(value: string): string {
  if (READABLE.test(value)) return value;
  return encodeURIComponent(value).replace(/%(?:2F|3A|40)/g, decodeURIComponent);
}
