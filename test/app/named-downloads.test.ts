import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { suite, test } from 'node:test';
import { createNamedDownloads } from '../../src/app/named-downloads.ts';
import { listen } from '../support/listen.ts';

const PRIVATE_CA = { acmeDirectory: 'https://127.0.0.1:14000/dir', acmeCaFile: undefined };
const PUBLIC_CA = { ...PRIVATE_CA, acmeDirectory: 'https://ca.example/dir' };

async function startServer() {
  const requests: string[] = [];
  const server = createServer(({ url = '' }, response) => {
    requests.push(url);
    if (url === '/moved') response.writeHead(302, { location: 'http://10.1.2.3/list' });
    if (url === '/gone') response.writeHead(404);
    response.end('x'.repeat(100));
  });
  const listening = await listen(server);
  return { ...listening, requests, url: (path: string): string => `http://${listening.host}${path}` };
}

const { signal } = new AbortController();
const downloadsOf = (config: Partial<Parameters<typeof createNamedDownloads>[0]>) =>
  createNamedDownloads({ ...PUBLIC_CA, acmeFallbackDirectory: undefined, ...config });

suite('downloads from addresses that a certificate names', () => {
  test('reach private addresses only for the host of the directory, or with a private authority', async () => {
    await using server = await startServer();
    const url = server.url('/list');
    await assert.rejects(downloadsOf({})(url, 100, signal), { code: 'address-refused' });
    assert.deepEqual(server.requests, []);
    for (const config of [PRIVATE_CA, { acmeCaFile: '/ca.pem' }]) {
      assert.equal((await downloadsOf(config)(url, 100, signal)).length, 100);
    }
    const fallback = { acmeFallbackDirectory: PRIVATE_CA.acmeDirectory };
    assert.equal((await downloadsOf(fallback)(url, 100, signal)).length, 100);
  });

  test('follow no redirect to another private address', async () => {
    await using server = await startServer();
    const moved = downloadsOf(PRIVATE_CA)(server.url('/moved'), 100, signal);
    await assert.rejects(moved, { code: 'address-refused' });
  });

  test('fail beyond the size limit, and for each status but 200', async () => {
    await using server = await startServer();
    const download = downloadsOf(PRIVATE_CA);
    await assert.rejects(download(server.url('/list'), 99, signal));
    await assert.rejects(download(server.url('/gone'), 100, signal), /returned status 404/);
  });
});
