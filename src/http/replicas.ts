import type { FastifyRequest } from 'fastify';
import { HOST } from './host-header.ts';

/** A service that sends the same bytes for the same URL. */
export interface Replica {
  /** Its public address: `https://dl.example.org`. */
  readonly origin: string;
  /** The country that it is in, as ISO 3166-1 has it, in lower case. */
  readonly location?: string | undefined;
}

/** Where this service and its like are reached. */
export interface Addresses {
  /** All services that send the same; this one may be among them. */
  readonly replicas: readonly Replica[];
  /** The host names of this one; without any, it has the name that it is asked by. */
  readonly domains: readonly string[];
}

/**
 * Tells where the client reaches this service: the replica, or one of the domains, that it has asked, or whatever it has
 * asked where no domain is set; undefined where it has named no host.
 */
export function ownAddress(
  { protocol, host: header }: FastifyRequest,
  { replicas, domains }: Addresses,
): Replica | undefined {
  const { host, port = '' } = HOST.exec((header ?? '').toLowerCase())?.groups ?? {};
  const asked = URL.parse(`${protocol}://${host}${port}`);
  const replica = replicas.find(({ origin }) => new URL(origin).host === asked?.host);
  if (replica !== undefined) return replica;
  const [domain] = domains;
  if (domain !== undefined && !domains.includes(host ?? '')) return { origin: `https://${domain}` };
  return asked === null || host === undefined ? undefined : { origin: asked.origin };
}

/** The replicas beside this one. */
export function otherReplicas({ replicas }: Addresses, own: Replica | undefined): readonly Replica[] {
  return replicas.filter(({ origin }) => origin !== own?.origin);
}
