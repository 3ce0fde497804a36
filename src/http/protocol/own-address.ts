import type { FastifyRequest } from 'fastify';
import type { Replica } from '../../download/replicas.ts';
import { askedHost, askedProtocol } from './asked-origin.ts';
import type { Host } from './host-header.ts';

/** The URLs of this service and its replicas. */
export interface Addresses {
  /** All services that send the same bytes, which may include this one. */
  readonly replicas: readonly Replica[];
  /** The host names of this service; if empty, the host that a request names. */
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
