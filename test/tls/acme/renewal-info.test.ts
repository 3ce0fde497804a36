import assert from 'node:assert/strict';
import { createServer } from 'node:https';
import { suite, test } from 'node:test';
import {
  createRenewalInfoReader,
  parseRenewalInfo,
  renewalInfoId,
} from '../../../src/tls/acme/renewal-info.ts';
import { temporaryCertificate } from '../../../src/tls/self-signed-provider.ts';
import { listen } from '../../support/listen.ts';

/** The example of RFC 9773, appendix A. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
`;

suite('renewal information', () => {
  test('the identifier of the certificate in RFC 9773', () => {
    assert.equal(renewalInfoId({ cert: CERTIFICATE }), 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE');
  });

  test('a window has a start and an end', () => {
    const suggestedWindow = { start: '2027-01-02T04:00:00Z', end: '2027-01-03T04:00:00Z' };
    const times = { start: Date.UTC(2027, 0, 2, 4), end: Date.UTC(2027, 0, 3, 4) };
    assert.deepEqual(parseRenewalInfo({ suggestedWindow }), times);
    const { start, end } = suggestedWindow;
    for (const body of [
      null,
      'x',
      {},
      { suggestedWindow: { start } },
      { suggestedWindow: { start: end, end: start } },
    ]) {
      assert.equal(parseRenewalInfo(body), undefined);
    }
  });
});

suite('reading renewal information', () => {
  test('ends at 64 KiB, and reads the window of an authority that responds with less', async () => {
    const { cert, key } = temporaryCertificate(['127.0.0.1'], Date.now());
    let padding = '';
    let retryAfter = '7200';
    const server = createServer({ cert, key }, ({ url, headers }, response) => {
      const window = { start: '2027-01-01T00:00:00Z', end: '2027-01-02T00:00:00Z' };
      const renewalInfo = `https://${headers.host}/ari/`;
      response.setHeader('retry-after', retryAfter);
      response.end(JSON.stringify(url === '/dir' ? { renewalInfo } : { suggestedWindow: window, padding }));
    });
    await using listening = await listen(server);
    const directory = `https://${listening.host}/dir`;
    const read = createRenewalInfoReader({ directory, authorities: cert });
    const { signal } = new AbortController();
    const times = { start: Date.UTC(2027, 0, 1), end: Date.UTC(2027, 0, 2) };
    assert.deepEqual(await read({ cert: CERTIFICATE }, signal), { ...times, retryAfter: 7_200_000 });
    retryAfter = new Date(Date.now() + 7_200_000).toUTCString();
    const dated = (await read({ cert: CERTIFICATE }, signal))?.retryAfter ?? 0;
    assert.ok(dated > 3_600_000 && dated <= 7_200_000, `${dated}`);
    padding = 'x'.repeat(65_536);
    await assert.rejects(read({ cert: CERTIFICATE }, signal), /too long/);
  });
});
