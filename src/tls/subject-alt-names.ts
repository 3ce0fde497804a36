import { isIP } from 'node:net';
import { der, sequence } from './der.ts';

/**
 * Encodes DNS names and IP addresses as the value of the extension subjectAltName.
 *
 * @see https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6
 */
export function subjectAltNames(names: readonly string[]): Buffer {
  return sequence(...names.map(generalName));
}

function generalName(name: string): Buffer {
  if (isIP(name) === 0) return der(0x82, Buffer.from(name));
  return der(0x87, isIP(name) === 4 ? Buffer.from(name.split('.').map(Number)) : ipv6Bytes(name));
}

/** Encodes an IPv6 address in 16 bytes. */
export function ipv6Bytes(address: string): Buffer {
  // URL normalizes an IPv6 address, without an IPv4 tail.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (part: string | undefined): number[] =>
    part ? part.split(':').map((group) => Number.parseInt(group, 16)) : [];
  const [first, last] = [groups(head), groups(tail)];
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}
