import type { LookupAddress } from 'node:dns';
import ipaddr from 'ipaddr.js';
import { type DetailId, detail } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';

/**
 * Checks addresses that a client or a registry chooses: a registry, a token realm, the target of a redirect. Only HTTPS
 * to public unicast addresses of other machines passes, unless the operator lists exactly this origin.
 */
export interface Guard {
  /**
   * Checks the scheme of a URL and, if its host is a literal address, that address. {@link Guard.checkAddresses} checks
   * the addresses of a name after its resolution.
   *
   * @param chosenBy as in {@link Guard.trusts}
   * @throws ServiceError `address-refused`
   */
  checkUrl(url: URL, chosenBy?: string): void;
  /**
   * Checks every address of a name. One forbidden address refuses the name.
   *
   * @throws ServiceError `address-refused`
   */
  checkAddresses(hostname: string, addresses: readonly LookupAddress[]): void;
  /**
   * Checks whether the operator lists this origin, such as `http://127.0.0.1:5000`, and the origin that names it. An
   * unlisted origin cannot reach a listed one.
   *
   * @param chosenBy the origin of the registry that named it, as a realm or a redirect; by default, the origin itself
   */
  trusts(origin: string, chosenBy?: string): boolean;
}

/**
 * @param trustedOrigins origins in the URL standard's form, scheme included, default ports omitted
 * @param ownAddresses returns the current addresses of this machine. They are refused even if they are public, because
 *   services that listen there may be internal.
 */
export function createGuard(
  trustedOrigins: Iterable<string>,
  ownAddresses: () => readonly string[] = () => [],
): Guard {
  const trusted = new Set(trustedOrigins);
  const refuseInside = (host: string, address: string): void => {
    if (!isPublic(address)) throw refusal(host, 'address-private');
    const isOwn = ownAddresses().some((own) => ipaddr.isValid(own) && isSame(own, address));
    if (isOwn) throw refusal(host, 'address-own');
  };
  const trusts: Guard['trusts'] = (origin, chosenBy = origin) => trusted.has(origin) && trusted.has(chosenBy);
  return {
    trusts,

    checkUrl(url, chosenBy) {
      if (trusts(url.origin, chosenBy)) return;
      if (url.protocol !== 'https:') throw refusal(url.host, 'address-not-https');
      if (url.username !== '' || url.password !== '') throw refusal(url.host, 'address-credentials');
      // The URL parser has normalized every notation, such as 0x7f000001, 2130706433, and 127.1.
      const literal = url.hostname.replace(/^\[|\]$/g, '');
      if (ipaddr.isValid(literal)) refuseInside(url.host, literal);
    },

    checkAddresses(hostname, addresses) {
      for (const { address } of addresses) refuseInside(hostname, address);
    },
  };
}

/**
 * Trusts one more origin, such as a mirror, for itself only. Its redirects are checked as before, and other origins
 * cannot name it.
 *
 * @param listed in the URL standard's form, as {@link createGuard} takes it
 */
export function alsoTrusting(listed: string, guard: Guard): Guard {
  const trusts: Guard['trusts'] = (origin, chosenBy = origin) =>
    chosenBy === listed ? origin === listed || guard.trusts(origin) : guard.trusts(origin, chosenBy);
  return {
    trusts,
    checkUrl(url, chosenBy) {
      if (!trusts(url.origin, chosenBy)) guard.checkUrl(url, chosenBy);
    },
    checkAddresses: (hostname, addresses) => guard.checkAddresses(hostname, addresses),
  };
}

/**
 * Creates a guard for downloads of files whose signatures the caller verifies. It therefore allows plain HTTP. Trusted
 * origins may have any address.
 *
 * @param ownAddresses as {@link createGuard} takes them
 */
export function guardSignedFiles(
  isTrusted: (origin: string) => boolean,
  ownAddresses: () => readonly string[],
): Guard {
  const guard = createGuard([], ownAddresses);
  return {
    trusts: isTrusted,
    checkUrl(url) {
      if (isTrusted(url.origin)) return;
      const secure = new URL(url);
      secure.protocol = 'https:';
      guard.checkUrl(secure);
    },
    checkAddresses: guard.checkAddresses,
  };
}

/** Tells whether an address is globally routed unicast: not private, loopback, link-local, mapped, translated, … */
function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.range() !== 'unicast') return false;
  // The only range that is assigned so far: https://www.iana.org/assignments/ipv6-address-space.
  return parsed instanceof ipaddr.IPv4 || parsed.match(ipaddr.IPv6.parse('2000::'), 3);
}

function isSame(one: string, other: string): boolean {
  return ipaddr.parse(one).toNormalizedString() === ipaddr.parse(other).toNormalizedString();
}

function refusal(host: string, id: Extract<DetailId, `address-${string}`>): ServiceError {
  return new ServiceError('address-refused', detail(id, { host: quote(host) }));
}
