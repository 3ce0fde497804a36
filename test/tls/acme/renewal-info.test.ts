import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseRenewalInfo, renewalInfoId } from '../../../src/tls/acme/renewal-info.ts';

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
