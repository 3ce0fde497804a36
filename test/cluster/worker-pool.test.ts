import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { setImmediate as settle } from 'node:timers/promises';
import { pino } from 'pino';
import type { ToPrimary, ToWorker } from '../../src/cluster/messages.ts';
import type { WorkerProcess } from '../../src/cluster/peers.ts';
import { createWorkerPool, StartError } from '../../src/cluster/worker-pool.ts';

const LINES = ['listening'];
/** Milliseconds between two polls of a worker. */
const LOOK_MS = 5_000;

/** A worker that does what a real one would not do on demand. */
interface FakeWorker {
  readonly told: ToWorker['type'][];
  say(message: ToPrimary): void;
  end(code: number | null, signal?: string): void;
  /** Reports that it is prepared, and listens as soon as it may. */
  serve(): void;
}

/** A pool of such workers with a simulated clock. */
function startCrew({ mock }: TestContext, size = 2) {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  let now = 0;
  const workers: FakeWorker[] = [];
  const lost: string[] = [];
  let failures = 0;
  const fork = (): WorkerProcess => {
    if (failures > 0) {
      failures -= 1;
      throw new Error('no process');
    }
    let take: (message: ToPrimary) => void = () => {};
    let leave: (code: number | null, signal: string | null) => void = () => {};
    const told: ToWorker['type'][] = [];
    const worker: FakeWorker = {
      told,
      say: (message) => take(message),
      end: (code, signal) => leave(code, signal ?? null),
      serve() {
        take({ type: 'prepared' });
        take({ type: 'listening', url: 'http://a', lines: LINES });
      },
    };
    workers.push(worker);
    return {
      pid: workers.length,
      send: async (message) => void told.push(message.type),
      onMessage: (taking) => {
        take = taking;
      },
      onExit: (leaving) => {
        leave = leaving;
      },
      kill: () => worker.end(null, 'SIGKILL'),
    };
  };
  const pool = createWorkerPool({
    random: () => 1,
    ...{ size, fork, uptime: () => now, logger: pino({ level: 'silent' }) },
    part: () => ({
      type: 'prepare',
      part: { workers: size, settings: {}, sockets: {}, certificate: undefined },
    }),
    answer: async () => ({ type: 'standing', check: { isReady: true, details: {} } }),
    onLost: () => lost.push('lost'),
    onEnd() {},
  });
  const hanging = new Set<FakeWorker>();
  /** Lets time pass, while each responsive worker answers. */
  const pass = (milliseconds: number): void => {
    for (let left = milliseconds; left >= 0; left -= LOOK_MS) {
      const step = Math.min(left, LOOK_MS);
      now += step;
      mock.timers.tick(step);
      for (const worker of workers) {
        if (!hanging.has(worker)) worker.say({ type: 'measured', snapshot: [] });
      }
    }
  };
  const failNext = (count: number): void => {
    failures = count;
  };
  return { pool, workers, lost, pass, failNext, hang: (worker: FakeWorker) => hanging.add(worker) };
}

suite('workers as they begin', () => {
  test('the first one listens alone, and the others follow', async (t) => {
    const { pool, workers } = startCrew(t, 3);
    const started = pool.start();
    for (const worker of workers) worker.say({ type: 'prepared' });
    const invited = () => workers.map(({ told }) => told.includes('listen'));
    assert.deepEqual(invited(), [true, false, false]);
    for (const worker of workers) worker.say({ type: 'listening', url: 'http://a', lines: LINES });
    assert.deepEqual(invited(), [true, true, true]);
    assert.deepEqual((await started).lines, LINES);
    assert.equal(pool.serving(), 3);
  });

  test('if the first one cannot, that is why none will', async (t) => {
    const { pool, workers } = startCrew(t);
    const started = pool.start();
    workers[1]?.say({ type: 'failed', failure: { message: 'The port is taken' } });
    workers[1]?.end(1);
    await assert.rejects(started, (error: unknown) => {
      assert.ok(error instanceof StartError);
      assert.deepEqual([error.failure, error.exitCode], [{ message: 'The port is taken' }, 1]);
      return true;
    });
    assert.equal(workers.length, 2, 'nobody takes its place');
  });

  test('a first worker that cannot be started fails the start with that reason', async (t) => {
    const { pool, failNext } = startCrew(t);
    failNext(2);
    await assert.rejects(pool.start(), (error: unknown) => {
      assert.ok(error instanceof StartError);
      assert.deepEqual(error.failure, { message: 'no process' });
      return true;
    });
  });
});

suite('workers as they end', () => {
  test('a replacement that cannot be started is retried after growing pauses', async (t) => {
    const { pool, workers, lost, pass, failNext } = startCrew(t);
    pool.start();
    for (const worker of workers) worker.serve();
    pass(60_000);
    failNext(4);
    workers[0]?.end(null, 'SIGKILL');
    for (const pause of [0, 0, 500, 1000]) pass(pause);
    assert.equal(workers.length, 2);
    pass(2000);
    assert.equal(workers.length, 3);
    workers[2]?.serve();
    assert.equal(pool.serving(), 2);
    assert.deepEqual(lost, ['lost']);
  });

  test('one is replaced at once, and one that ends as soon as it begins later each time', async (t) => {
    const { pool, workers, lost, pass } = startCrew(t);
    pool.start();
    for (const worker of workers) worker.serve();
    pass(60_000);
    workers[0]?.end(null, 'SIGKILL');
    pass(0);
    assert.equal(workers.length, 3);
    workers[2]?.end(1);
    pass(0);
    assert.equal(workers.length, 4, 'once is no habit');
    const pauses = [500, 1000, 2000, 4000, 5000, 5000];
    for (const [at, pause] of pauses.entries()) {
      workers[3 + at]?.end(1);
      pass(pause - 1);
      assert.equal(workers.length, 4 + at);
      pass(1);
      assert.equal(workers.length, 5 + at);
    }
    assert.equal(lost.length, 2 + pauses.length);
    assert.equal(pool.serving(), 1);
  });

  test('an unresponsive one is killed and replaced, a responsive one is not', async (t) => {
    const { pool, workers, pass, hang } = startCrew(t);
    pool.start();
    for (const worker of workers) worker.serve();
    pass(60_000);
    for (const worker of workers.slice(0, 1)) hang(worker);
    pass(30_000);
    assert.equal(pool.serving(), 2);
    pass(LOOK_MS);
    assert.equal(pool.serving(), 1);
    assert.equal(workers.length, 3);
  });

  test('one that says so is replaced before it has ended, and once', async (t) => {
    const { pool, workers, lost, pass } = startCrew(t);
    pool.start();
    for (const worker of workers) worker.serve();
    workers[0]?.say({ type: 'stopping' });
    pass(0);
    assert.equal(workers.length, 3);
    workers[0]?.end(0);
    pass(0);
    assert.equal(workers.length, 3);
    assert.equal(lost.length, 1);
  });

  test('a request for metrics does not wait long for an unresponsive one', async (t) => {
    const { pool, workers, pass, hang } = startCrew(t);
    pool.start();
    for (const worker of workers) worker.serve();
    for (const worker of workers.slice(0, 1)) hang(worker);
    const measured = pool.measure();
    pass(1000);
    await measured;
  });

  test('a stop waits for all, kills who does not end in time, and tells', async (t) => {
    const { pool, workers, pass } = startCrew(t);
    pool.start();
    for (const worker of workers) worker.serve();
    const stopped = pool.stop(30_000);
    assert.ok(workers.every(({ told }) => told.includes('stop')));
    workers[0]?.end(0);
    pass(30_000);
    assert.equal(await stopped, false);
    assert.equal(workers.length, 2, 'nobody takes their places');
    await settle();
  });
});
