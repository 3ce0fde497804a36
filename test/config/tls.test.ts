import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { ConfigError, loadConfig } from '../../src/config/loader.ts';
import type { Config } from '../../src/config/schema.ts';

const home = join(import.meta.dirname, 'no-such-folder');
const MAIL = '--acme-email ops@example.org';
const EMAIL = MAIL.split(' ');
const CERTIFICATE = '--tls-cert-file /c.pem --tls-key-file /k.pem';

const wordsOf = (line: string): string[] => line.split(' ').filter((word) => word !== '');

function load(argv: readonly string[]): Config {
  return loadConfig({ argv, environment: {}, home, isRoot: false });
}

function addresses(argv: readonly string[]): unknown[] {
  const { tls, host, port, httpsPort } = load(argv);
  return [tls, host, port, httpsPort];
}

function mistakesOf(argv: readonly string[]): readonly string[] {
  try {
    load(argv);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.mistakes;
  }
  return [];
}

suite('the source of the certificate', () => {
  const modes: [string, string, unknown[]][] = [
    ['nothing', '', ['off', '127.0.0.1', 8080, 8443]],
    ['a domain', `--domains dl.example.org ${MAIL}`, ['acme', '::', 80, 443]],
    ['a domain on a host', `--domains a.example --host 192.0.2.7 ${MAIL}`, ['acme', '192.0.2.7', 80, 443]],
    ['files', CERTIFICATE, ['files', '127.0.0.1', 8080, 8443]],
    [
      'files with domains',
      `${CERTIFICATE} --tls files --domains a.example`,
      ['files', '127.0.0.1', 8080, 8443],
    ],
    ['self-signed for all', '--tls self-signed --host ::', ['self-signed', '::', 8080, 8443]],
    ['off for all', '--tls off --host 0.0.0.0', ['off', '0.0.0.0', 8080, 8443]],
    ['a loopback host', '--host 127.9.9.9', ['off', '127.9.9.9', 8080, 8443]],
    ['localhost', '--host localhost', ['off', 'localhost', 8080, 8443]],
    ['ports', `--domains a.example ${MAIL} --port 8080 --https-port 1`, ['acme', '::', 8080, 1]],
  ];
  for (const [what, line, expected] of modes) {
    test(`${what}: ${expected.join(' ')}`, () => assert.deepEqual(addresses(wordsOf(line)), expected));
  }

  test('plain HTTP for other machines has to be asked for', () => {
    for (const host of ['0.0.0.0', '::', '192.0.2.7', 'dl.example.org']) {
      const [mistake = '', ...others] = mistakesOf(['--host', host]);
      assert.deepEqual(others, []);
      for (const way of ['--domains', '--acme-email', '--tls files', '--tls self-signed', '--tls off']) {
        assert.ok(mistake.includes(way), mistake);
      }
    }
  });

  const acme = `--domains a.example ${MAIL}`;
  const mistakes: [string, RegExp][] = [
    [`--tls acme ${MAIL}`, /needs --domains/],
    ['--domains dl.example.org', /needs --acme-email/],
    ['--tls files', /belong together/],
    ['--tls-cert-file /c.pem', /belong together/],
    [`--tls off ${CERTIFICATE}`, /are for --tls files, not for --tls off/],
    [`${acme} ${CERTIFICATE}`, /say --tls acme or --tls files/],
    ['--tls self-signed --port 9 --https-port 9', /both 9/],
    [`${acme} --acme-staging true --acme-directory https://ca.example/d`, /two directories/],
    [`${acme} --acme-fallback-eab-kid kid-2`, /set both --acme-fallback-eab-kid/],
    [`${acme} --acme-challenge dns-01`, /needs --acme-dns-hook/],
    [`--domains a.example,*.a.example ${MAIL}`, /\*\.a\.example in --domains needs --acme-dns-hook/],
    [`--domains *.a.example ${MAIL} --acme-dns-hook /h`, /cannot be a wildcard/],
    [`--domains a.example,192.0.2.7 ${MAIL} --acme-dns-hook /h`, /cannot validate an IP address/],
    [`${acme} --acme-dns-resolvers ns1.example`, /must be an IP address/],
    [
      `${acme} --acme-client greenlock --acme-challenge tls-alpn-01`,
      /--acme-challenge tls-alpn-01 does not work/,
    ],
    [`${acme} --acme-eab-kid kid-1`, /set both --acme-eab-kid and --acme-eab-key-file/],
    [`${acme} --acme-client greenlock --acme-profile classic`, /--acme-profile does not work/],
    [`--domains 192.0.2.7 ${MAIL} --acme-client greenlock`, /An IP address in --domains/],
  ];
  for (const [line, rule] of mistakes) {
    test(`${line} is refused`, () => assert.match(mistakesOf(wordsOf(line)).join('\n'), rule));
  }
});

suite('domains and the authority', () => {
  test('domains are in lower case and in punycode', () => {
    const { domains } = load(['--domains', 'DL.Example.org, bücher.example', ...EMAIL]);
    assert.deepEqual(domains, ['dl.example.org', 'xn--bcher-kva.example']);
  });

  test('domains after the first may be wildcards with a DNS hook', () => {
    const resolvers = ['--acme-dns-resolvers', '192.0.2.53,[2001:db8::53]:5353,2001:db8::1'];
    const argv = ['--domains', 'a.example,*.BÜ.example', ...EMAIL, '--acme-dns-hook', '/h', ...resolvers];
    const { domains, acmeDnsResolvers } = load(argv);
    assert.deepEqual(domains, ['a.example', '*.xn--b-eha.example']);
    assert.deepEqual(acmeDnsResolvers, ['192.0.2.53', '[2001:db8::53]:5353', '2001:db8::1']);
  });

  test('domains may be IP addresses, in their shortest form', () => {
    const { domains } = load(['--domains', '203.0.113.7,2001:DB8:0::1', ...EMAIL]);
    assert.deepEqual(domains, ['203.0.113.7', '2001:db8::1']);
  });

  const unusable =
    'localhost a.*.example 192.0.2.400 [::1] a..example -a.example a_b.example https://a.example';
  for (const value of wordsOf(unusable)) {
    test(`${value} is not accepted as a domain`, () => {
      assert.match(mistakesOf(['--domains', value, ...EMAIL]).join(), /must be a full host name/);
    });
  }

  test('the directory is that of Let’s Encrypt, its staging one, or the one that is set', () => {
    assert.match(load([]).acmeDirectory, /^https:\/\/acme-v02\.api\.letsencrypt\.org\//);
    assert.match(load(['--acme-staging', 'true']).acmeDirectory, /^https:\/\/acme-staging-v02\./);
    assert.equal(load(['--acme-directory', 'https://ca.example/d']).acmeDirectory, 'https://ca.example/d');
    assert.match(
      mistakesOf(['--acme-directory', 'http://ca.example/d']).join(),
      /must be a URL that begins with https/,
    );
  });

  for (const value of ['ops', 'ops@', '@example.org', 'ops@example', 'a b@example.org', 'a@b.c,d@e.f']) {
    test(`${value} is not accepted as an e-mail address`, () => {
      assert.match(mistakesOf(['--acme-email', value]).join(), /must be an e-mail address/);
    });
  }
});
