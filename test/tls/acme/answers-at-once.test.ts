import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setImmediate as settle } from 'node:timers/promises';
import { answersAtOnce } from '../../../src/tls/acme/answers-at-once.ts';
import type { AcmeResponse } from '../../../src/tls/acme/transport.ts';

const NAMES = Array.from({ length: 25 }, (_, index) => `/challenge/${index}`);

function post(url: string, payload = '{}') {
  return { url, payload, accountKey: {}, protected: { kid: 'account' } };
}

/** An authority with 25 authorizations, and the requests that reach it. */
function startOrder(fails: (url: string) => boolean = () => false) {
  const seen: string[] = [];
  const heads = new Set<object>();
  const most = { atOnce: 0 };
  let running = 0;
  const request = answersAtOnce(
    async (_acme, { url, payload, protected: head }) => {
      heads.add(head);
      most.atOnce = Math.max(most.atOnce, ++running);
      await settle();
      running -= 1;
      seen.push(`${url} ${payload}`);
      if (fails(url)) throw new Error('it failed');
      const other = { type: 'dns-01', status: 'pending', url: `${url}/dns` };
      const challenges = [other, { type: 'http-01', status: 'pending', url: url.replace('/authz', '') }];
      const body = url.startsWith('/authz') ? { status: 'pending', challenges } : { status: 'pending' };
      return { statusCode: 200, headers: {}, body } satisfies AcmeResponse;
    },
    { challenge: 'http-01', spread: async () => void seen.push('spread') },
  );
  const readAll = async (): Promise<void> => {
    for (const name of NAMES) await request({}, post(`/authz${name}`, ''));
    seen.length = 0;
  };
  return { request, readAll, seen, heads, most };
}

suite('the challenges of an order through greenlock', () => {
  test('are answered together once all are presented, and are then only polled', async () => {
    const { request, readAll, seen, heads, most } = startOrder();
    await readAll();
    assert.deepEqual(most, { atOnce: 1 });
    heads.clear();
    const [first = '', ...others] = NAMES;
    await request({}, post(first));
    assert.equal(seen[0], 'spread');
    assert.deepEqual(seen.slice(1).sort(), NAMES.map((name) => `${name} {}`).sort());
    assert.deepEqual(most, { atOnce: 10 });
    assert.equal(heads.size, NAMES.length);
    seen.length = 0;
    for (const name of others) await request({}, post(name));
    assert.deepEqual(
      seen,
      others.map((name) => `${name} `),
    );
  });

  test('that could not be answered together are answered again one by one, which reports the failure', async () => {
    const broken = NAMES[3] ?? '';
    const { request, readAll, seen } = startOrder((url) => url === broken);
    await readAll();
    await request({}, post(NAMES[0] ?? ''));
    seen.length = 0;
    await assert.rejects(request({}, post(broken)), /it failed/);
    assert.deepEqual(seen, [`${broken} {}`]);
  });
});
