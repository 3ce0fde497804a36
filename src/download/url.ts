/** What a download is asked for by. */
export interface DownloadQuery {
  /** Several make a bundle. */
  readonly myimage: string | readonly string[];
  readonly have?: string | readonly string[] | undefined;
  readonly platform?: string | undefined;
  readonly format?: string | undefined;
  readonly referrers?: string | undefined;
  readonly parts?: string | undefined;
  readonly part?: string | undefined;
  readonly checksum?: string | undefined;
  readonly metalink?: string | undefined;
}

/** The path and query of a download, as people would write them: `/dl?myimage=ghcr.io/org/app:1.2`. */
export function downloadUrl(query: DownloadQuery): string {
  const { myimage, have, platform, format, referrers, parts, part, checksum, metalink } = query;
  const ordered = { myimage, have, platform, format, referrers, parts, part, checksum, metalink };
  const parameters = Object.entries(ordered).flatMap(([name, given]) =>
    [given ?? []].flat().map((value) => `${name}=${readable(value)}`),
  );
  return `/dl?${parameters.join('&')}`;
}

function readable(value: string): string {
  return encodeURIComponent(value).replace(/%(?:2F|3A|40)/g, decodeURIComponent);
}
