import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  type CertificateIssuer,
  type CertificateOrder,
  type FailureCode,
  IssueError,
} from '../../../src/tls/acme/issuer.ts';
import { selectIssuer } from '../../../src/tls/acme/select-issuer.ts';
import { temporaryCertificate } from '../../../src/tls/self-signed-provider.ts';

const ORDER = { directory: 'https://ca.example/dir', email: 'ops@example.org', domains: ['dl.example.org'] };

/** Orders with a greenlock that fails in one way, and lists the clients that ordered. */
async function clientsThatOrder(code: FailureCode | undefined, order: CertificateOrder = ORDER) {
  const orders: string[] = [];
  const certificate = temporaryCertificate(ORDER.domains, 0);
  const client = (name: string, code: FailureCode | undefined): CertificateIssuer => ({
    async issue() {
      orders.push(name);
      if (code !== undefined) throw new IssueError({ code, message: 'It failed.', retryAfter: undefined });
      return certificate;
    },
  });
  const issuer = selectIssuer({
    greenlock: client('greenlock', code),
    builtin: client('builtin', undefined),
    onSwitch: (failure) => orders.push(failure.code),
  });
  await issuer.issue(order, new AbortController().signal).catch(() => orders.push('failed'));
  return orders;
}

suite('acme_client = auto', () => {
  test('orders once through greenlock', async () => {
    assert.deepEqual(await clientsThatOrder(undefined), ['greenlock']);
  });

  for (const code of ['worker-ended', 'client-failed', 'unexpected'] as const) {
    test(`orders through the built-in client after ${code}`, async () => {
      assert.deepEqual(await clientsThatOrder(code), ['greenlock', code, 'builtin']);
    });
  }

  for (const code of [
    ...(['ca-unreachable', 'ca-slow', 'ca-rate-limited', 'ca-failed', 'ca-refused'] as const),
    ...(['account-refused', 'challenge-failed', 'store-failed'] as const),
  ]) {
    test(`makes no second order after ${code}`, async () => {
      assert.deepEqual(await clientsThatOrder(code), ['greenlock', 'failed']);
    });
  }

  const beyond: [string, Partial<CertificateOrder>][] = [
    ['a profile', { profile: 'shortlived' }],
    ['a preferred chain', { preferredChain: 'Root' }],
    ['an external account', { externalAccount: { kid: 'a', key: 'b' } }],
    ['an IP address', { domains: ['2001:db8::1'] }],
  ];
  for (const [what, part] of beyond) {
    test(`orders through the built-in client for ${what}`, async () => {
      assert.deepEqual(await clientsThatOrder(undefined, { ...ORDER, ...part }), ['builtin']);
    });
  }
});
