import ipaddr from 'ipaddr.js';

/** An IP address. An IPv4-mapped IPv6 address becomes the IPv4 address. */
export type IpAddress = ipaddr.IPv4 | ipaddr.IPv6;

declare const brand: unique symbol;

/** A range of addresses, which only {@link parseAddressRange} makes. */
export interface AddressRange {
  readonly [brand]: 'AddressRange';
  /** In normal form: `192.0.2.0/24`, `2001:db8::/32`. */
  readonly cidr: string;
  contains(address: IpAddress): boolean;
}

/** The number of cached parsed addresses. Each request parses its client's address several times. */
const MOST_PARSED = 1_000;
/** Characters of an IPv6 address with a zone. */
const LONGEST_ADDRESS = 64;
const parsed = new Map<string, IpAddress>();

const RANGE_RULE = 'must be an address or a range of them, such as 192.0.2.0/24 or 2001:db8::/32';

/** Parses an address; undefined for other text. A zone (`fe80::1%eth0`) is omitted. */
export function parseIpAddress(text: string): IpAddress | undefined {
  const known = parsed.get(text);
  if (known !== undefined) return known;
  const address = parse(text);
  if (address === undefined || text.length > LONGEST_ADDRESS) return address;
  if (parsed.size >= MOST_PARSED) parsed.clear();
  parsed.set(text, address);
  return address;
}

function parse(text: string): IpAddress | undefined {
  // Accepts only the dotted IPv4 form, because programs interpret 127.1 and 0x7f000001 differently.
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text);
  const withoutZone = text.replace(/%.*$/s, '');
  if (!ipaddr.IPv6.isValid(withoutZone)) return undefined;
  const address = ipaddr.IPv6.parse(withoutZone);
  return address.isIPv4MappedAddress() ? address.toIPv4Address() : address;
}

/**
 * Parses a range in CIDR notation, or one address.
 *
 * @throws Error with a message that ends the sentence "The value …"
 * @see https://www.rfc-editor.org/rfc/rfc4632#section-3.1
 */
export function parseAddressRange(text: string): AddressRange {
  const [first = '', length, ...more] = text.split('/');
  const address = parseIpAddress(first);
  if (address === undefined || first.includes('%') || more.length > 0) throw new Error(RANGE_RULE);
  const most = address.kind() === 'ipv4' ? 32 : 128;
  // The prefix of a mapped address includes the 96 bits that mark it as mapped.
  const mapped = address.kind() === 'ipv4' && first.includes(':') ? 96 : 0;
  const prefix = length === undefined ? most : Number(length) - mapped;
  if (length !== undefined && !/^\d{1,3}$/.test(length)) throw new Error(RANGE_RULE);
  if (prefix < 0 || prefix > most) throw new Error(RANGE_RULE);
  const network = networkOf(address, prefix);
  if (network !== address.toString()) throw new Error(`means ${network}/${prefix}; ${RANGE_RULE}`);
  return {
    cidr: `${network}/${prefix}`,
    contains: (other) => other.kind() === address.kind() && other.match(address, prefix),
  } as AddressRange;
}

/** Tells whether an address belongs to this machine or to a private network. */
export function isLocalAddress(address: IpAddress): boolean {
  return ['loopback', 'private', 'linkLocal', 'uniqueLocal', 'carrierGradeNat'].includes(address.range());
}

/** Tells whether an address can only be reached from this machine. */
export function isLoopbackAddress(address: IpAddress): boolean {
  return address.range() === 'loopback';
}

/** Returns the address with all bits after the prefix set to zero: `2001:db8:1:2:3::4`, 64 → `2001:db8:1:2::`. */
export function networkOf(address: IpAddress, prefix: number): string {
  const bytes = address.toByteArray().map((byte, at) => {
    const kept = Math.min(Math.max(prefix - at * 8, 0), 8);
    return byte & (0xff00 >> kept);
  });
  return ipaddr.fromByteArray(bytes).toString();
}
