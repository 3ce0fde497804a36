import type { FastifyRequest } from 'fastify';
import { askedHost, askedProtocol } from './asked-origin.ts';
import type { Host } from './host-header.ts';

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
 * Finds the origin at which the client reaches this service: the replica or the domain that the request names. If it
 * names another host, that is the first domain, or the named host if the settings have no domain.
 *
 * @returns undefined if the request names no host
 */
export function ownAddress(request: FastifyRequest, { replicas, domains }: Addresses): Replica | undefined {
  const protocol = askedProtocol(request);
  const replicaAt = (asked: Host): Replica | undefined => {
    const { host } = new URL(`${protocol}://${asked.host}${asked.port}`);
    return replicas.find(({ origin }) => new URL(origin).host === host);
  };
  const asked = askedHost(request, (host) => domains.includes(host.host) || replicaAt(host) !== undefined);
  const replica = asked && replicaAt(asked);
  if (replica !== undefined) return replica;
  const [domain] = domains;
  if (domain !== undefined && !domains.includes(asked?.host ?? '')) return { origin: `https://${domain}` };
  return asked && { origin: new URL(`${protocol}://${asked.host}${asked.port}`).origin };
}

/** The replicas beside this one. */
export function otherReplicas({ replicas }: Addresses, own: Replica | undefined): readonly Replica[] {
  return replicas.filter(({ origin }) => origin !== own?.origin);
}
