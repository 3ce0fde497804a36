import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { setImmediate as settle } from 'node:timers/promises';
import { type AcmeProviderOptions, createAcmeProvider } from '../../../src/tls/acme/acme-provider.ts';
import { type FailureCode, IssueError, type IssueFailure } from '../../../src/tls/acme/issuer.ts';
import type { Certificate } from '../../../src/tls/certificate.ts';
import type { CertificateFailure } from '../../../src/tls/certificate-provider.ts';
import { makeSelfSigned } from '../../../src/tls/self-signed.ts';
import type { CertificateStore, StoredSuggestion } from '../../../src/tls/stores/certificate-store.ts';
import { SharedStoreError } from '../../../src/tls/stores/encrypted-redis-store.ts';

const START = Date.UTC(2027, 0, 1);
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const order = { directory: 'https://ca.example/dir', email: 'ops@example.org', domains: ['dl.example.org'] };

/** A store in memory whose disk can be full. */
function createStore() {
  const state = {
    isFull: false,
    certificate: undefined as Certificate | undefined,
    attempts: [] as readonly number[],
    failure: undefined as CertificateFailure | undefined,
    request: undefined as number | undefined,
    suggestion: undefined as StoredSuggestion | undefined,
  };
  const write = (change: () => void): void => {
    if (state.isFull) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    change();
  };
  const store: CertificateStore = {
    certificate: async () => state.certificate,
    putCertificate: async (_authority, certificate) => write(() => Object.assign(state, { certificate })),
    account: async () => undefined,
    putAccount: async () => {},
    attempts: async () => state.attempts,
    putAttempts: async (_authority, attempts) => write(() => Object.assign(state, { attempts })),
    failure: async () => state.failure,
    putFailure: async (_authority, failure) => write(() => Object.assign(state, { failure })),
    request: async () => state.request,
    putRequest: async (_authority, request) => write(() => Object.assign(state, { request })),
    suggestion: async () => state.suggestion,
    putSuggestion: async (_authority, suggestion) => write(() => Object.assign(state, { suggestion })),
  };
  return { store, state };
}

interface ProviderSetup {
  readonly days?: number;
  readonly store?: ReturnType<typeof createStore>;
  readonly renewalInfo?: AcmeProviderOptions['renewalInfo'];
  readonly lock?: AcmeProviderOptions['lock'];
  readonly fallback?: AcmeProviderOptions['fallback'];
  readonly random?: AcmeProviderOptions['random'];
  /** True if the clock is a millisecond ahead at each look. */
  readonly isMoving?: boolean;
}

/** Starts a provider with a clock of its own and an authority that the test controls. */
async function startProvider(context: TestContext, setup: ProviderSetup = {}) {
  const { mock } = context;
  const { days = 90, store = createStore(), lock, renewalInfo, fallback, isMoving = false } = setup;
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: START });
  const orders: number[] = [];
  let looks = 0;
  const used: Certificate[] = [];
  const failures: string[] = [];
  const exhausted: { code: string; next: number }[] = [];
  const waiting: { code: string; next: number }[] = [];
  /** Milliseconds by which the clock went back. */
  const clock = { behind: 0 };
  /** The directory of each order. */
  const directories: string[] = [];
  const authority = {
    fails: false,
    code: 'challenge-failed' as FailureCode,
    retryAfter: undefined as number | undefined,
    onIssue: () => {},
  };
  /** The failures of the second authority that are to come. */
  const fallbackFailures: Pick<IssueFailure, 'code' | 'retryAfter'>[] = [];
  const open = async () => {
    const provider = await createAcmeProvider({
      order,
      store: store.store,
      now: () => Date.now() - clock.behind + (isMoving ? looks++ : 0),
      random: setup.random ?? (() => 0.5),
      renewalInfo,
      lock,
      fallback,
      issuer: {
        async issue({ directory }) {
          orders.push(Date.now());
          directories.push(directory);
          if (authority.fails && directory === order.directory) {
            const { code, retryAfter } = authority;
            throw new IssueError({ code, message: 'It failed.', retryAfter });
          }
          const failure = directory === order.directory ? undefined : fallbackFailures.shift();
          if (failure !== undefined) throw new IssueError({ message: 'It failed.', ...failure });
          authority.onIssue();
          return makeSelfSigned({
            names: order.domains,
            notBefore: Date.now(),
            notAfter: Date.now() + days * DAY_MS,
          });
        },
      },
      log: {
        temporary: () => {},
        issued: () => {},
        adopted: () => {},
        failed: ({ code }) => failures.push(code),
        exhausted: ({ code }, next) => exhausted.push({ code, next }),
        waiting: ({ code }, next) => waiting.push({ code, next }),
      },
    });
    context.after(() => provider.close());
    provider.start((certificate) => used.push(certificate));
    return provider;
  };
  /** Advances the clock, and waits for the work that this starts. */
  const pass = async (milliseconds: number, step = milliseconds): Promise<void> => {
    for (let passed = 0; passed < milliseconds; passed += step) {
      mock.timers.tick(step);
      for (let turn = 0; turn < 10; turn += 1) await settle();
    }
  };
  const provider = await open();
  await pass(1);
  return {
    provider,
    open,
    pass,
    orders,
    directories,
    used,
    failures,
    exhausted,
    waiting,
    clock,
    authority,
    fallbackFailures,
    disk: store.state,
  };
}

suite('the certificate over the years', () => {
  for (const days of [90, 45, 6]) {
    test(`a certificate of ${days} days is renewed each time that a third is left`, async (t) => {
      const { provider, pass, orders, used } = await startProvider(t, { days });
      await pass(days * 3 * DAY_MS, HOUR_MS);
      const gaps = orders.slice(1).map((at, index) => (at - (orders[index] ?? 0)) / DAY_MS / days);
      assert.ok(gaps.length >= 4, `${gaps}`);
      for (const gap of gaps) assert.ok(gap > 0.63 && gap < 0.6667, `${gap}`);
      assert.equal(used.length, orders.length);
      assert.equal(provider.status().state, 'valid');
    });
  }

  test('an authority that fails forever: what is in use stays, until it is over, and never six attempts an hour', async (t) => {
    const { provider, open, pass, orders, used, authority } = await startProvider(t, { days: 6 });
    authority.fails = true;
    await pass(4 * DAY_MS, HOUR_MS);
    assert.equal(provider.status().state, 'valid');
    assert.equal(provider.status().lastFailure?.code, 'challenge-failed');
    assert.ok((provider.status().nextAttempt ?? 0) > Date.now());
    await pass(3 * DAY_MS, HOUR_MS);
    assert.equal(provider.status().state, 'expired');
    assert.equal(used.length, 1);
    assert.ok(orders.length > 10);
    await provider.close();

    // Simulates an operator that restarts the service every five minutes.
    for (let restart = 0; restart < 24; restart += 1) {
      const again = await open();
      await pass(5 * MINUTE_MS, 5000);
      await again.close();
    }
    orders.forEach((at, index) => {
      const sixth = orders[index + 5];
      assert.ok(sixth === undefined || sixth - at >= HOUR_MS, `${index}`);
    });

    authority.fails = false;
    const last = await open();
    await pass(HOUR_MS, MINUTE_MS);
    assert.equal(last.status().state, 'valid');
    assert.equal(last.status().lastFailure, undefined);
  });

  test('a disk that is full by then: the new certificate is served from memory, and saved later without another order', async (t) => {
    const { provider, pass, orders, used, authority, failures, disk } = await startProvider(t);
    authority.onIssue = () => {
      disk.isFull = true;
    };
    await pass(61 * DAY_MS, HOUR_MS);
    assert.equal(used.length, 2);
    assert.ok(failures.length > 0 && failures.every((code) => code === 'store-failed'));
    assert.equal(provider.status().lastFailure?.code, 'store-failed');
    assert.notEqual(disk.certificate?.fingerprint, used[1]?.fingerprint);
    disk.isFull = false;
    await pass(HOUR_MS, MINUTE_MS);
    assert.equal(disk.certificate?.fingerprint, used[1]?.fingerprint);
    assert.equal(provider.status().lastFailure, undefined);
    assert.equal(orders.length, 2);
  });

  test('an operator’s request renews the certificate once, and a failure is kept until the next success', async (t) => {
    const { pass, orders, authority, disk } = await startProvider(t);
    await pass(DAY_MS, HOUR_MS);
    authority.fails = true;
    disk.request = Date.now();
    await pass(MINUTE_MS, 1000);
    assert.deepEqual([disk.request, disk.failure?.code], [undefined, 'challenge-failed']);
    assert.equal(disk.failure?.at, orders[2]);
    authority.fails = false;
    await pass(HOUR_MS, MINUTE_MS);
    assert.deepEqual([orders.length, disk.failure], [4, undefined]);
    await pass(DAY_MS, HOUR_MS);
    assert.equal(orders.length, 4);
  });

  test('a clock that moves while the next attempt is computed delays and reports nothing', async (t) => {
    const { provider, exhausted, waiting } = await startProvider(t, { isMoving: true });
    await provider.reload();
    assert.deepEqual([exhausted, waiting], [[], []]);
  });

  test('on a disk that is already full, no order starts', async (t) => {
    const store = createStore();
    store.state.isFull = true;
    const { provider, orders, failures } = await startProvider(t, { store });
    assert.deepEqual(orders, []);
    assert.deepEqual(failures, ['store-failed']);
    assert.equal(provider.status().state, 'temporary');
  });

  test('other errors do not count as errors of the disk', async (t) => {
    const { provider, pass, authority, failures } = await startProvider(t);
    authority.onIssue = () => {
      throw new TypeError('x is not a function');
    };
    await pass(61 * DAY_MS, HOUR_MS);
    assert.ok(failures.length > 0 && failures.every((code) => code === 'unexpected'), failures.join());
    assert.match(provider.status().lastFailure?.message ?? '', /x is not a function/);
  });

  test('after five attempts in an hour, a reload and a restart say until when they wait', async (t) => {
    const store = createStore();
    store.state.attempts = [50, 40, 30, 20, 10].map((minutes) => START - minutes * MINUTE_MS);
    const next = START + 10 * MINUTE_MS;
    const { provider, pass, orders, exhausted, authority } = await startProvider(t, { store });
    assert.deepEqual(orders, []);
    assert.deepEqual(exhausted, [{ code: 'too-many-attempts', next }]);
    assert.deepEqual(provider.status().lastFailure, {
      at: START - 10 * MINUTE_MS,
      code: 'too-many-attempts',
      message: '5 attempts in the last hour have failed.',
    });
    assert.equal(provider.status().nextAttempt, next);
    await provider.reload();
    assert.equal(exhausted.length, 2);

    authority.fails = true;
    await pass(10 * MINUTE_MS, MINUTE_MS);
    assert.equal(orders.length, 1);
    await provider.reload();
    assert.deepEqual(exhausted[2], { code: 'challenge-failed', next: next + 10 * MINUTE_MS });
    authority.fails = false;
    await pass(10 * MINUTE_MS, MINUTE_MS);
    assert.equal(provider.status().lastFailure, undefined);
    assert.equal(provider.status().state, 'valid');
  });

  test('an authority that asks to wait gets no order until then, even after a restart, unless an operator requests one', async (t) => {
    const { provider, open, pass, orders, waiting, authority, disk } = await startProvider(t);
    Object.assign(authority, { fails: true, code: 'ca-rate-limited', retryAfter: 7 * HOUR_MS });
    await pass((provider.status().nextAttempt ?? 0) - Date.now());
    const next = (orders[1] ?? 0) + 7 * HOUR_MS;
    assert.equal(provider.status().nextAttempt, next);
    await provider.close();

    const again = await open();
    assert.deepEqual(waiting, [{ code: 'ca-rate-limited', next }]);
    assert.deepEqual(
      [again.status().nextAttempt, again.status().lastFailure?.code],
      [next, 'ca-rate-limited'],
    );
    await pass(next - Date.now() - 1);
    assert.equal(orders.length, 2);
    await pass(1);
    assert.equal(orders.length, 3);
    await again.reload();
    await pass(1);
    assert.equal(orders.length, 4);
    await again.close();

    const last = await open();
    disk.request = Date.now();
    authority.fails = false;
    await pass(MINUTE_MS, 1000);
    assert.equal(orders.length, 5);
    assert.deepEqual([last.status().lastFailure, disk.failure], [undefined, undefined]);
  });

  test('a clock that was decades ahead delays no order once it is right', async (t) => {
    const { provider, open, pass, orders, authority, clock, disk } = await startProvider(t);
    await provider.close();
    disk.certificate = undefined;
    const decades = 20 * 365 * DAY_MS;
    clock.behind = -decades;
    Object.assign(authority, { fails: true, code: 'ca-rate-limited', retryAfter: 7 * HOUR_MS });
    const failing = await open();
    await pass(1);
    assert.equal(orders.length, 2);

    clock.behind = 0;
    await pass(2 * MINUTE_MS, 1000);
    assert.equal(orders.length, 3, 'the service runs on');
    assert.ok((disk.failure?.since ?? 0) <= Date.now(), 'the fallback is due in time');
    await failing.close();

    disk.failure = {
      ...{ at: Date.now(), code: 'ca-rate-limited', message: 'It failed.' },
      waits: { [order.directory]: Date.now() + decades },
    };
    authority.fails = false;
    await open();
    await pass(1);
    assert.equal(orders.length, 4, 'the service restarts');
  });

  test('the renewal of a certificate that was issued while the clock was ahead comes in time', async (t) => {
    const { provider, open, pass, orders, clock, disk } = await startProvider(t);
    await provider.close();
    disk.certificate = undefined;
    clock.behind = -20 * 365 * DAY_MS;
    await open();
    await pass(1);
    clock.behind = 0;
    await pass(58 * DAY_MS, HOUR_MS);
    assert.equal(orders.length, 2);
    await pass(DAY_MS, HOUR_MS);
    assert.equal(orders.length, 3);
  });

  test('a reload tries again after a failure, and leaves alone what is well', async (t) => {
    const { provider, pass, orders, authority } = await startProvider(t);
    await provider.reload();
    await pass(MINUTE_MS);
    assert.equal(orders.length, 1);
    authority.fails = true;
    await pass(60 * DAY_MS, HOUR_MS);
    const before = orders.length;
    authority.fails = false;
    await provider.reload();
    await pass(1);
    assert.equal(orders.length, before + 1);
    assert.equal(provider.status().state, 'valid');
  });
});

suite('the certificate of replicas', () => {
  /** A lock that one replica owns. */
  const createLock = () => {
    const state = { isTaken: false, isAway: false };
    const lock = async () => {
      if (state.isAway) throw new SharedStoreError('Redis cannot be asked');
      if (state.isTaken) return undefined;
      state.isTaken = true;
      return {
        [Symbol.dispose]() {
          state.isTaken = false;
        },
      };
    };
    return { state, lock };
  };

  test('is ordered by one and shown by all, at first and at each renewal', async (t) => {
    const { lock, state } = createLock();
    const { provider, open, pass, orders, used } = await startProvider(t, { lock });
    const other = await open();
    const shown = () => [provider, other].map((one) => one.status().notAfter);
    await pass(MINUTE_MS, 1000);
    assert.deepEqual(
      [orders.length, used.length, state.isTaken],
      [1, 1, false],
      'the other one has it at once',
    );
    for (let renewals = 2; renewals < 5; renewals += 1) {
      await pass(60 * DAY_MS, HOUR_MS);
      await pass(MINUTE_MS, 1000);
      assert.equal(orders.length, renewals);
      assert.equal(new Set(shown()).size, 1);
    }
    assert.equal(used.length, 7);
    await Promise.all([provider.close(), other.close()]);
  });

  test('stays with the replica that fails to order it; after that replica ends, another one continues within the same limits', async (t) => {
    const { lock, state } = createLock();
    const { provider, open, pass, orders, failures, authority } = await startProvider(t, { lock, days: 6 });
    const other = await open();
    await pass(MINUTE_MS, 1000);
    authority.fails = true;
    await pass(4 * DAY_MS, MINUTE_MS);
    assert.ok(failures.length > 3);
    const failing = [provider, other].filter((one) => one.status().lastFailure !== undefined);
    assert.equal(failing.length, 1);
    await pass(5 * HOUR_MS, MINUTE_MS);
    assert.equal(state.isTaken, true);
    await failing[0]?.close();
    assert.equal(state.isTaken, false);
    await pass(12 * HOUR_MS, MINUTE_MS);
    const left = failing[0] === provider ? other : provider;
    assert.equal(left.status().lastFailure?.code, 'challenge-failed');
    orders.forEach((at, index) => {
      const sixth = orders[index + 5];
      assert.ok(sixth === undefined || sixth - at >= HOUR_MS, `${index}`);
    });
  });

  test('is not ordered by the remaining replica until the wait that the authority asked for is over', async (t) => {
    const { lock } = createLock();
    const { provider, open, pass, orders, waiting, authority } = await startProvider(t, { lock });
    const other = await open();
    await pass(MINUTE_MS, 1000);
    Object.assign(authority, { fails: true, code: 'ca-rate-limited', retryAfter: 5 * HOUR_MS });
    const due = Math.min(...[provider, other].map((one) => one.status().nextAttempt ?? 0));
    await pass(due - Date.now());
    const next = (orders[1] ?? 0) + 5 * HOUR_MS;
    const [dead, left] = provider.status().lastFailure === undefined ? [other, provider] : [provider, other];
    assert.equal(left.status().lastFailure, undefined, 'one has ordered');
    await dead.close();
    await pass(HOUR_MS, MINUTE_MS);
    assert.deepEqual(waiting, [{ code: 'ca-rate-limited', next }]);
    assert.equal(left.status().nextAttempt, next);
    authority.fails = false;
    await pass(next - Date.now() - 1);
    assert.equal(orders.length, 2);
    await pass(1);
    assert.equal(orders.length, 3);
  });

  test('is ordered at the request of an operator by the replica that has the lock after a failure', async (t) => {
    const { lock } = createLock();
    const { provider, open, pass, orders, authority, disk } = await startProvider(t, { lock, days: 1 / 144 });
    // The two look for requests in turn.
    await pass(1000);
    const other = await open();
    Object.assign(authority, { fails: true, code: 'ca-rate-limited', retryAfter: 5 * HOUR_MS });
    await pass(7 * MINUTE_MS, 1000);
    for (const expected of [3, 4]) {
      disk.request = Date.now();
      await pass(5000, 1000);
      assert.deepEqual([orders.length, disk.request], [expected, undefined]);
    }
    authority.fails = false;
    disk.request = Date.now();
    await pass(MINUTE_MS, 1000);
    assert.equal(orders.length, 5);
    await Promise.all([provider.close(), other.close()]);
  });

  test('waits after too many attempts of another replica, and reports it', async (t) => {
    const { lock } = createLock();
    const store = createStore();
    const { provider, pass, orders, exhausted, authority } = await startProvider(t, { store, lock });
    authority.fails = true;
    const due = provider.status().nextAttempt ?? 0;
    store.state.attempts = Array.from({ length: 5 }, () => due - MINUTE_MS);
    await pass(due - START, HOUR_MS / 2);
    assert.equal(orders.length, 1);
    assert.deepEqual(exhausted, [{ code: 'too-many-attempts', next: due - MINUTE_MS + HOUR_MS }]);
  });

  test('is not ordered while the store of locks fails, and is once it works', async (t) => {
    const { lock, state } = createLock();
    state.isAway = true;
    const { provider, pass, orders, failures } = await startProvider(t, { lock });
    await pass(10 * MINUTE_MS, 1000);
    assert.equal(orders.length, 0);
    assert.equal(provider.status().lastFailure?.message, 'Redis cannot be asked.');
    assert.equal(failures.length, 11, 'it is asked again each minute');
    state.isAway = false;
    await pass(2 * MINUTE_MS, 1000);
    assert.equal(orders.length, 1);
    assert.equal(provider.status().lastFailure, undefined);
  });
});

suite('a second authority', () => {
  const fallback = { ...order, directory: 'https://other.example/dir' };

  test('is asked after the first has failed for two days, also over a restart, and not at the next renewal', async (t) => {
    const { provider, open, pass, orders, directories, authority } = await startProvider(t, { fallback });
    Object.assign(authority, { fails: true, code: 'ca-unreachable' });
    await pass(60 * DAY_MS, HOUR_MS);
    const first = orders[1] ?? 0;
    await pass(first + DAY_MS - Date.now(), HOUR_MS);
    await provider.close();
    const again = await open();
    await pass(first + 2 * DAY_MS - Date.now() - MINUTE_MS, MINUTE_MS);
    assert.ok(directories.length > 5 && !directories.includes(fallback.directory), directories.join());
    await pass(HOUR_MS, MINUTE_MS);
    assert.equal(directories.at(-1), fallback.directory);
    assert.equal(again.status().lastFailure, undefined);
    authority.fails = false;
    await pass(61 * DAY_MS, HOUR_MS);
    assert.equal(directories.at(-1), order.directory);
  });

  test('is asked sooner for a certificate of six days, and alternates with the first', async (t) => {
    const { pass, orders, directories, authority } = await startProvider(t, { fallback, days: 6 });
    Object.assign(authority, { fails: true, code: 'ca-refused' });
    await pass(6 * DAY_MS, HOUR_MS / 2);
    const at = directories.indexOf(fallback.directory);
    const waited = ((orders[at] ?? 0) - (orders[1] ?? 0)) / DAY_MS;
    assert.ok(waited > 0.9 && waited < 1.2, `${waited}`);
  });

  test('alternates with the first, also after it could not find this server', async (t) => {
    const bed = await startProvider(t, { fallback });
    const { pass, directories, authority, fallbackFailures } = bed;
    Object.assign(authority, { fails: true, code: 'ca-unreachable' });
    fallbackFailures.push(
      { code: 'challenge-failed', retryAfter: undefined },
      { code: 'ca-failed', retryAfter: undefined },
    );
    await pass(65 * DAY_MS, HOUR_MS);
    const asked = directories.slice(directories.indexOf(fallback.directory));
    const [second, first] = [fallback.directory, order.directory];
    assert.deepEqual(asked, [second, first, second, first, second]);
  });

  test('ignores the Retry-After of the first, which ignores that of the second', async (t) => {
    const bed = await startProvider(t, { fallback });
    const { pass, orders, directories, authority, fallbackFailures } = bed;
    const retryAfter = 20 * HOUR_MS;
    Object.assign(authority, { fails: true, code: 'ca-rate-limited', retryAfter });
    fallbackFailures.push(
      { code: 'ca-failed', retryAfter: undefined },
      { code: 'ca-rate-limited', retryAfter },
    );
    await pass(61 * DAY_MS, HOUR_MS);
    const [begin = 0] = orders.slice(1);
    await pass(begin + 61 * HOUR_MS - Date.now(), HOUR_MS / 4);
    const [second, first] = [fallback.directory, order.directory];
    assert.deepEqual(directories.slice(1), [first, first, first, second, second, first]);
    const hours = orders.slice(1).map((at) => Math.floor((at - begin) / HOUR_MS));
    assert.deepEqual(hours, [0, 20, 40, 48, 49, 60]);
  });

  test('is not asked while the first cannot find this server', async (t) => {
    const { pass, directories, authority } = await startProvider(t, { fallback });
    authority.fails = true;
    await pass(75 * DAY_MS, HOUR_MS);
    assert.ok(directories.length > 10 && !directories.includes(fallback.directory));
  });
});

suite('renewal information', () => {
  const window = (start: number, end: number) => ({ start, end, retryAfter: undefined });

  test('a certificate is renewed within the window that the authority suggests', async (t) => {
    const renewalInfo = async ({ notBefore }: Certificate) =>
      window(notBefore + 10 * DAY_MS, notBefore + 12 * DAY_MS);
    const { pass, orders, provider } = await startProvider(t, { renewalInfo });
    await pass(DAY_MS, HOUR_MS);
    const next = (provider.status().nextAttempt ?? 0) - (orders[0] ?? 0);
    assert.ok(Math.abs(next - 11 * DAY_MS) < 1000, `${next}`);
    await pass(11 * DAY_MS, HOUR_MS);
    assert.equal(orders.length, 2);
  });

  test('a window that moves to the past renews at once, and one that stays there only every six hours', async (t) => {
    let isRevoked = false;
    const renewalInfo = async ({ notBefore, notAfter }: Certificate) =>
      isRevoked ? window(notBefore - 2, notBefore - 1) : window(notAfter - DAY_MS, notAfter);
    const { pass, orders } = await startProvider(t, { renewalInfo });
    await pass(2 * DAY_MS, HOUR_MS);
    assert.equal(orders.length, 1);
    isRevoked = true;
    await pass(7 * HOUR_MS, MINUTE_MS);
    assert.equal(orders.length, 2);
    await pass(DAY_MS, MINUTE_MS);
    assert.ok(orders.length >= 4 && orders.length <= 7, `${orders.length}`);
  });

  test('renews in time although the clock was decades ahead before', async (t) => {
    const renewalInfo = async ({ notBefore }: Certificate) => ({
      ...window(notBefore + 10 * DAY_MS, notBefore + 12 * DAY_MS),
      retryAfter: 6 * HOUR_MS,
    });
    const { provider, open, pass, orders, clock, disk } = await startProvider(t, { renewalInfo });
    await pass(DAY_MS, HOUR_MS);
    await provider.close();
    const decades = 20 * 365 * DAY_MS;
    const far = Date.now() + decades;
    const fingerprint = disk.certificate?.fingerprint ?? '';
    disk.suggestion = { fingerprint, start: far, end: far, askAt: far, orderedAt: far };
    await open();
    await pass(11 * DAY_MS, HOUR_MS);
    assert.equal(orders.length, 2, 'the service restarts');

    clock.behind = -decades;
    await pass(2 * MINUTE_MS, 1000);
    clock.behind = 0;
    await pass(2 * MINUTE_MS, 1000);
    const before = orders.length;
    await pass(12 * DAY_MS, HOUR_MS);
    assert.equal(orders.length, before + 1, 'the service runs on');
  });

  test('is read again when the authority requests it, at most each minute and at least each day', async (t) => {
    const reads: number[] = [];
    let retryAfter: number | undefined = 2 * HOUR_MS;
    const renewalInfo = async ({ notAfter }: Certificate) => {
      reads.push(Date.now());
      return { start: notAfter - DAY_MS, end: notAfter, retryAfter };
    };
    const { pass } = await startProvider(t, { renewalInfo });
    /** Returns the time between the two reads after the one that is already planned. */
    const intervalOf = async (asked: number | undefined): Promise<number> => {
      retryAfter = asked;
      const before = reads.length;
      while (reads.length < before + 2) await pass(MINUTE_MS / 2);
      return (reads[before + 1] ?? 0) - (reads[before] ?? 0);
    };
    for (const [asked, expected] of [
      [2 * HOUR_MS, 2 * HOUR_MS],
      [undefined, 6 * HOUR_MS],
      [1000, MINUTE_MS],
      [3 * DAY_MS, DAY_MS],
    ] as const) {
      assert.equal(await intervalOf(asked), expected);
    }
  });

  test('the time at which an authority wants to be asked again holds over restarts and for replicas', async (t) => {
    const reads: number[] = [];
    const renewalInfo = async ({ notBefore, notAfter }: Certificate) => {
      reads.push(Date.now());
      return { start: notBefore + 20 * DAY_MS, end: notAfter, retryAfter: 20 * HOUR_MS };
    };
    const lock = async () => ({ [Symbol.dispose]() {} });
    let draws = 0;
    const random = () => (draws++ % 10) / 10;
    const { provider, open, pass } = await startProvider(t, { renewalInfo, lock, random });
    await pass(2 * MINUTE_MS, MINUTE_MS);
    await provider.close();
    assert.equal(reads.length, 1);
    const [again, replica] = [await open(), await open()];
    await pass(19 * HOUR_MS, HOUR_MS);
    assert.equal(reads.length, 1);
    const times = [again, replica].map((one) => one.status().nextAttempt ?? 0);
    for (const time of times) assert.ok(time >= START + 20 * DAY_MS && time < START + 60 * DAY_MS, `${time}`);
    await pass(2 * HOUR_MS, 1000);
    assert.equal(reads.length, 2);
    await Promise.all([again.close(), replica.close()]);
  });

  test('the last order that an authority suggested counts over restarts, and an expired certificate is not asked about', async (t) => {
    let reads = 0;
    const renewalInfo = async ({ notBefore }: Certificate) => {
      reads += 1;
      return window(notBefore - 2, notBefore - 1);
    };
    const { provider, open, pass, orders, authority } = await startProvider(t, { renewalInfo, days: 6 });
    await pass(2 * MINUTE_MS, MINUTE_MS);
    assert.equal(orders.length, 2);
    await provider.close();
    for (let restart = 0; restart < 10; restart += 1) {
      const again = await open();
      await pass(5 * MINUTE_MS, MINUTE_MS);
      await again.close();
    }
    assert.equal(orders.length, 2);
    authority.fails = true;
    const last = await open();
    await pass(7 * DAY_MS, HOUR_MS);
    assert.equal(last.status().state, 'expired');
    const before = reads;
    await pass(DAY_MS, HOUR_MS);
    assert.equal(reads, before);
  });

  test('an authority whose renewal information fails is followed by the lifetime', async (t) => {
    const renewalInfo = () => Promise.reject(new Error('it returned status 500'));
    const { pass, orders, provider } = await startProvider(t, { renewalInfo });
    await pass(58 * DAY_MS, HOUR_MS);
    assert.deepEqual([orders.length, provider.status().lastFailure], [1, undefined]);
    await pass(3 * DAY_MS, HOUR_MS);
    assert.equal(orders.length, 2);
  });
});
