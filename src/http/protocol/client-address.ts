import type { FastifyRequest } from 'fastify';
import { parseIpAddress } from '../../util/ip-address.ts';

/**
 * The address of whoever asks: that of the connection or, behind a proxy that the operator trusts, what the proxy says.
 * What a proxy says that is no address counts for nothing.
 */
export function clientAddress({ ip, socket }: FastifyRequest): string {
  const said = [ip, withoutPort(ip), socket.remoteAddress ?? ''].find((text) => parseIpAddress(text));
  return parseIpAddress(said ?? '')?.toString() ?? 'unknown';
}

/** A few proxies add the port: `198.51.100.7:4711`, `[2001:db8::1]:4711`. */
function withoutPort(text: string): string {
  return text.replace(/^\[([^\]]*)\](?::\d+)?$|^([\d.]+):\d+$/, '$1$2');
}
