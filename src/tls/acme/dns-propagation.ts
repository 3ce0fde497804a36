/** The used functions of a DNS resolver. */
export interface DnsResolver {
  resolveNs(zone: string): Promise<string[]>;
  resolveCname(name: string): Promise<string[]>;
  resolve4(host: string): Promise<string[]>;
  resolve6(host: string): Promise<string[]>;
  resolveTxt(name: string): Promise<string[][]>;
}

export interface PropagationOptions {
  /** Opens a resolver that asks these servers, as `address` or `address:port`; without any, those of the system. */
  readonly openResolver: (servers?: readonly string[]) => DnsResolver;
  /** The servers that must have the record. Without any, the authoritative servers of its domain. */
  readonly servers: readonly string[];
}

/** Looks for a TXT record. Returns undefined if it is visible, or otherwise a clause that says where it is missing. */
export type FindRecord = (name: string, value: string) => Promise<string | undefined>;

/** A longer chain of aliases is a loop. */
const MOST_ALIASES = 8;
/** A domain has up to 13 name servers with two addresses each. */
const MOST_SERVERS = 26;
/** Codes of a server that answered without a record. */
const NO_RECORD = new Set(['ENOTFOUND', 'ENODATA']);

/**
 * Checks that each authoritative server has a record, because the authority asks any of them. A question that comes too
 * early would fail the order. A server that does not respond is ignored if another one does.
 */
export function createPropagationCheck({ openResolver, servers }: PropagationOptions): FindRecord {
  const look = async (
    server: string,
    name: string,
    value: string,
  ): Promise<'there' | 'missing' | 'silent'> => {
    try {
      const records = await openResolver([server]).resolveTxt(name);
      return records.some((parts) => parts.join('') === value) ? 'there' : 'missing';
    } catch (error) {
      return NO_RECORD.has(codeOf(error)) ? 'missing' : 'silent';
    }
  };
  return async (name, value) => {
    const system = openResolver();
    const target = servers.length > 0 ? name : await followAliases(system, name);
    const asked = servers.length > 0 ? servers : await authoritativeServers(system, target);
    if (asked.length === 0) return `the name servers of ${target} cannot be found`;
    const found = await Promise.all(asked.map((server) => look(server, target, value)));
    const missing = asked.filter((_server, index) => found[index] === 'missing');
    if (missing.length > 0) return `it is missing at ${missing.join(', ')}`;
    return found.includes('there') ? undefined : `none of ${asked.join(', ')} responds`;
  };
}

/** A record may be delegated to another domain by a CNAME. */
async function followAliases(resolver: DnsResolver, name: string): Promise<string> {
  let target = name;
  for (let alias = 0; alias < MOST_ALIASES; alias += 1) {
    const [next] = await resolver.resolveCname(target).catch((): string[] => []);
    if (next === undefined) return target;
    target = next;
  }
  return target;
}

/** Finds the addresses of the name servers of the closest zone above a name. */
async function authoritativeServers(resolver: DnsResolver, name: string): Promise<string[]> {
  const labels = name.split('.');
  for (let first = 0; first < labels.length - 1; first += 1) {
    const hosts = await resolver.resolveNs(labels.slice(first).join('.')).catch((): string[] => []);
    if (hosts.length === 0) continue;
    const addresses = await Promise.all(
      hosts.flatMap((host) => [
        resolver.resolve4(host).catch((): string[] => []),
        resolver.resolve6(host).catch((): string[] => []),
      ]),
    );
    return addresses.flat().slice(0, MOST_SERVERS);
  }
  return [];
}

function codeOf(error: unknown): string {
  return String((error as NodeJS.ErrnoException).code);
}
