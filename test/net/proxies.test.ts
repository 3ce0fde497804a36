import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { readBody } from '../../src/net/body.ts';
import { createGuard } from '../../src/net/guard.ts';
import { createHttpClient, type HttpClientOptions } from '../../src/net/http-client.ts';
import { findProxyBy } from '../../src/net/proxies.ts';
import { makeCertificates } from '../support/certificates.ts';
import { startForwardProxy } from '../support/forward-proxy.ts';
import { listen } from '../support/listen.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const never = new AbortController().signal;
const proxy = 'http://proxy.lan:3128';

function isProxied(url: string, noProxy = ''): boolean {
  return (
    findProxyBy({ HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: noProxy })(new URL(url)) !== undefined
  );
}

suite('proxies of the environment', () => {
  test('are empty without variables', () => {
    assert.equal(findProxyBy({})(new URL('https://ghcr.io')), undefined);
    assert.equal(findProxyBy({ HTTPS_PROXY: '' })(new URL('https://ghcr.io')), undefined);
  });

  test('each protocol has its own, ALL_PROXY is for both, and lower case comes first', () => {
    const find = findProxyBy({
      HTTPS_PROXY: 'http://upper',
      https_proxy: 'lower.lan:3128',
      ALL_PROXY: 'http://all',
    });
    assert.equal(find(new URL('https://ghcr.io'))?.href, 'http://lower.lan:3128/');
    assert.equal(find(new URL('http://ghcr.io'))?.href, 'http://all/');
    assert.equal(findProxyBy({ HTTP_PROXY: proxy })(new URL('https://ghcr.io')), undefined);
  });

  test('an invalid proxy is a mistake, whose sentence names the variable and no password', () => {
    assert.throws(() => findProxyBy({ HTTPS_PROXY: 'socks5://me:secret@a' }), {
      message: 'HTTPS_PROXY must be the URL of a proxy that begins with http:// or https://.',
    });
  });

  for (const [noProxy, direct, through] of [
    ['*', ['https://ghcr.io'], []],
    ['ghcr.io', ['https://ghcr.io', 'https://pkg.ghcr.io', 'https://ghcr.io:444'], ['https://notghcr.io']],
    ['.lan, *.corp', ['https://a.lan', 'https://b.c.corp', 'https://lan'], ['https://a.lan.example']],
    ['ghcr.io:443 a.lan:80', ['https://ghcr.io', 'http://a.lan'], ['https://ghcr.io:444', 'https://a.lan']],
    [
      '10.0.0.0/8,192.0.2.7',
      ['http://10.1.2.3:5000', 'https://192.0.2.7'],
      ['https://11.0.0.1', 'https://10.lan'],
    ],
    ['2001:db8::/32', ['https://[2001:db8::1]:5000'], ['https://[2001:db9::1]']],
    ['[2001:db8::1]:5000', ['https://[2001:db8::1]:5000'], ['https://[2001:db8::1]']],
    ['', ['http://localhost:5000', 'https://127.0.0.9', 'https://[::1]'], ['https://ghcr.io']],
  ] as const) {
    test(`NO_PROXY=${noProxy}`, () => {
      for (const url of direct) assert.equal(isProxied(url, noProxy), false, url);
      for (const url of through) assert.equal(isProxied(url, noProxy), true, url);
    });
  }
});

suite('through a proxy', { timeout: 600_000 }, () => {
  /** Sends a request through a proxy, which alone can resolve `registry.test`. */
  async function ask(url: string, options: Partial<HttpClientOptions> = {}, names = {}) {
    await using forward = await startForwardProxy({ names });
    const asked = forward.url.replace('://', '://me:s3cret@');
    const http = createHttpClient({
      guard: createGuard([]),
      userAgent: 'test',
      findProxy: findProxyBy({ ALL_PROXY: asked }),
      lookup: () => Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })),
      ...options,
    });
    try {
      const response = await http.request(new URL(url), {}, never);
      return { body: `${await readBody(response, 100)}`, ...forward, error: undefined };
    } catch (error) {
      return { body: undefined, ...forward, error: error as Error & { code: string } };
    } finally {
      await http.close();
    }
  }

  test('TLS goes to the host itself, with a name that only the proxy can resolve', async () => {
    await using folder = await temporaryFolder();
    const { server } = await makeCertificates(folder.path);
    const [cert, key] = await Promise.all(
      ['cert.pem', 'key.pem'].map((name) => readFile(join(server, name))),
    );
    const secure = createServer({ cert, key }, (_request, response) => response.end('here'));
    await using listening = await listen(secure);
    const host = `registry.test:${listening.port}`;
    const tls = { authorities: [], certificate: undefined, key: undefined, skipVerify: true };
    const own = { origin: `https://${host}`, headers: {}, tls };
    const names = { 'registry.test': '127.0.0.1' };
    const { body, asked, authorizations, error } = await ask(`https://${host}/`, { own }, names);
    assert.equal(body, 'here', error?.message);
    assert.deepEqual(asked, [`CONNECT ${host}`]);
    assert.deepEqual([...authorizations], [`Basic ${Buffer.from('me:s3cret').toString('base64')}`]);

    const unknown = await ask(`https://${host}/`, {}, names);
    assert.match(unknown.error?.message ?? '', /through a proxy.*certificate/);
  });

  test('a name that means a private address here is refused, and the proxy is not asked', async () => {
    const lookup = async () => [{ address: '10.0.0.1', family: 4 }];
    const { error, asked } = await ask('https://inside.test/', { lookup });
    assert.equal(error?.code, 'address-refused');
    assert.deepEqual(asked, []);
  });

  for (const url of ['https://10.0.0.1/', 'https://[fd00::1]/', 'http://registry.test/']) {
    test(`${url} is refused as without a proxy`, async () => {
      const { error, asked } = await ask(url);
      assert.equal(error?.code, 'address-refused');
      assert.deepEqual(asked, []);
    });
  }

  test('redirects of others to a listed origin are refused', async () => {
    const guard = createGuard(['https://inside.test']);
    const http = createHttpClient({
      ...{ guard, userAgent: 'test', findProxy: findProxyBy({ ALL_PROXY: proxy }) },
      lookup: async () => [{ address: '10.0.0.1', family: 4 }],
    });
    const led = http.request(new URL('https://inside.test/'), { chosenBy: 'https://evil.example' }, never);
    await assert.rejects(led, { code: 'address-refused' });
    await http.close();
  });

  for (const [scheme, how] of [
    ['https', 'behind CONNECT'],
    ['http', 'without CONNECT'],
  ]) {
    for (const [user, why] of [
      ['', 'the proxy requires credentials; the operator can add them to its URL'],
      ['me:wrong@', 'the proxy rejects the credentials in its URL'],
    ]) {
      test(`a proxy that answers 407 ${how}, asked ${user === '' ? 'without' : 'with'} credentials`, async () => {
        await using forward = await startForwardProxy({ names: {}, authorization: 'Basic b3RoZXI=' });
        const { error } = await ask(`${scheme}://registry.test/`, {
          guard: createGuard(['http://registry.test']),
          findProxy: () => new URL(forward.url.replace('://', `://${user}`)),
        });
        assert.equal(error?.code, 'registry-failed');
        assert.equal(error.message, `registry.test (through a proxy) could not be read: ${why}.`);
        assert.equal(forward.asked.length, 1);
      });
    }
  }

  test('a proxy that refuses a request or a connection causes a failure, not an abort', async () => {
    const refused = await ask('https://registry.test/');
    assert.equal(refused.error?.code, 'registry-failed');
    assert.match(
      refused.error?.message ?? '',
      /registry\.test \(through a proxy\).*refuses to connect to it/,
    );
    const away = await ask('https://registry.test/', { findProxy: () => new URL('http://127.0.0.1:9') });
    assert.match(
      away.error?.message ?? '',
      /\(through a proxy\) could not be read: it refused the connection/,
    );
  });
});
