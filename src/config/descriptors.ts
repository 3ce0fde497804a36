import type { Config } from './schema.ts';

/**
 * Descriptors reserved for everything but connections: modules, listeners, databases, DNS lookups, notices to systemd.
 */
const RESERVED = 48;
/** Descriptors for each connection: the client, a cache file, and a connection to a registry. */
const PER_CONNECTION = 3;
/**
 * With TLS, one more each, because the server that redirects to HTTPS accepts as many connections as that for HTTPS.
 */
const PER_REDIRECT = 1;

type ConnectionSettings = Pick<Config, 'maxConnections' | 'tls'>;

/**
 * Reads the limit of open descriptors of a process. Node.js raises the soft limit to the hard limit at start.
 *
 * @param limits the text of /proc/self/limits
 * @returns undefined without a limit
 * @see https://man7.org/linux/man-pages/man5/proc_pid_limits.5.html
 */
export function descriptorLimitOf(limits: string): number | undefined {
  const [, soft] = /^Max open files +(\d+) /m.exec(limits) ?? [];
  return soft === undefined ? undefined : Number(soft);
}

/**
 * Lowers the connection limit of a process to what its descriptors allow. Otherwise, clients that hold connections
 * could use up the descriptors for files, registries, and systemd's watchdog.
 *
 * @param settings with `maxConnections` as the share of this process; 0 sets no limit
 * @returns connections; 0 sets no limit
 */
export function connectionsWithin(
  { maxConnections, tls }: ConnectionSettings,
  descriptorLimit: number | undefined,
): number {
  if (descriptorLimit === undefined) return maxConnections;
  const each = PER_CONNECTION + (tls === 'off' ? 0 : PER_REDIRECT);
  const fitting = Math.max(Math.floor((descriptorLimit - RESERVED) / each), 1);
  return maxConnections === 0 ? fitting : Math.min(maxConnections, fitting);
}

/**
 * Explains to the operator that a process cannot open enough descriptors for its share of MAX_CONNECTIONS.
 *
 * @returns undefined if the descriptors suffice, or if the operator has set no limit
 */
export function describeDescriptorShortage(
  { maxConnections, tls }: ConnectionSettings,
  workers: number,
  descriptorLimit: number | undefined,
): string | undefined {
  const share = Math.ceil(maxConnections / workers);
  const fitting = connectionsWithin({ maxConnections: share, tls }, descriptorLimit);
  if (fitting >= share) return undefined;
  const processes = workers === 1 ? 'The process' : `Each of the ${workers} workers`;
  return `${processes} may open ${descriptorLimit} descriptors and accepts only ${fitting} connections instead of ${share}. Raise the limit (LimitNOFILE= in systemd, --ulimit nofile= in Docker), or lower --max-connections.`;
}
