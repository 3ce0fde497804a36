import assert from 'node:assert/strict';
import { BlockList, isIP } from 'node:net';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { createGuard } from '../../src/net/guard.ts';
import { parseIpAddress } from '../../src/util/ip-address.ts';
import { SPECIAL_IPV4 } from '../net/special-ranges.ts';
import { hostileText, mutated } from './arbitraries.ts';
import { runs } from './budget.ts';

/** The special ranges, checked by a different implementation from the guard's. */
const inside = new BlockList();
for (const [network, prefix] of SPECIAL_IPV4) inside.addSubnet(network, prefix, 'ipv4');
const globalUnicast = new BlockList();
globalUnicast.addSubnet('2000::', 3, 'ipv6');
for (const [network, prefix] of [
  ['2001:db8::', 32],
  ['2002::', 16],
  ['2001::', 32],
  ['3fff::', 20],
] as [string, number][]) {
  inside.addSubnet(network, prefix, 'ipv6');
}

function isInside(address: string): boolean {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  return inside.check(address, family) || (family === 'ipv6' && !globalUnicast.check(address, family));
}

/** One part of an IPv4 address in decimal, octal or hexadecimal. */
const number = (max: number) =>
  fc.tuple(fc.nat(max), fc.constantFrom(10, 8, 16), fc.nat(2)).map(([value, radix, zeros]) => {
    const prefix = radix === 16 ? '0x' : radix === 8 ? '0' : '';
    return `${prefix}${radix === 10 ? '' : '0'.repeat(zeros)}${value.toString(radix)}`;
  });

/** https://url.spec.whatwg.org/#concept-ipv4-parser: the last part covers all remaining bytes. */
const ipv4 = fc.oneof(
  number(2 ** 32 - 1),
  fc.tuple(number(255), number(2 ** 24 - 1)).map((parts) => parts.join('.')),
  fc.tuple(number(255), number(255), number(65_535)).map((parts) => parts.join('.')),
  fc.tuple(number(255), number(255), number(255), number(255)).map((parts) => parts.join('.')),
  fc.ipV4Extended(),
);
const ipv6 = fc
  .oneof(
    fc.ipV6(),
    fc.ipV4().map((address) => `::ffff:${address}`),
    fc.ipV4().map((address) => `64:ff9b::${address}`),
  )
  .map((address) => `[${address}]`);
const parts = '127 . 0x 10 169.254 ::1 [ ] localhost @ %31 ① :443 ffff:'.split(' ');
const host = fc.oneof(ipv4, ipv6, mutated(fc.oneof(ipv4, ipv6), parts), hostileText(parts, 6));

suite('an address in any notation', { concurrency: true }, () => {
  test('is public where the guard lets it pass, by its URL and by its address', () => {
    const guard = createGuard([]);
    const passes = (check: () => void): boolean => {
      try {
        check();
        return true;
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'address-refused');
        return false;
      }
    };
    fc.assert(
      fc.property(host, (text) => {
        if (!URL.canParse(`https://${text}/v2/`)) return;
        const url = new URL(`https://${text}/v2/`);
        const literal = url.hostname.replace(/^\[|\]$/g, '');
        if (isIP(literal) === 0 || url.username !== '' || url.password !== '') return;
        const family = isIP(literal);
        const isPassing = passes(() => guard.checkUrl(url));
        assert.equal(
          passes(() => guard.checkAddresses('a.test', [{ address: literal, family }])),
          isPassing,
        );
        if (isPassing) assert.equal(isInside(literal), false, url.href);
        else if (family === 4) assert.equal(isInside(literal), true, `${url.href} is refused for nothing`);
      }),
      runs('addresses'),
    );
  });

  test('is one that a proxy can claim, or none', () => {
    fc.assert(
      fc.property(fc.oneof(host, fc.ipV6(), hostileText(parts, 6)), (text) => {
        const address = parseIpAddress(text);
        if (address !== undefined) assert.notEqual(isIP(address.toString()), 0);
      }),
      runs('forwarded'),
    );
  });
});
