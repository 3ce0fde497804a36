import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type JwsRequest, POLLS, pollingRight } from '../../../src/tls/acme/polling.ts';
import { AcmeProblemError, type AcmeResponse } from '../../../src/tls/acme/transport.ts';

const ACME = 'urn:ietf:params:acme:error:';
const NEW_ORDER = '/new-order';

function answer(body: object, headers: Record<string, string> = {}): AcmeResponse {
  return { statusCode: 200, headers, body };
}

function post(url: string, payload = '{}') {
  return { url, payload, accountKey: {}, protected: {} };
}

function problem(kind: string, status = 400): AcmeProblemError {
  return new AcmeProblemError({
    ...{ type: `${ACME}${kind}`, detail: '', status },
    ...{ isOfRequest: true, retryAfter: undefined },
  });
}

/** An authority by a function, with its requests and the pauses between them. */
function polled(respond: (url: string, payload: unknown) => AcmeResponse) {
  const seen: string[] = [];
  const pauses: number[] = [];
  const clock = { now: () => 0, pause: async (milliseconds: number) => void pauses.push(milliseconds) };
  const request = pollingRight(async (_acme, { url, payload }) => {
    seen.push(`${url} ${payload}`);
    return respond(url, payload);
  }, clock);
  return { request, seen, pauses };
}

/** An order that goes through these states, one each time that it is read or finalized. */
async function finalizedOrder(states: (string | AcmeProblemError)[], headers: Record<string, string> = {}) {
  const { request, seen, pauses } = polled((url) => {
    if (url === NEW_ORDER)
      return answer({ status: 'pending', finalize: '/finalize' }, { location: '/order/1' });
    const state = states.length > 1 ? states.shift() : states[0];
    if (state instanceof Error) throw state;
    // Like pebble of 2026, whose response to finalize has no Location.
    return answer({ status: state, finalize: '/finalize' }, headers);
  });
  await request({}, post(NEW_ORDER));
  const { body } = await request({}, post('/finalize', 'csr'));
  return { status: (body as { status: string }).status, seen: seen.slice(1), pauses };
}

suite('an order', () => {
  test('is finalized once, when it is ready, and then read at the URL that newOrder named', async () => {
    const { status, seen } = await finalizedOrder(['ready', 'processing', 'processing', 'valid']);
    assert.equal(status, 'valid');
    assert.deepEqual(seen, ['/order/1 ', '/finalize csr', '/order/1 ', '/order/1 ']);
  });

  test('that is ready late is not finalized before', async () => {
    const { status, seen } = await finalizedOrder(['pending', 'pending', 'ready', 'valid']);
    assert.equal(status, 'valid');
    assert.deepEqual(seen, ['/order/1 ', '/order/1 ', '/order/1 ', '/finalize csr']);
  });

  test('that the authority reports as not ready is finalized again', async () => {
    const { status, seen } = await finalizedOrder(['ready', problem('orderNotReady', 403), 'ready', 'valid']);
    assert.equal(status, 'valid');
    assert.deepEqual(seen, ['/order/1 ', '/finalize csr', '/order/1 ', '/finalize csr']);
  });

  test('that still says ready after it was finalized is not finalized again', async () => {
    const { status, seen } = await finalizedOrder(['ready', 'ready', 'ready', 'valid']);
    assert.equal(status, 'valid');
    assert.deepEqual(seen, ['/order/1 ', '/finalize csr', '/order/1 ', '/order/1 ']);
  });

  for (const state of ['valid', 'invalid'] as const) {
    test(`that is ${state} already is not finalized`, async () => {
      const { status, seen } = await finalizedOrder([state]);
      assert.equal(status, state);
      assert.deepEqual(seen, ['/order/1 ']);
    });
  }

  test('is read when Retry-After says, within a second without it, and within a minute whatever it says', async () => {
    const states = () => ['ready', 'processing', 'valid'];
    assert.deepEqual((await finalizedOrder(states(), { 'retry-after': '7' })).pauses, [7000]);
    assert.deepEqual((await finalizedOrder(states(), { 'retry-after': '0' })).pauses, [1000]);
    const slow = ['ready', ...Array.from({ length: 4 }, () => 'processing'), 'valid'];
    assert.deepEqual((await finalizedOrder(slow)).pauses, [250, 500, 1000, 1000]);
    assert.deepEqual((await finalizedOrder(states(), { 'retry-after': '86400' })).pauses, [60_000]);
  });

  test('that never ends fails', async () => {
    const { status, seen } = await finalizedOrder(['ready', 'processing']);
    assert.equal(status, 'processing');
    assert.equal(seen.length, POLLS + 1);
  });

  test('without a URL from newOrder is finalized at once', async () => {
    const { request, seen } = polled(() => answer({ status: 'valid', finalize: '/finalize' }));
    await request({}, post(NEW_ORDER));
    await request({}, post('/finalize', 'csr'));
    assert.deepEqual(seen, ['/new-order {}', '/finalize csr']);
  });

  test('that fails to finalize for another reason fails', async () => {
    await assert.rejects(finalizedOrder(['ready', problem('badCSR')]), AcmeProblemError);
  });
});

suite('a challenge', () => {
  test('that was answered and is pending is read next, not answered again', async () => {
    const { request } = polled(() => answer({ type: 'http-01', status: 'pending' }));
    assert.deepEqual((await request({}, post('/challenge'))).body, { type: 'http-01', status: 'processing' });
  });

  test('is read when Retry-After says', async () => {
    const body = { type: 'http-01', status: 'processing' };
    const { request, pauses } = polled(() => answer(body, { 'retry-after': '5' }));
    await request({}, post('/challenge'));
    // @root/acme itself waits for the first 250 ms.
    assert.deepEqual(pauses, [4750]);
  });

  test('is read soon at first, and then each second', async () => {
    const { request, pauses } = polled(() => answer({ type: 'http-01', status: 'processing' }));
    for (let poll = 0; poll < 4; poll += 1) await request({}, post('/challenge'));
    assert.deepEqual(pauses, [250, 750, 750]);
  });

  test('that is valid already, or of an authorization that is, gets no answer', async () => {
    const challenges = [
      { type: 'http-01', url: '/challenge/1', status: 'valid' },
      { type: 'dns-01', url: '/challenge/2', status: 'pending' },
    ];
    const { request, seen } = polled((url) => {
      if (url === '/authorization/1') return answer({ status: 'pending', challenges });
      return answer({ type: 'dns-01', status: 'processing' });
    });
    await request({}, post('/authorization/1', ''));
    assert.deepEqual((await request({}, post('/challenge/1'))).body, { status: 'valid' });
    await request({}, post('/challenge/2'));
    assert.deepEqual(seen.slice(1), ['/challenge/2 {}']);
  });

  test('in a pending authorization stays unchanged', async () => {
    const body = { status: 'pending', identifier: {}, challenges: [] };
    assert.deepEqual((await polled(() => answer(body)).request({}, post('/authorization'))).body, body);
  });

  test('stands for an authorization that is valid by a challenge of another kind, or by none', async () => {
    for (const challenges of [[], [{ type: 'dns-01', url: '/challenge/3', status: 'valid' }]]) {
      const { request, seen } = polled(() => answer({ status: 'valid', identifier: {}, challenges }));
      const { body } = await request({}, post('/authorization', ''));
      const [stand] = (body as { challenges: { type: string; status: string; url: string }[] }).challenges;
      assert.deepEqual([stand?.type, stand?.status], ['http-01', 'valid']);
      assert.deepEqual((await request({}, post(stand?.url ?? ''))).body, { status: 'valid' });
      assert.equal(seen.length, 1);
    }
  });
});

suite('a nonce', () => {
  /** Retries like `@root/acme`, whose own retries go through the wrapped function. */
  const refusing = (kind: string, times: number) => {
    let count = 0;
    const clock = { now: () => 0, pause: async () => {} };
    const request: JwsRequest = pollingRight(async (acme, posted) => {
      count += 1;
      if (count > times) return answer({});
      const { _retries = 0 } = posted;
      if (kind !== 'badNonce' || _retries >= 2) throw problem(kind);
      posted._retries = _retries + 1;
      return request(acme, posted);
    }, clock);
    return { request, count: () => count };
  };

  test('that is refused is replaced a limited number of times', async () => {
    const few = refusing('badNonce', 3);
    await few.request({}, post('/a'));
    assert.equal(few.count(), 4);
    const many = refusing('badNonce', 100);
    await assert.rejects(many.request({}, post('/a')), AcmeProblemError);
    assert.equal(many.count(), 24);
  });

  test('is not replaced for other problems', async () => {
    const other = refusing('malformed', 1);
    await assert.rejects(other.request({}, post('/a')), AcmeProblemError);
    assert.equal(other.count(), 1);
  });
});
