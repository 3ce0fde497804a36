import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { clientKey } from '../../src/limits/client-key.ts';

suite('clients that limits count as one', () => {
  const keys: [string, string][] = [
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8::/64'],
    ['::1', '::/64'],
    ['fe80::1%eth0', 'fe80::/64'],
    ['unknown', 'unknown'],
  ];
  for (const [address, key] of keys) {
    test(`${address} is ${key}`, () => assert.equal(clientKey(address), key));
  }

  test('addresses of one /64 are one client, of two /64 two', () => {
    const group = fc.integer({ min: 1, max: 0xffff }).map((number) => number.toString(16));
    const groups = fc.array(group, { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(groups, groups, groups, (network, host, other) => {
        const address = [...network, ...host].join(':');
        assert.equal(clientKey(address), clientKey([...network, ...other].join(':')));
        fc.pre(network.join() !== other.join());
        assert.notEqual(clientKey(address), clientKey([...other, ...host].join(':')));
      }),
    );
  });
});
