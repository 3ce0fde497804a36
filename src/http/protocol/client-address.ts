import type { FastifyRequest } from 'fastify';
import { parseIpAddress } from '../../util/ip-address.ts';

/**
 * Returns the client's address: that of the connection or, behind a trusted proxy, the address that the proxy states.
 * An invalid address from a proxy is ignored. `unknown` if the client has disconnected.
 */
export function clientAddress({ ip, socket: { remoteAddress = '' } }: FastifyRequest): string {
  // Fastify takes the address from the connection. After a reset, it is undefined.
  const stated = (ip as string | undefined) ?? '';
  const address =
    parseIpAddress(stated) ?? parseIpAddress(withoutPort(stated)) ?? parseIpAddress(remoteAddress);
  return address?.toString() ?? 'unknown';
}

/** A few proxies add the port: `198.51.100.7:4711`, `[2001:db8::1]:4711`. */
function withoutPort(text: string): string {
  return text.replace(/^\[([^\]]*)\](?::\d+)?$|^([\d.]+):\d+$/, '$1$2');
}
