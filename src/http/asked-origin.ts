import type { FastifyRequest } from 'fastify';
import { type Host, parseHost } from './host-header.ts';

/**
 * Returns the scheme that the client uses: that of the connection, or of X-Forwarded-Proto from a trusted proxy. Any value
 * but http and https counts for nothing: it would make an address that no client can open.
 */
export function askedProtocol({ protocol, raw }: FastifyRequest): 'http' | 'https' {
  const said = protocol.toLowerCase();
  if (said === 'http' || said === 'https') return said;
  return 'encrypted' in raw.socket && raw.socket.encrypted ? 'https' : 'http';
}

/**
 * Returns the host that the client asks for: X-Forwarded-Host from a trusted proxy, but only a host of this service, as
 * usual proxies pass on what a client writes there; otherwise the Host header.
 *
 * @param isOwn tells whether the settings name a host
 * @returns undefined where the request names no host
 */
export function askedHost({ host, raw }: FastifyRequest, isOwn: (host: Host) => boolean): Host | undefined {
  const forwarded = parseHost(host);
  return forwarded !== undefined && isOwn(forwarded) ? forwarded : parseHost(raw.headers.host);
}
