import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { describeConfig } from '../../src/cli/check-config.ts';
import { ConfigError, loadConfig } from '../../src/config/loader.ts';
import { redisAddressOf, redisKeyOf } from '../../src/config/redis-secrets.ts';
import { redisUrl } from '../../src/config/redis-url.ts';
import type { Config } from '../../src/config/schema.ts';
import { makeCertificates } from '../support/certificates.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const NOWHERE = { environment: {}, home: '/nowhere', isRoot: false };
const ACME = ['--domains', 'dl.example.org', '--acme-email', 'ops@example.org'];
const URL_FLAG = ['--redis-url', 'redis://redis.lan'];
const TLS_URL = ['--redis-url', 'rediss://redis.lan'];
const SENTINELS = ['--redis-url', 'redis-sentinel://one,two#main'];

function load(...argv: string[]): Config {
  return loadConfig({ ...NOWHERE, argv });
}

suite('the URL of a Redis', () => {
  const nothing = { master: '', username: undefined, password: undefined, database: 0, isTls: false };
  test('is of a server, a Cluster or Sentinels', () => {
    const redis = { host: 'redis.lan', port: 6379 };
    for (const [url, address] of [
      ['redis://redis.lan', { kind: 'server', nodes: [redis] }],
      [
        'redis://[2001:db8::1]:7000/3',
        { kind: 'server', nodes: [{ host: '2001:db8::1', port: 7000 }], database: 3 },
      ],
      [
        'rediss://me:a%40b@redis.lan/',
        { kind: 'server', nodes: [redis], isTls: true, username: 'me', password: 'a@b' },
      ],
      ['redis://secret@redis.lan', { kind: 'server', nodes: [redis], password: 'secret' }],
      ['redis://:se:cret@redis.lan', { kind: 'server', nodes: [redis], password: 'se:cret' }],
      [
        'rediss-cluster://redis.lan,10.0.0.2:7001',
        { kind: 'cluster', nodes: [redis, { host: '10.0.0.2', port: 7001 }], isTls: true },
      ],
      [
        'redis-sentinel://one,two:7002/1#my.master',
        {
          ...{ kind: 'sentinel', master: 'my.master', database: 1 },
          nodes: [
            { host: 'one', port: 26_379 },
            { host: 'two', port: 7002 },
          ],
        },
      ],
    ] as const) {
      assert.deepEqual(redisUrl.parse(url), { ...nothing, ...address }, url);
    }
  });

  test('in another form is refused with a sentence', () => {
    const refused = (
      'redis.lan http://redis.lan redis:// redis://a,b redis://a:0 redis://a:99999 redis://a/b ' +
      'redis://a#master redis-sentinel://a redis-cluster://a/1 redis-cluster://a, redis://a?db=1'
    ).split(' ');
    for (const url of refused) {
      assert.throws(() => redisUrl.parse(url), /^Error: must be a URL such as redis:\/\//, url);
    }
    assert.throws(() => redisUrl.parse('redis://%zz@a'), /percent-encoding/);
  });

  test('is never anything but an address or an error, whatever is written', () => {
    const text = fc.tuple(
      fc.constantFrom('redis://', 'rediss-cluster://', 'redis-sentinel://', ''),
      fc.string(),
    );
    fc.assert(
      fc.property(text, ([scheme, rest]) => {
        try {
          for (const { host, port } of redisUrl.parse(`${scheme}${rest}`).nodes) {
            assert.ok(host !== '' && port > 0 && port < 65_536);
          }
        } catch (error) {
          assert.match((error as Error).message, /^(?:must be a|has a user)/);
        }
      }),
    );
  });

  test('keeps its password to itself where settings are shown', () => {
    const shown = describeConfig({ ...NOWHERE, argv: ['--redis-url', 'redis://me:geheim@redis.lan'] });
    assert.match(shown, /^redis_url = "redis:\/\/\*\*\*@redis\.lan" {2}# --redis-url$/m);
    assert.match(shown, /^tag_ttl = "10000ms" {2}# default$/m);
  });
});

suite('settings beside the URL of a Redis', () => {
  test('tags are cached for ten seconds by default', () => {
    assert.equal(load().tagTtl, 0);
    assert.equal(load(...URL_FLAG).tagTtl, 10_000);
    assert.equal(load(...URL_FLAG, '--tag-ttl', '0s').tagTtl, 0);
    assert.equal(load('--tag-ttl', '1m').tagTtl, 60_000);
  });

  test('missing or contradictory settings are refused', () => {
    for (const [argv, sentence] of [
      [['--redis-key-file', '/key'], /^--redis-key-file requires --redis-url\. Set both or neither\.$/],
      [['--redis-password-file', '/password'], /^--redis-password-file requires --redis-url/],
      [[...URL_FLAG, ...ACME], /^--redis-url with --tls acme requires --redis-key-file, .*openssl rand/],
      [['--redis-url', 'redis://a@b', '--redis-password-file', '/p'], /Set only one of them\.$/],
      [['--redis-tls-ca-file', '/ca'], /^--redis-tls-ca-file requires --redis-url\. Set both or neither\.$/],
      [[...URL_FLAG, '--redis-tls-ca-file', '/ca'], /^--redis-tls-ca-file requires TLS\. .* with rediss/],
      [
        [...URL_FLAG, '--redis-sentinel-password-file', '/p'],
        /^--redis-sentinel-password-file requires Sentinels/,
      ],
      [
        [...SENTINELS, '--redis-sentinel-user', 'me'],
        /^--redis-sentinel-user requires --redis-sentinel-password-file/,
      ],
      [[...TLS_URL, '--redis-tls-key-file', '/k'], /^--redis-tls-key-file requires --redis-tls-cert-file/],
    ] as const) {
      assert.throws(
        () => load(...argv),
        (error: unknown) => error instanceof ConfigError && sentence.test(error.message),
      );
    }
    assert.ok(load(...URL_FLAG, ...ACME, '--redis-key-file', '/key'));
  });

  test('its password and its key come from files', async () => {
    await using folder = await temporaryFolder();
    const password = join(folder.path, 'password');
    const key = join(folder.path, 'key');
    await writeFile(password, 'geheim\n');
    await writeFile(key, `${'k'.repeat(32)}\n`);
    const config = load(...URL_FLAG, '--redis-password-file', password, '--redis-key-file', key);
    assert.equal(redisAddressOf(config)?.password, 'geheim');
    assert.equal(redisKeyOf(config)?.length, 32);
    assert.deepEqual(redisKeyOf(config), redisKeyOf(config));
    assert.equal(redisAddressOf(load()), undefined);
    assert.equal(redisKeyOf(load()), undefined);
    await writeFile(key, 'short');
    assert.throws(() => redisKeyOf(config), /at least 32 characters/);
    assert.throws(
      () => redisAddressOf({ ...config, redisPasswordFile: '/nowhere/p' }),
      /The file \/nowhere\/p does not exist/,
    );
  });

  test('Sentinels use the login from a file, or none if the file is empty', async () => {
    await using folder = await temporaryFolder();
    const [password, empty] = [join(folder.path, 'password'), join(folder.path, 'empty')];
    await writeFile(password, 'anders\n');
    await writeFile(empty, '\n');
    const loginOf = (...flags: string[]) => redisAddressOf(load(...SENTINELS, ...flags))?.sentinelLogin;
    assert.equal(loginOf(), undefined);
    const anyone = { username: undefined, password: 'anders' };
    assert.deepEqual(loginOf('--redis-sentinel-password-file', password), anyone);
    const named = ['--redis-sentinel-user', 'me', '--redis-sentinel-password-file', password];
    assert.deepEqual(loginOf(...named), { ...anyone, username: 'me' });
    for (const none of [empty, '/dev/null']) {
      const nothing = { username: undefined, password: undefined };
      assert.deepEqual(loginOf('--redis-sentinel-password-file', none), nothing);
    }
    assert.throws(
      () => loginOf('--redis-sentinel-password-file', '/nowhere/p'),
      /The file \/nowhere\/p does not exist/,
    );
  });

  test('certificates for TLS are read from files, and unusable ones are refused at start', async () => {
    await using folder = await temporaryFolder();
    const { client, server } = await makeCertificates(folder.path);
    const path = (name: string) => join(client, name);
    const pem = async (name: string) => (await readFile(path(name), 'utf8')).trim();
    const tlsOf = (...flags: string[]) => redisAddressOf(load(...TLS_URL, ...flags))?.tls;
    assert.equal(tlsOf(), undefined);
    const [authorities, certificate, key] = [
      await pem('ca.pem'),
      await pem('cert.pem'),
      await pem('key.pem'),
    ];
    assert.deepEqual(tlsOf('--redis-tls-ca-file', path('ca.pem')), {
      ...{ authorities, certificate: undefined, key: undefined },
    });
    const separate = ['--redis-tls-cert-file', path('cert.pem'), '--redis-tls-key-file', path('key.pem')];
    assert.deepEqual(tlsOf(...separate), { authorities: undefined, certificate, key });
    await writeFile(path('both.pem'), `${certificate}\n${key}\n`);
    const both = `${certificate}\n${key}`;
    assert.deepEqual(tlsOf('--redis-tls-cert-file', path('both.pem')), {
      ...{ authorities: undefined, certificate: both, key: both },
    });
    for (const [flags, sentence] of [
      [['--redis-tls-ca-file', '/nowhere/ca'], /^The file \/nowhere\/ca does not exist/],
      [['--redis-tls-ca-file', path('key.pem')], /key\.pem contains no PEM certificate/],
      [['--redis-tls-cert-file', path('cert.pem')], /cert\.pem cannot be used for TLS: /],
      [
        ['--redis-tls-cert-file', path('cert.pem'), '--redis-tls-key-file', join(server, 'key.pem')],
        /cert\.pem, \S+key\.pem cannot be used for TLS: .*key values mismatch/i,
      ],
    ] as const) {
      assert.throws(
        () => tlsOf(...flags),
        (error: unknown) => error instanceof ConfigError && sentence.test(error.message),
        flags.join(' '),
      );
    }
  });
});
