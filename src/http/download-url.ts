/** What a download is asked for by. */
interface DownloadQuery {
  readonly myimage: string;
  readonly platform?: string | undefined;
  readonly format?: string | undefined;
}

/** The path and query of a download, as people would write them: `/dl?myimage=ghcr.io/org/app:1.2`. */
export function downloadUrl({ myimage, platform, format }: DownloadQuery): string {
  const parameters = Object.entries({ myimage, platform, format }).flatMap(([name, value]) =>
    value === undefined
      ? []
      : [`${name}=${encodeURIComponent(value).replace(/%(?:2F|3A|40)/g, decodeURIComponent)}`],
  );
  return `/dl?${parameters.join('&')}`;
}
