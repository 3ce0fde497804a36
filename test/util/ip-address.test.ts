import assert from 'node:assert/strict';
import { BlockList, isIP } from 'node:net';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import {
  type IpAddress,
  isLocalAddress,
  networkOf,
  parseAddressRange,
  parseIpAddress,
} from '../../src/util/ip-address.ts';

function isIn(cidr: string, text: string): boolean {
  const address = parseIpAddress(text);
  assert.ok(address !== undefined, text);
  return parseAddressRange(cidr).contains(address);
}

suite('addresses', () => {
  const addresses: [string, string][] = [
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['::FFFF:c000:0207', '192.0.2.7'],
    ['2001:DB8:0:0::1', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
  ];
  for (const [text, normal] of addresses) {
    test(`${text} is ${normal}`, () => assert.equal(parseIpAddress(text)?.toString(), normal));
  }

  for (const text of [
    '',
    'unknown',
    '127.1',
    '0x7f000001',
    '2130706433',
    '017.0.0.1',
    '1.2.3.4:80',
    '[::1]',
  ]) {
    test(`${JSON.stringify(text)} is not an address`, () => assert.equal(parseIpAddress(text), undefined));
  }

  test('any text is an address or none, and one of Node is one of ours', () => {
    const texts = fc.oneof(fc.string(), fc.ipV4(), fc.ipV6());
    fc.assert(fc.property(texts, (text) => (parseIpAddress(text) !== undefined) === (isIP(text) !== 0)));
  });
});

suite('local addresses', () => {
  test('are those of this machine and of private networks', () => {
    for (const text of ['127.0.0.1', '::1', '10.1.2.3', '192.168.0.1', '100.64.0.1', 'fd00::1', 'fe80::1'])
      assert.ok(isLocalAddress(parseIpAddress(text) as IpAddress), text);
    for (const text of ['192.0.2.1', '8.8.8.8', '2001:4860::1'])
      assert.ok(!isLocalAddress(parseIpAddress(text) as IpAddress), text);
  });
});

suite('ranges of addresses', () => {
  test('hold what they say and nothing else', () => {
    assert.ok(isIn('10.0.0.0/8', '10.255.0.1'));
    assert.ok(isIn('10.0.0.0/8', '::ffff:10.1.2.3'));
    assert.ok(!isIn('10.0.0.0/8', '11.0.0.0'));
    assert.ok(isIn('2001:db8::/33', '2001:db8:7fff::'));
    assert.ok(!isIn('2001:db8::/33', '2001:db8:8000::'));
    assert.ok(isIn('::/0', '::1'));
    assert.ok(!isIn('::/0', '192.0.2.1'));
    assert.ok(!isIn('0.0.0.0/0', '::1'));
  });

  test('a range whose address has bits behind the prefix is refused with the one that it may mean', () => {
    assert.throws(() => parseAddressRange('192.0.2.7/24'), /^Error: means 192\.0\.2\.0\/24; /);
  });

  test('agree with those of Node', () => {
    const pairs = fc.oneof(
      fc.tuple(fc.ipV4(), fc.ipV4(), fc.integer({ min: 0, max: 32 }), fc.constant('ipv4' as const)),
      fc.tuple(fc.ipV6(), fc.ipV6(), fc.integer({ min: 0, max: 128 }), fc.constant('ipv6' as const)),
    );
    fc.assert(
      fc.property(pairs, ([one, other, prefix, family]) => {
        const address = parseIpAddress(one);
        // One that is mapped from IPv4 belongs to the other family here.
        fc.pre(address?.kind() === family && parseIpAddress(other)?.kind() === family);
        const network = networkOf(address as NonNullable<typeof address>, prefix);
        const nodes = new BlockList();
        nodes.addSubnet(network, prefix, family);
        assert.equal(isIn(`${network}/${prefix}`, other), nodes.check(other, family));
        assert.ok(isIn(`${network}/${prefix}`, one));
      }),
    );
  });
});
