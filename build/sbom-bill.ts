/** The parts of package-lock.json that a bill needs. */
export interface Lock {
  readonly name: string;
  readonly version: string;
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

interface LockedPackage {
  readonly name?: string;
  readonly version?: string;
  readonly license?: string;
  /** As in Subresource Integrity: algorithm, hyphen, base64. */
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly link?: boolean;
}

/** A component of CycloneDX. */
export interface Component {
  readonly type: 'application' | 'library';
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses?: readonly [{ readonly expression: string }];
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

/**
 * Describes the packages of a release in CycloneDX 1.6, without those that only development needs. npm's own command
 * writes a random serial number and the current time, so that each of its bills differs.
 *
 * @see https://cyclonedx.org/docs/1.6/json/
 */
export function bill(lock: Lock, time: Date) {
  const components = Object.entries(lock.packages)
    .filter(([path, { dev, link }]) => path !== '' && !dev && !link)
    .map(([path, locked]) =>
      component('library', locked.name ?? path.replace(/^.*(?:node_modules|vendor)\//, ''), locked),
    );
  const unique = new Map(components.map((one) => [one['bom-ref'], one]));
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      timestamp: time.toISOString(),
      component: component('application', lock.name, lock.packages[''] ?? lock),
    },
    components: [...unique.values()].sort((a, b) => (a['bom-ref'] < b['bom-ref'] ? -1 : 1)),
  };
}

function component(type: Component['type'], name: string, locked: LockedPackage): Component {
  const version = locked.version ?? '0.0.0';
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  const [algorithm = '', digest = ''] = locked.integrity?.split(/-(.*)/) ?? [];
  return {
    type,
    'bom-ref': purl,
    name,
    version,
    purl,
    ...(locked.license && { licenses: [{ expression: locked.license }] }),
    ...(digest && {
      hashes: [
        { alg: algorithm.replace('sha', 'SHA-'), content: Buffer.from(digest, 'base64').toString('hex') },
      ],
    }),
  };
}
