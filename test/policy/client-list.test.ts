import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ServiceError } from '../../src/errors.ts';
import { createClientList } from '../../src/policy/client-list.ts';
import { parseAddressRange } from '../../src/util/ip-address.ts';

function isLetIn(address: string, { allow, deny = [] }: { allow?: string[]; deny?: string[] }): boolean {
  const list = createClientList({
    allow: allow?.map(parseAddressRange),
    deny: deny.map(parseAddressRange),
  });
  try {
    list.check(address);
    return true;
  } catch (error) {
    assert.ok(error instanceof ServiceError && error.code === 'client-not-allowed', String(error));
    assert.match(error.message, new RegExp(address.replaceAll('.', '\\.')));
    return false;
  }
}

suite('the list of clients', () => {
  test('without ranges everyone is let in', () => {
    for (const address of ['192.0.2.1', '2001:db8::1', 'unknown']) assert.ok(isLetIn(address, {}));
  });

  test('a client outside the ranges of allow is refused', () => {
    const allow = ['192.0.2.0/24', '2001:db8::/32'];
    for (const address of ['192.0.2.255', '::ffff:192.0.2.1', '2001:db8:1::1'])
      assert.ok(isLetIn(address, { allow }), address);
    for (const address of ['192.0.3.0', '2001:db9::', 'unknown'])
      assert.ok(!isLetIn(address, { allow }), address);
    assert.ok(!isLetIn('192.0.2.1', { allow: [] }));
  });

  test('deny wins', () => {
    const lists = { allow: ['192.0.2.0/24'], deny: ['192.0.2.7'] };
    assert.ok(isLetIn('192.0.2.8', lists));
    assert.ok(!isLetIn('192.0.2.7', lists));
    assert.ok(!isLetIn('::ffff:192.0.2.7', { deny: ['192.0.2.7'] }));
    assert.ok(!isLetIn('unknown', { deny: ['192.0.2.7'] }));
  });
});
