import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { alternateChallenges } from '../../../src/tls/acme/alternate-challenge.ts';
import type { ChallengeType } from '../../../src/tls/acme/challenge.ts';
import { type FailureCode, IssueError } from '../../../src/tls/acme/issuer.ts';

const order = { directory: 'https://ca.example/dir', email: 'ops@example.org', domains: ['dl.example.org'] };

suite('the challenge of an order', () => {
  test('alternates between the ports after a failed validation, and after no other failure', async () => {
    const asked: (ChallengeType | undefined)[] = [];
    let code: FailureCode = 'challenge-failed';
    const issuer = alternateChallenges({
      async issue({ challenge }) {
        asked.push(challenge);
        throw new IssueError({ code, message: 'It failed.', retryAfter: undefined });
      },
    });
    const issue = (challenge?: ChallengeType) =>
      assert.rejects(issuer.issue({ ...order, challenge }, new AbortController().signal), IssueError);
    await issue();
    await issue();
    code = 'ca-failed';
    await issue();
    await issue();
    await issue('dns-01');
    assert.deepEqual(asked, ['http-01', 'tls-alpn-01', 'http-01', 'http-01', 'dns-01']);
  });
});
