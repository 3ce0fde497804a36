import type { LookupAddress } from 'node:dns';
import ipaddr from 'ipaddr.js';
import { type DetailId, detail } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';

/**
 * Judges addresses that someone else chose: a user's registry, a token realm, a redirect's target. Only HTTPS to
 * public unicast addresses of other machines passes, unless the operator has listed the very origin.
 */
export interface Guard {
  /**
   * Judges a URL: its scheme and, where its host is a literal address, that address. A name passes here and is judged
   * by {@link Guard.judgeAddresses} once it is resolved.
   *
   * @param chosenBy as {@link Guard.trusts} takes it
   * @throws ServiceError `address-refused`
   */
  judgeUrl(url: URL, chosenBy?: string): void;
  /**
   * Judges every address that a name resolved to; one bad address refuses them all.
   *
   * @throws ServiceError `address-refused`
   */
  judgeAddresses(hostname: string, addresses: readonly LookupAddress[]): void;
  /**
   * Checks whether the operator lists this origin, such as `http://127.0.0.1:5000`, and the origin that names it. An
   * unlisted origin cannot reach a listed one.
   *
   * @param chosenBy the origin of the registry that named it, as a realm or a redirect; the origin itself where absent
   */
  trusts(origin: string, chosenBy?: string): boolean;
}

/**
 * @param trustedOrigins origins in the URL standard's form, scheme included, default ports omitted
 * @param ownAddresses those of this machine at the moment, which are its inside though they may be public: what listens
 * there may be for itself alone
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

    judgeUrl(url, chosenBy) {
      if (trusts(url.origin, chosenBy)) return;
      if (url.protocol !== 'https:') throw refusal(url.host, 'address-not-https');
      if (url.username !== '' || url.password !== '') throw refusal(url.host, 'address-credentials');
      // The URL parser has brought every notation (0x7f000001, 2130706433, 127.1) to one form.
      const literal = url.hostname.replace(/^\[|\]$/g, '');
      if (ipaddr.isValid(literal)) refuseInside(url.host, literal);
    },

    judgeAddresses(hostname, addresses) {
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
    judgeUrl(url, chosenBy) {
      if (!trusts(url.origin, chosenBy)) guard.judgeUrl(url, chosenBy);
    },
    judgeAddresses: (hostname, addresses) => guard.judgeAddresses(hostname, addresses),
  };
}

/** Tells whether an address is globally routed unicast: not private, loopback, link-local, mapped, translated, … */
function isPublic(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.range() !== 'unicast') return false;
  // https://www.iana.org/assignments/ipv6-address-space: all that is assigned so far.
  return parsed instanceof ipaddr.IPv4 || parsed.match(ipaddr.IPv6.parse('2000::'), 3);
}

function isSame(one: string, other: string): boolean {
  return ipaddr.parse(one).toNormalizedString() === ipaddr.parse(other).toNormalizedString();
}

function refusal(host: string, id: Extract<DetailId, `address-${string}`>): ServiceError {
  return new ServiceError('address-refused', detail(id, { host: quote(host) }));
}
