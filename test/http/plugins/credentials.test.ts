import assert from 'node:assert/strict';
import { request } from 'node:http';
import { suite, test } from 'node:test';
import { fastify } from 'fastify';
import { detail } from '../../../src/errors/details.ts';
import { ServiceError } from '../../../src/errors.ts';
import { acceptCredentials, credentialFor } from '../../../src/http/plugins/credentials.ts';
import type { CountingStore } from '../../../src/limits/counting-store.ts';
import { createLoginBrake, type LoginBrake, type LoginOutcome } from '../../../src/limits/login-brake.ts';
import { createMemoryCountingStore } from '../../../src/limits/memory-counting-store.ts';
import { createMemoryCaches } from '../../../src/util/memory-caches.ts';
import { httpCall } from '../../support/http-request.ts';
import { basicCredentials } from '../../support/registry.ts';

const headers = { authorization: basicCredentials({ name: 'registry.test/alice', password: 'guess' }) };
const images = [{ domain: 'registry.test' }];

/** A server whose routes use credentials in different ways, and the outcomes that it reports. */
async function startServer() {
  const outcomes: LoginOutcome[] = [];
  const admitted: string[] = [];
  const logins: LoginBrake = {
    async admit(registry) {
      admitted.push(registry);
      return (outcome) => void outcomes.push(outcome);
    },
  };
  const app = fastify({ trustProxy: ['127.0.0.1'] });
  acceptCredentials(app, {
    ...{ isOn: true, isSupported: true },
    limits: { rates: { requests: undefined, pages: undefined }, logins },
  });
  app.setErrorHandler(async (error: Error, asked, reply) => {
    const known =
      error instanceof ServiceError
        ? error
        : new ServiceError('internal-error', detail('failure-internal', {}));
    const { status } = (await asked.credentials?.explain(known)) ?? known;
    return reply.status(status).send({});
  });
  app.get('/unused', async (asked) => ({ has: (await credentialFor(asked, images)) !== undefined }));
  app.get('/used', async (asked) => ({ has: (await credentialFor(asked, images))?.reveal() !== undefined }));
  app.get('/elsewhere', async (asked) => credentialFor(asked, [{ domain: 'other.test' }]));
  app.get('/login', async (asked) => ({ has: (await credentialFor(asked, []))?.reveal() !== undefined }));
  app.get('/refused', async (asked) => {
    (await credentialFor(asked, images))?.reveal();
    throw new ServiceError('credentials-rejected', detail('credentials-refused', { host: 'a.io' }));
  });
  const waiting = Promise.withResolvers<void>();
  const left = Promise.withResolvers<void>();
  app.get('/waiting', async (asked, reply) => {
    (await credentialFor(asked, images))?.reveal();
    reply.raw.once('close', () => left.resolve());
    waiting.resolve();
    await left.promise;
    return reply.hijack();
  });
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  const settled = async (count: number): Promise<void> => {
    while (outcomes.length < count) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    ...{ url, admitted, outcomes, settled, waiting: waiting.promise, left: left.promise },
    [Symbol.asyncDispose]: () => app.close(),
  };
}

suite('credentials of requests', () => {
  for (const [path, outcome] of [
    ['/used', 'accepted'],
    ['/unused', 'unknown'],
    ['/refused', 'refused'],
  ] as const) {
    test(`are ${outcome} after ${path}`, async () => {
      await using server = await startServer();
      await httpCall(`${server.url}${path}`, { headers });
      await server.settled(1);
      assert.equal(server.outcomes[0], outcome);
    });
  }

  test('are not accepted if the client leaves before the registry decides', async () => {
    await using server = await startServer();
    const sent = request(`${server.url}/waiting`, { headers, agent: false }).on('error', () => {});
    sent.end();
    await server.waiting;
    sent.destroy();
    await server.left;
    assert.deepEqual(server.outcomes, []);
  });

  test('do not count toward their registry if the image is from another one', async () => {
    await using server = await startServer();
    for (const path of ['/elsewhere', '/used', '/login'])
      assert.equal((await httpCall(`${server.url}${path}`, { headers })).status, 200);
    assert.deepEqual(server.admitted, ['registry.test', 'registry.test']);
  });

  test('are refused if a header shows that a proxy forwards them over plain HTTP', async () => {
    await using server = await startServer();
    const proxied = [{ 'x-forwarded-proto': 'http' }, { 'x-real-ip': '198.51.100.7' }, { via: '1.1 proxy' }];
    for (const more of proxied) {
      const { status } = await httpCall(`${server.url}/used`, { headers: { ...headers, ...more } });
      assert.equal(status, 403, JSON.stringify(more));
    }
  });
});

suite('the brake on refused credentials', () => {
  const create = (store: CountingStore, now = () => 0): LoginBrake =>
    createLoginBrake(store, createMemoryCaches(now), now);
  /** One of ten clients. */
  const client = (at: number): string => `192.0.2.${at % 10}`;

  test('leaves credentials to other clients when one client has guessed', async () => {
    const brake = create(createMemoryCountingStore(() => 0));
    const guess = (at: number) => brake.admit('registry.test', '192.0.2.7', `guess ${at}`);
    const guesses = await Promise.allSettled(Array.from({ length: 300 }, (_, at) => guess(at)));
    const admitted = guesses.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    assert.equal(admitted.length, 25);
    await brake.admit('registry.test', '192.0.2.8', 'alice');
    await brake.admit('other.test', '192.0.2.7', 'one more');
    await assert.rejects(guess(300), { code: 'too-many-failed-logins' });
    for (const report of admitted) report('unknown');
    await guess(301);
  });

  test('leaves the first tries to each other client after four have guessed', async () => {
    const brake = create(createMemoryCountingStore(() => 0));
    for (let guesses = 0; guesses < 100; guesses += 1)
      (await brake.admit('registry.test', `192.0.2.${guesses % 4}`, `guess ${guesses}`))('refused');
    const tries = (name: string) =>
      Promise.allSettled([1, 2, 3, 4].map((at) => brake.admit('registry.test', name, `${name} ${at}`)));
    const passed = async (name: string): Promise<number> =>
      (await tries(name)).filter(({ status }) => status === 'fulfilled').length;
    assert.equal(await passed('192.0.2.0'), 0);
    for (let others = 0; others < 33; others += 1) assert.equal(await passed(`198.51.100.${others}`), 3);
    assert.equal(await passed('198.51.100.33'), 1);
    assert.equal(await passed('198.51.100.34'), 0);
  });

  test('does not count those that the registry accepted while they are in use', async () => {
    const brake = create(createMemoryCountingStore(() => 0));
    (await brake.admit('registry.test', client(1), 'alice'))('accepted');
    for (let downloads = 0; downloads < 200; downloads += 1)
      await brake.admit('registry.test', client(1), 'alice');
    (await brake.admit('registry.test', client(2), 'bob'))('accepted');
    for (let guesses = 0; guesses < 100; guesses += 1)
      (await brake.admit('registry.test', client(guesses), `guess ${guesses}`))('refused');
    await assert.rejects(brake.admit('registry.test', client(1), 'one more'), {
      code: 'too-many-failed-logins',
    });
    await brake.admit('registry.test', client(1), 'alice');
    await brake.admit('other.test', client(1), 'one more');
  });

  test('counts those of all processes together, also while their outcome is open', async () => {
    const store = createMemoryCountingStore(() => 0);
    const workers = Array.from({ length: 10 }, () => create(store));
    const tries = await Promise.allSettled(
      workers.flatMap((brake) =>
        Array.from({ length: 30 }, (_, at) => brake.admit('registry.test', client(at), `guess ${at}`)),
      ),
    );
    assert.equal(tries.filter(({ status }) => status === 'fulfilled').length, 100);
  });

  test('takes back what a registry did not refuse, but only in the same window', async () => {
    let now = 0;
    const brake = create(
      createMemoryCountingStore(() => now),
      () => now,
    );
    const early = await Promise.all(
      Array.from({ length: 50 }, (_, at) => brake.admit('registry.test', client(at), `early ${at}`)),
    );
    const [first, ...others] = early;
    first?.('unknown');
    for (let guesses = 0; guesses < 51; guesses += 1)
      (await brake.admit('registry.test', client(guesses), `guess ${guesses}`))('refused');
    await assert.rejects(brake.admit('registry.test', client(1), 'one more'));
    now += 600_000;
    for (let guesses = 0; guesses < 100; guesses += 1)
      (await brake.admit('registry.test', client(guesses), `late ${guesses}`))('refused');
    for (const report of others) report('unknown');
    await assert.rejects(brake.admit('registry.test', client(1), 'one more'));
  });
});
