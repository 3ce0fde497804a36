import type { FastifyRequest } from 'fastify';
import { type Host, parseHost } from './host-header.ts';

/**
 * Returns the scheme that the client uses: that of the connection, or X-Forwarded-Proto from a trusted proxy. Values
 * other than http and https are ignored, because no client could open such an address.
 */
export function askedProtocol({ protocol, raw }: FastifyRequest): 'http' | 'https' {
  const said = protocol.toLowerCase();
  if (said === 'http' || said === 'https') return said;
  return 'encrypted' in raw.socket && raw.socket.encrypted ? 'https' : 'http';
}

/**
 * Returns the host that the client requests: the Host header, or X-Forwarded-Host from a trusted proxy if it names a
 * host of this service. Other values are ignored, because common proxies pass on what a client writes there.
 *
 * @param isOwn returns whether the settings name a host
 * @returns undefined if the request names no host
 */
export function askedHost({ host, raw }: FastifyRequest, isOwn: (host: Host) => boolean): Host | undefined {
  const forwarded = parseHost(host);
  return forwarded !== undefined && isOwn(forwarded) ? forwarded : parseHost(raw.headers.host);
}
