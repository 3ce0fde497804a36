import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { createGate } from '../util/gate.ts';

/** Resolves a name to all its addresses. */
export type Lookup = (hostname: string) => Promise<LookupAddress[]>;

export interface StrangerLookupOptions {
  /** The system's resolver, which occupies a thread for as long as a name server does not answer. */
  readonly system?: Lookup;
  /** Name servers such as `127.0.0.1:53`; those of the system if absent. */
  readonly servers?: readonly string[];
  readonly hostsFile?: string;
  /** Timeout of one DNS query in milliseconds; 2,000 by default. A query is repeated once. */
  readonly questionTimeout?: number;
  /** Milliseconds that a lookup may wait for the system's resolver; 5,000 by default. */
  readonly turnTimeout?: number;
}

/** The second try goes to the next server. */
const TRIES = 2;

/** The system's resolver, which knows the hosts file and the operator's configuration. */
export const lookupBySystem: Lookup = (hostname) =>
  new Promise((resolve, reject) => {
    systemLookup(hostname, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)));
  });

/**
 * Creates a lookup for names that clients choose. It queries name servers over sockets, so that a zone that does not
 * answer occupies no thread. The system's resolver would use half of libuv's threads. It resolves only names in the
 * hosts file and, one at a time, names that the name servers do not find.
 */
export function createStrangerLookup({
  system = lookupBySystem,
  servers,
  hostsFile = '/etc/hosts',
  questionTimeout = 2_000,
  turnTimeout = 5_000,
}: StrangerLookupOptions = {}): Lookup {
  const resolver = new Resolver({ timeout: questionTimeout, tries: TRIES });
  if (servers !== undefined) resolver.setServers(servers);
  const gate = createGate(1);

  const ask = async (hostname: string): Promise<LookupAddress[]> => {
    const [four, six] = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)]);
    const listOf = (found: PromiseSettledResult<string[]>, family: 4 | 6): LookupAddress[] =>
      found.status === 'fulfilled' ? found.value.map((address) => ({ address, family })) : [];
    return [...listOf(four, 4), ...listOf(six, 6)];
  };

  return async (hostname) => {
    if (await isInHosts(hostsFile, hostname)) return system(hostname);
    const found = await ask(hostname);
    return found.length > 0 ? found : gate.run(() => system(hostname), AbortSignal.timeout(turnTimeout));
  };
}

async function isInHosts(file: string, hostname: string): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const name = hostname.toLowerCase();
  return text.split('\n').some((line) => {
    const [, ...names] = line.replace(/#.*/, '').trim().toLowerCase().split(/\s+/);
    return names.includes(name);
  });
}
