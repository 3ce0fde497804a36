import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { ETAG, sharedServer } from '../samples.ts';

const POLICY =
  "default-src 'none';script-src 'self';style-src 'self';img-src 'self';connect-src 'self';form-action 'self';base-uri 'none';frame-ancestors 'none'";

suite('security headers', { timeout: 600_000 }, () => {
  const answers: [method: string, path: string, headers: Record<string, string>, status: number][] = [
    ['GET', '/', {}, 200],
    ['HEAD', '/', {}, 200],
    ['GET', '/healthz', {}, 200],
    ['GET', '/api/v1/info', {}, 200],
    ['GET', '/dl?myimage=busybox', {}, 200],
    ['HEAD', '/dl?myimage=busybox', {}, 200],
    ['GET', '/dl?myimage=busybox', { range: 'bytes=1-2' }, 206],
    ['GET', '/dl?myimage=busybox', { 'if-none-match': ETAG }, 304],
    ['GET', '/dl?myimage=Busybox', { accept: 'text/html' }, 400],
    ['GET', '/NOTHING', { accept: 'text/html' }, 404],
    ['POST', '/dl', {}, 405],
    ['GET', '/dl?myimage=busybox', { 'if-match': '"other"' }, 412],
    ['GET', '/dl?myimage=busybox', { range: 'bytes=99999-' }, 416],
  ];
  for (const [method, path, headers, status] of answers) {
    test(`${method} ${path} ${JSON.stringify(headers)}: ${status}`, async () => {
      await using server = await sharedServer();
      const answer = await server.send(method, path, headers);
      assert.equal(answer.status, status);
      assert.equal(answer.header('content-security-policy'), POLICY);
      assert.equal(answer.header('x-content-type-options'), 'nosniff');
      assert.equal(answer.header('x-frame-options'), 'DENY');
      assert.equal(answer.header('referrer-policy'), 'no-referrer');
      assert.equal(answer.header('cross-origin-opener-policy'), 'same-origin');
      assert.equal(answer.header('cross-origin-resource-policy'), 'same-origin');
      assert.equal(answer.header('origin-agent-cluster'), '?1');
      assert.equal(answer.header('x-dns-prefetch-control'), 'off');
      assert.equal(answer.header('x-download-options'), 'noopen');
      assert.equal(answer.header('x-permitted-cross-domain-policies'), 'none');
      assert.equal(answer.header('x-xss-protection'), '0');
      assert.equal(answer.header('x-powered-by'), undefined);
      assert.equal(answer.header('server'), undefined);
    });
  }

  test('a refusal carries nothing of the archive that was not sent', async () => {
    await using server = await sharedServer();
    const { head } = await server.get('/dl?myimage=busybox', { range: 'bytes=99999-' });
    assert.doesNotMatch(head, /^(?:etag|accept-ranges|content-disposition|docker-content-digest):/im);
  });

  test('the page needs nothing that the policy forbids', () => {
    const folder = join(import.meta.dirname, '..', '..', '..', 'web');
    const pages = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.html'),
    );
    assert.ok(pages.length > 0);
    for (const page of pages) {
      const html = readFileSync(join(folder, page), 'utf8');
      assert.doesNotMatch(html, /<style\b|\sstyle=|\son\w+=|javascript:/i, page);
      assert.doesNotMatch(html, /<script\b(?![^>]*\ssrc=)/i, page);
      assert.doesNotMatch(html, /(?:src|href)="(?:https?:)?\/\/[^"]*\.(?:js|css|woff2?)"/i, page);
    }
  });
});
