import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseReference } from '../../../src/oci/reference.ts';
import type { EngineFacts } from '../../../src/sources/engine/connection.ts';
import { createEngine, type Engine, type PullOrder } from '../../../src/sources/engine/engine.ts';
import { type FakeEngine, type FakeEngineOptions, startFakeEngine } from '../../support/fake-engine.ts';
import { waitFor } from '../../support/wait-for.ts';

const never = new AbortController().signal;
const OLD: FakeEngineOptions = { apiVersion: '1.41', store: 'overlay2' };
const NEW: FakeEngineOptions = { apiVersion: '1.51', minApiVersion: '1.44', store: 'containerd' };

interface Client {
  engine: Engine;
  /** The engines that were reported as connected. */
  told: EngineFacts[];
  /** Lets a number of milliseconds pass. */
  pass(time: number): void;
}

function clientOf({ dockerHost: url, socketPath }: FakeEngine, registryPatience?: number): Client {
  let now = 0;
  const told: EngineFacts[] = [];
  const engine = createEngine({
    find: () => ({ kind: 'unix', url, socketPath }),
    onConnected: (facts) => told.push(facts),
    now: () => now,
    ...(registryPatience !== undefined && { registryPatience }),
  });
  return { engine, told, pass: (time) => (now += time) };
}

suite('a connection to an engine', () => {
  for (const [way, first, then] of [
    ['newer', OLD, NEW],
    ['older', NEW, OLD],
  ] as const) {
    test(`an engine that became ${way} is asked again what it speaks`, async () => {
      await using fake = await startFakeEngine(first);
      const { engine, told } = clientOf(fake);
      fake.publish('127.0.0.1:1/a:latest', ['linux/amd64']);
      const reference = parseReference('127.0.0.1:1/a');
      const calls: ((engine: Engine) => Promise<unknown>)[] = [
        (one) => one.ping(never),
        (one) => one.images(never),
        (one) => one.inspect('127.0.0.1:1/none', undefined, never),
        (one) => one.tags(reference, never),
        (one) => one.remove('127.0.0.1:1/none', never),
        async (one) => {
          const order = { reference, platform: undefined, credentials: undefined, onProgress: () => {} };
          await one.pull(order, never);
        },
        async (one) => (await one.save(['127.0.0.1:1/a:latest'], undefined, never)).destroy(),
      ];
      for (const [at, call] of calls.entries()) {
        fake.become(at % 2 === 0 ? first : then);
        await call(engine);
        fake.become(at % 2 === 0 ? then : first);
        await call(engine);
      }
      assert.deepEqual(
        told.slice(0, 2).map(({ apiVersion }) => apiVersion),
        [first, then].map(({ apiVersion }) => apiVersion),
      );
    });
  }

  test('one that speaks no version of ours is an error, not a loop', async () => {
    await using fake = await startFakeEngine(OLD);
    const { engine } = clientOf(fake);
    await engine.ping(never);
    fake.become({ apiVersion: '1.90', minApiVersion: '1.80', store: 'containerd' });
    const from = fake.requests.length;
    await assert.rejects(engine.images(never), { code: 'engine-failed' });
    assert.ok(fake.requests.length - from < 6, fake.requests.join('\n'));
  });

  test('another one that takes its place in silence is noticed within a minute', async () => {
    await using fake = await startFakeEngine(OLD);
    const { engine, told, pass } = clientOf(fake);
    assert.equal((await engine.describe(never)).store, 'overlay2');
    fake.become({ ...OLD, store: 'containerd' });
    pass(30_000);
    assert.equal((await engine.describe(never)).store, 'overlay2');
    pass(30_000);
    assert.equal((await engine.describe(never)).store, 'overlayfs of containerd');
    pass(60_000);
    await engine.describe(never);
    assert.deepEqual(
      told.map(({ store }) => store),
      ['overlay2', 'overlayfs of containerd'],
      'the same one is told of once',
    );
  });

  test('an aborted request leaves a silent engine at once, and others wait on', async () => {
    await using fake = await startFakeEngine(OLD);
    const { engine } = clientOf(fake);
    const { promise: answered, resolve: answer } = Promise.withResolvers<void>();
    fake.hang(answered);
    const patient = engine.ping(never);
    const impatience = new AbortController();
    const impatient = engine.ping(impatience.signal);
    impatience.abort(new Error('enough'));
    await assert.rejects(impatient, /enough/);
    answer();
    await patient;
  });
});

suite('a pull and a save', () => {
  const reference = parseReference('127.0.0.1:1/a');
  const order = { reference, platform: undefined, credentials: undefined, onProgress: () => {} };
  const { promise: forever } = Promise.withResolvers<void>();
  const downloading = { id: 'a', status: 'Downloading', progressDetail: { current: 1, total: 9 } };

  for (const [what, lines] of [
    ['says nothing', []],
    ['falls silent in the middle of a layer', [downloading]],
  ] as const) {
    test(`if a registry ${what}, the pull is given up`, async () => {
      await using fake = await startFakeEngine(OLD);
      const { engine } = clientOf(fake, 50);
      fake.report([...lines], forever);
      await assert.rejects(engine.pull(order, never), { code: 'registry-timeout', status: 504 });
      await waitFor(() => fake.answering() === 0, { what: 'the engine to hear of it' });
    });
  }

  test('a pause while a layer is unpacked is not a timeout', async ({ mock }) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    await using fake = await startFakeEngine(OLD);
    fake.publish('127.0.0.1:1/a:latest', ['linux/amd64']);
    const { engine } = clientOf(fake, 1000);
    const { promise: longer, resolve } = Promise.withResolvers<void>();
    const { promise: unpacking, resolve: unpack } = Promise.withResolvers<void>();
    const extracting = { id: 'b', status: 'Extracting', progressDetail: { current: 1, total: 9 } };
    fake.report([downloading, extracting], longer);
    const onProgress: PullOrder['onProgress'] = ({ isFetching }) => isFetching || unpack();
    const pulled = engine.pull({ ...order, onProgress }, never);
    await unpacking;
    mock.timers.tick(60_000);
    resolve();
    await pulled;
  });

  test('a saved archive that is never read leaves nothing open', async () => {
    await using fake = await startFakeEngine(OLD);
    fake.publish('127.0.0.1:1/a:latest', ['linux/amd64']);
    const { engine } = clientOf(fake);
    await engine.pull(order, never);
    const saved = await engine.save(['127.0.0.1:1/a:latest'], undefined, never);
    assert.equal(fake.answering(), 1);
    saved.destroy();
    await waitFor(() => fake.answering() === 0, { what: 'the response to be closed' });
  });
});
