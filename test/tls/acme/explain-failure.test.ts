import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { explainFailure } from '../../../src/tls/acme/explain-failure.ts';

const directory = 'https://ca.example/directory';
const error = new Error('order failed');
const ACME = 'urn:ietf:params:acme:error:';

suite('the problems that an authority reports', () => {
  /** Problems of failed challenges and orders, not of requests. */
  const validations = new Set(['connection', 'dns', 'unauthorized', 'incorrectResponse']);
  const problems: [string, number, string, RegExp][] = [
    ['rateLimited', 429, 'ca-rate-limited', /takes no more requests/],
    ['serverInternal', 500, 'ca-failed', /failed with status 500/],
    ['badNonce', 400, 'ca-failed', /refuses every nonce/],
    ['connection', 400, 'challenge-failed', /port 80 of every address/],
    ['dns', 400, 'challenge-failed', /A and AAAA records/],
    ['unauthorized', 403, 'challenge-failed', /another server answered/],
    ['incorrectResponse', 403, 'challenge-failed', /another server answered/],
    ['caa', 403, 'ca-refused', /CAA record/],
    ['rejectedIdentifier', 400, 'ca-refused', /does not issue for this domain/],
    ['externalAccountRequired', 403, 'ca-refused', /external account binding: set --acme-eab-kid/],
    ['invalidContact', 400, 'ca-refused', /e-mail address/],
    ['somethingNew', 418, 'ca-refused', /status 418/],
  ];
  for (const [kind, status, code, rule] of problems) {
    test(`${kind} is ${code}`, () => {
      const isOfRequest = !validations.has(kind);
      const type = `${ACME}${kind}`;
      const problem = { type, detail: 'Because.', status, isOfRequest, retryAfter: 5000 };
      const failure = explainFailure({ error, problem, directory, isAccountRefused: false });
      assert.equal(failure.code, code);
      assert.match(failure.message, rule);
      assert.match(failure.message, /^ca\.example .*\. It says "Because\."\.$/);
      assert.equal(failure.retryAfter, 5000);
    });
  }

  for (const [kind, isAccountRefused, code, rule] of [
    ['unauthorized', true, 'account-refused', /refuses the account of this server, and also its/],
    ['accountDoesNotExist', true, 'account-refused', /refuses the account of this server, and also its/],
    ['unauthorized', false, 'ca-refused', /does not allow it to order this certificate/],
    ['caa', true, 'ca-refused', /CAA record/],
  ] as const) {
    test(`${kind} of a request is ${code} where the account ${isAccountRefused ? 'was renewed' : 'is good'}`, () => {
      const type = `${ACME}${kind}`;
      const problem = { type, detail: 'Because.', status: 403, isOfRequest: true, retryAfter: undefined };
      const failure = explainFailure({ error, problem, directory, isAccountRefused });
      assert.equal(failure.code, code);
      assert.match(failure.message, rule);
    });
  }

  test('their texts cannot control a terminal or fill the log', () => {
    const detail = `\x1b[31m\n${'x'.repeat(5000)}`;
    const problem = { type: '', detail, status: 400, isOfRequest: true, retryAfter: undefined };
    const { message } = explainFailure({ error, problem, directory, isAccountRefused: false });
    assert.match(message, /^[\x20-\x7e]{1,500}$/);
  });
});

suite('the failures of a connection to an authority', () => {
  const withCause = (code: string): Error =>
    new TypeError('fetch failed', { cause: Object.assign(new Error(`connect ${code}`), { code }) });
  const causes: [Error, string, RegExp][] = [
    [withCause('ECONNREFUSED'), 'ca-unreachable', /cannot be reached \(ECONNREFUSED\)/],
    [withCause('EPERM'), 'ca-unreachable', /cannot be reached \(EPERM\): .* its firewall/],
    [withCause('ENOTFOUND'), 'ca-unreachable', /\(ENOTFOUND\): check this machine’s DNS/],
    [withCause('SELF_SIGNED_CERT_IN_CHAIN'), 'ca-unreachable', /SELF_SIGNED_CERT_IN_CHAIN/],
    [new DOMException('too late', 'TimeoutError'), 'ca-slow', /did not answer in time/],
    [Object.assign(new Error('ENOSPC: no space'), { code: 'ENOSPC' }), 'store-failed', /Free disk space/],
    [new Error('greenlock is lost'), 'ca-failed', /"greenlock is lost"/],
  ];
  for (const [cause, code, rule] of causes) {
    test(`${cause.message} is ${code}`, () => {
      const failure = explainFailure({
        ...{ error: cause, problem: undefined, directory },
        isAccountRefused: false,
      });
      assert.equal(failure.code, code);
      assert.match(failure.message, rule);
    });
  }
});
