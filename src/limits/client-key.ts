import { networkOf, parseIpAddress } from '../util/ip-address.ts';

/** The longest prefix that one customer of an access network gets: https://www.rfc-editor.org/rfc/rfc6177 */
const IPV6_PREFIX = 64;

/**
 * Returns the key that limits count as one client: an IPv4 address, `192.0.2.7`, or an IPv6 network,
 * `2001:db8:1:2::/64`.
 */
export function clientKey(address: string): string {
  const parsed = parseIpAddress(address);
  if (parsed?.kind() !== 'ipv6') return parsed?.toString() ?? address;
  return `${networkOf(parsed, IPV6_PREFIX)}/${IPV6_PREFIX}`;
}
