/** What a download is asked for by. */
interface DownloadQuery {
  readonly myimage: string | readonly string[];
  readonly have?: string | readonly string[] | undefined;
  readonly platform?: string | undefined;
  readonly format?: string | undefined;
}

/** The path and query of a download, as people would write them: `/dl?myimage=ghcr.io/org/app:1.2`. */
export function downloadUrl({ myimage, have, platform, format }: DownloadQuery): string {
  const parameters = Object.entries({ myimage, have, platform, format }).flatMap(([name, values]) =>
    [values ?? []]
      .flat()
      .map((value) => `${name}=${encodeURIComponent(value).replace(/%(?:2F|3A|40)/g, decodeURIComponent)}`),
  );
  return `/dl?${parameters.join('&')}`;
}
