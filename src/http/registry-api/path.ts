/** A resource of a repository, as a URL of the registry API names it. */
export interface RegistryPath {
  readonly kind: 'manifests' | 'blobs' | 'referrers' | 'tags';
  /** `<name>` of the specification. */
  readonly name: string;
  /** A tag or a digest; `list` for tags. */
  readonly target: string;
}

const RESOURCE =
  /^(?<name>.+)\/(?:(?<kind>manifests|blobs|referrers)\/(?<target>[^/]+)|(?<tags>tags)\/list)$/;

/**
 * Reads the path below `/v2/`; undefined if the specification has no resource to read there.
 *
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints
 */
export function parseRegistryPath(path: string): RegistryPath | undefined {
  const { name = '', kind, target = 'list' } = RESOURCE.exec(path)?.groups ?? {};
  if (name === '') return undefined;
  return { kind: (kind ?? 'tags') as RegistryPath['kind'], name, target };
}
