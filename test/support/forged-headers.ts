import assert from 'node:assert/strict';
import { httpCall } from './http-request.ts';

/** Headers by which a client claims another origin; usual proxies pass most of them on. */
const FORGED = {
  'x-forwarded-host': 'evil.example',
  'x-forwarded-proto': 'evil',
  'x-forwarded-port': '6666',
  'x-forwarded-prefix': '/evil',
  forwarded: 'for=192.0.2.1;host=evil.example;proto=evil',
  'x-original-host': 'evil.example',
};

/**
 * Requests everything that contains an address of the service from a proxy, with forged headers. Asserts that no
 * answer names the forged origin.
 *
 * @param front the proxy
 * @param path a download: `/dl?myimage=…`
 * @returns the origins that the metalink names
 */
export async function assertForgedHeadersIgnored(front: string, path: string): Promise<Set<string>> {
  const get = (asked: string, method = 'GET') => httpCall(`${front}${asked}`, { method, headers: FORGED });
  const metalink = await get(`${path}&metalink=1`);
  const answers = [
    metalink,
    await get(`${path}&redirect=1`),
    await get(path, 'HEAD'),
    await get('/?lang=es'),
    await get('/api'),
    await get('/openapi.json'),
    await get('/nothing'),
  ];
  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 307, 200, 200, 200, 200, 404],
  );
  assert.ok(answers[2]?.headers.link, 'a download has Link headers');
  for (const { headers, body } of answers)
    assert.doesNotMatch(`${JSON.stringify(headers)}${body}`, /evil|6666|null\//);
  const urls = [...`${metalink.body}`.matchAll(/<url[^>]*>([^<]*)</g)].map(([, url = '']) => url);
  return new Set(urls.map((url) => new URL(url).origin));
}
