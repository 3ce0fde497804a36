import { registryOrigin } from '../oci/registry-host.ts';
import type { CredentialStore } from '../registry/credentials.ts';

/** The connections of a command, reported to its user. */
export interface ConnectionReport {
  /** Reports a server on its first answer. Without a status, the server did not respond. */
  answered(host: string, status: number | undefined): void;
  /** Reports the user that reads from registries. */
  user(name: string, registries: string): void;
  /** Wraps a store to report users when they are found. Passwords and tokens are not reported. */
  noting(store: CredentialStore): CredentialStore;
}

export interface ConnectionReportOptions {
  /** The registries of the images. */
  readonly domains: readonly string[];
  /** The hosts of a registry's mirrors. */
  readonly mirrorsOf: (domain: string) => readonly string[];
  readonly write: (line: string) => void;
}

/** Creates a report that states each fact once. */
export function createConnectionReport({
  domains,
  mirrorsOf,
  write,
}: ConnectionReportOptions): ConnectionReport {
  const known = new Set<string>();
  const once = (line: string): void => {
    if (!known.has(line)) write(`${line}\n`);
    known.add(line);
  };
  const roleOf = (host: string): string => {
    const own = domains.find((domain) => new URL(registryOrigin(domain, new Set())).host === host);
    if (own !== undefined) return `registry ${own}`;
    const mirrored = domains.find((domain) => mirrorsOf(domain).includes(host));
    return mirrored === undefined ? `server ${host}` : `mirror ${host} of ${mirrored}`;
  };
  return {
    answered(host, status) {
      once(`Using ${roleOf(host)}${status === undefined ? ', which does not respond' : ''}`);
    },
    user: (name, registries) => once(`Using the user ${name} for ${registries}`),
    noting: (store) => ({
      async find(domain) {
        const found = await store.find(domain);
        const user = found?.kind === 'password' ? `the user ${found.username}` : 'a token';
        once(found === undefined ? `No credentials for ${domain}` : `Using ${user} for ${domain}`);
        return found;
      },
    }),
  };
}
