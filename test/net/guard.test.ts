import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { alsoTrusting, createGuard, guardSignedFiles } from '../../src/net/guard.ts';
import { SPECIAL_IPV4 } from './special-ranges.ts';

const REFUSED = { code: 'address-refused', status: 403 };

const check = (url: string): void => createGuard([]).checkUrl(new URL(url));

const judgeAll = (...addresses: string[]): void =>
  createGuard([]).checkAddresses('name.test', addresses.map(resolved));

const resolved = (address: string): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 });

const SPECIAL_IPV6 = (
  ':: ::1 ::7f00:1 ::ffff:8.8.8.8 ::ffff:10.0.0.1 64:ff9b::a00:1 64:ff9b:1::a00:1 100::1 2001::1 ' +
  '2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:a00:1::1 3fff::1 4000::1 5f00::1 ' +
  'fc00::1 fd12:3456:789a::1 fe80::1 fec0::1 ff02::1'
).split(' ');

const PUBLIC = ['8.8.8.8', '1.1.1.1', '100.128.0.1', '172.32.0.1', '2606:4700::1111', '2a00:1450:4001::8888'];

suite('the guard checks URLs', () => {
  const hosts = (
    '127.0.0.1 127.1 127.0.0.1. 2130706433 0x7f000001 0177.0.0.1 %31%32%37.0.0.1 ①②⑦.0.0.1 0 ' +
    '169.254.169.254/latest/meta-data 10.0.0.1:8443 100.64.0.1 224.0.0.1 192.0.2.1 ' +
    '255.255.255.255 [::1] [::ffff:10.0.0.1] [0:0:0:0:0:ffff:7f00:1] [::127.0.0.1]'
  ).split(' ');
  const refused = [
    ...hosts.map((host) => `https://${host}`),
    ...SPECIAL_IPV6.map((address) => `https://[${address}]`),
  ];
  for (const url of refused) {
    test(`${url} is refused`, () => assert.throws(() => check(url), REFUSED));
  }

  const passing = [
    ...PUBLIC.map((address) => (address.includes(':') ? `https://[${address}]` : `https://${address}`)),
    'https://8.8.8.8:8443/v2/',
    'https://134744072',
    'https://registry.example.org',
    'https://127.0.0.1.example.org',
  ];
  for (const url of passing) {
    test(`${url} passes`, () => check(url));
  }

  for (const url of ['http://127.0.0.1', 'http://8.8.8.8', 'http://example.org', 'ftp://example.org']) {
    test(`${url} is refused for its scheme`, () =>
      assert.throws(() => check(url), { ...REFUSED, message: /does not use HTTPS/ }));
  }

  for (const url of [
    'https://user:secret@example.org',
    'https://user@example.org',
    'https://:x@example.org',
  ]) {
    test(`${url} is refused for its credentials, which are not repeated`, () =>
      assert.throws(() => check(url), {
        ...REFUSED,
        message: '"example.org" is not fetched: its URL contains credentials.',
      }));
  }
});

suite('the guard checks what a name resolved to', () => {
  for (const address of PUBLIC) test(`${address} passes`, () => judgeAll(address));

  for (const address of SPECIAL_IPV6) {
    test(`${address} is refused`, () => assert.throws(() => judgeAll(address), REFUSED));
  }

  for (const address of ['', 'localhost', '127.1', '8.8.8.8:53', '8.8.8.8.example.org']) {
    test(`${JSON.stringify(address)}, an invalid address, is refused`, () =>
      assert.throws(() => judgeAll(address), REFUSED));
  }

  test('one bad address among good ones refuses them all', () => {
    judgeAll(...PUBLIC);
    assert.throws(() => judgeAll(...PUBLIC, '127.0.0.1'), { ...REFUSED, message: /name\.test/ });
    assert.throws(() => judgeAll('10.0.0.1', ...PUBLIC), REFUSED);
    assert.throws(() => judgeAll('8.8.8.8', '::1', '1.1.1.1'), REFUSED);
  });

  const special = fc
    .tuple(fc.constantFrom(...SPECIAL_IPV4), fc.nat(0xffffffff))
    .map(([[base, bits], host]) => dotted(numberOf(base) + (host % 2 ** (32 - bits))));

  test('every IPv4 address of a range that is not public is refused, in every notation', () => {
    fc.assert(
      fc.property(special, (address) => {
        const value = numberOf(address);
        const [high, low] = [Math.floor(value / 65_536).toString(16), (value % 65_536).toString(16)];
        assert.throws(() => judgeAll(address), REFUSED);
        assert.throws(() => judgeAll(`::ffff:${address}`), REFUSED);
        for (const host of [
          address,
          String(value),
          `0x${value.toString(16)}`,
          `0${value.toString(8)}`,
          `[::ffff:${address}]`,
          `[::ffff:${high}:${low}]`,
          `[64:ff9b::${high}:${low}]`,
          `[2002:${high}:${low}::1]`,
        ]) {
          assert.throws(() => check(`https://${host}/v2/`), REFUSED, host);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

suite('the guard lets an origin pass that the operator has listed', () => {
  const guard = createGuard(['http://127.0.0.1:5000', 'https://registry.test']);

  for (const url of [
    'http://127.0.0.1:5000/v2/',
    'http://2130706433:5000/',
    'https://registry.test:443/v2/',
  ]) {
    test(`${url} passes`, () => {
      guard.checkUrl(new URL(url));
      assert.ok(guard.trusts(new URL(url).origin));
    });
  }

  test('it does not open a way there for unlisted origins', () => {
    for (const url of ['http://127.0.0.1:5000/v2/', 'https://registry.test/token']) {
      const { origin } = new URL(url);
      for (const listed of ['http://127.0.0.1:5000', 'https://registry.test']) {
        guard.checkUrl(new URL(url), listed);
        assert.ok(guard.trusts(origin, listed));
      }
      for (const stranger of ['https://evil.example', 'https://registry.test:8443', 'anyone', '']) {
        assert.equal(guard.trusts(origin, stranger), false);
      }
    }
    assert.throws(() => guard.checkUrl(new URL('http://127.0.0.1:5000'), 'https://evil.example'), REFUSED);
    // A name is checked after its resolution.
    guard.checkUrl(new URL('https://registry.test'), 'https://evil.example');
  });

  for (const url of [
    'https://127.0.0.1:5000',
    'http://127.0.0.1:5001',
    'http://127.0.0.1',
    'http://127.0.0.2:5000',
    'http://registry.test',
    'http://registry.test.:443',
  ]) {
    test(`${url} is another origin`, () => {
      assert.throws(() => guard.checkUrl(new URL(url)), REFUSED);
      assert.equal(guard.trusts(new URL(url).origin), false);
    });
  }
});

suite('this machine, as others see it', () => {
  const own = ['127.0.0.1', '9.9.9.8', '2620:fe:0::9', 'fe80::1%eth0'];
  const guard = createGuard(['https://listed.test', 'https://9.9.9.8:5000'], () => own);

  for (const url of [
    'https://9.9.9.8/',
    'https://0x09090908:444/',
    'https://[2620:fe::9]/',
    'https://[2620:fe:0:0::9]/',
  ])
    test(`${url} is refused`, () => {
      assert.throws(() => guard.checkUrl(new URL(url)), REFUSED);
      assert.throws(() => guard.checkUrl(new URL(url), 'https://listed.test'), REFUSED);
    });

  test('a name of it is refused, one of another machine is not', () => {
    for (const address of ['9.9.9.8', '2620:fe::9'])
      assert.throws(
        () => guard.checkAddresses('own.test', [resolved('1.1.1.1'), resolved(address)]),
        REFUSED,
      );
    guard.checkUrl(new URL('https://9.9.9.9/'));
    guard.checkAddresses('other.test', [resolved('9.9.9.9'), resolved('2620:fe::fe')]);
  });

  test('a registry there that the operator has listed passes', () => {
    guard.checkUrl(new URL('https://9.9.9.8:5000/v2/'));
    assert.ok(guard.trusts('https://listed.test'));
  });

  test('its addresses may change', () => {
    own.push('8.8.8.8');
    assert.throws(() => guard.checkUrl(new URL('https://8.8.8.8/')), REFUSED);
  });
});

function numberOf(address: string): number {
  return address.split('.').reduce((value, part) => value * 256 + Number(part), 0);
}

function dotted(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

suite('one origin more', () => {
  const guard = createGuard(['http://listed.lan:5000', 'https://auth.lan']);
  const also = alsoTrusting('http://10.0.0.5:5000', guard);

  test('is trusted for itself', () => {
    assert.ok(also.trusts('http://10.0.0.5:5000'));
    also.checkUrl(new URL('http://10.0.0.5:5000/v2/'));
    also.checkUrl(new URL('http://10.0.0.5:5000/v2/'), 'http://10.0.0.5:5000');
    assert.equal(guard.trusts('http://10.0.0.5:5000'), false);
  });

  test('opens the listed origins, and nothing else inside', () => {
    assert.ok(also.trusts('https://auth.lan', 'http://10.0.0.5:5000'));
    for (const inside of ['http://10.0.0.6/', 'https://10.0.0.6/', 'http://auth.lan/', 'http://10.0.0.5/']) {
      assert.throws(() => also.checkUrl(new URL(inside), 'http://10.0.0.5:5000'), REFUSED, inside);
    }
    also.checkUrl(new URL('https://cdn.example/'), 'http://10.0.0.5:5000');
  });

  test('redirects of others cannot reach it, listed or not', () => {
    for (const other of ['http://listed.lan:5000', 'https://evil.example', 'anyone']) {
      assert.equal(also.trusts('http://10.0.0.5:5000', other), false, other);
      assert.throws(() => also.checkUrl(new URL('http://10.0.0.5:5000/'), other), REFUSED);
    }
  });

  test('all else is as it was', () => {
    assert.ok(also.trusts('http://listed.lan:5000'));
    assert.equal(also.trusts('http://other.lan'), false);
    assert.throws(() => also.checkAddresses('name.test', [resolved('10.0.0.5')]), REFUSED);
  });
});

suite('the guard of signed files', () => {
  const guard = guardSignedFiles(
    (origin) => origin === 'http://10.0.0.5',
    () => ['8.8.4.4'],
  );

  test('permits plain HTTP to public addresses, and trusted origins anywhere', () => {
    for (const url of ['http://crl.example/list', 'https://crl.example/list', 'http://10.0.0.5/list']) {
      guard.checkUrl(new URL(url));
    }
    guard.checkAddresses('crl.example', [resolved('8.8.8.8')]);
  });

  test('refuses other private addresses and those of this machine', () => {
    for (const url of [
      'http://10.0.0.6/list',
      'http://[::1]/list',
      'http://8.8.4.4/',
      'http://10.0.0.5:81/',
    ]) {
      assert.throws(() => guard.checkUrl(new URL(url)), REFUSED, url);
    }
    for (const address of ['127.0.0.1', '169.254.169.254', '8.8.4.4']) {
      assert.throws(() => guard.checkAddresses('crl.example', [resolved(address)]), REFUSED, address);
    }
  });
});
