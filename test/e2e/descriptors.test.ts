import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { suite, test } from 'node:test';
import { untilReplaced, workersOf } from '../cluster/processes.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { waitFor } from '../support/wait-for.ts';

const LIMIT = 96;
/** More connections than the kernel keeps for Node.js by default: 512. */
const BURST = 700;

suite('a process with few descriptors', { skip: skipUnless('prlimit'), timeout: 600_000 }, () => {
  test('raises its soft limit to the hard limit, and warns if both are too low', async () => {
    await using proxy = await startDockerProxy({ via: ['prlimit', `--nofile=32:${LIMIT}`] });
    assert.match(readFileSync(`/proc/${proxy.pid}/limits`, 'utf8'), /^Max open files +96 +96 /m);
    const warnings = proxy.logs().filter(({ msg }) => /LimitNOFILE/.test(msg));
    assert.deepEqual(
      warnings.map(({ level, msg }) => [level, /accepts only \d+ connections/.test(msg)]),
      [[40, true]],
    );
  });

  test('keeps descriptors for its own work while clients open connections without end', async () => {
    await using proxy = await startDockerProxy({ via: ['prlimit', `--nofile=${LIMIT}:${LIMIT}`] });
    using crowd = crowdOf(proxy, 3 * LIMIT);
    await waitFor(() => crowd.refused() > 0 && crowd.refused() + crowd.held() === 3 * LIMIT, {
      what: 'the service to accept or refuse each connection',
    });
    assert.ok(openDescriptors(proxy) < LIMIT - 20, `${openDescriptors(proxy)} descriptors are open`);
    crowd[Symbol.dispose]();
    await waitFor(() => answers(proxy), { what: 'the service to answer again' });
    assert.equal(await proxy.stop(), 0);
  });

  test('keeps threads free for files while many lookups wait', async () => {
    await using proxy = await startDockerProxy();
    assert.ok(await answers(proxy));
    const threads = readdirSync(`/proc/${proxy.pid}/task`).map((task) =>
      readFileSync(`/proc/${proxy.pid}/task/${task}/comm`, 'utf8').trim(),
    );
    assert.equal(threads.filter((name) => name === 'libuv-worker').length, 8);
  });

  test('answers open connections while no descriptor is free', async () => {
    await using proxy = await startDockerProxy();
    const idle = openDescriptors(proxy);
    using crowd = crowdOf(proxy, 10);
    await waitFor(() => openDescriptors(proxy) >= idle + 10, { what: 'the connections to be accepted' });
    await runOrThrow('prlimit', ['--pid', `${proxy.pid}`, `--nofile=${idle}:`]);
    // All timers of the process run within seconds of its clock.
    const begun = await crowd.dateOf('/healthz');
    await waitFor(async () => (await crowd.dateOf('/healthz')) - begun >= 3_000, {
      what: 'the clock of the service to advance',
    });
    await runOrThrow('prlimit', ['--pid', `${proxy.pid}`, '--nofile=1024:']);
    crowd[Symbol.dispose]();
    await waitFor(() => answers(proxy), { what: 'the service to accept connections again' });
    assert.equal(await proxy.stop(), 0);
  });
});

suite('several processes with few descriptors', { skip: skipUnless('prlimit'), timeout: 600_000 }, () => {
  test('continue while a worker cannot be replaced, and replace it later', async () => {
    await using proxy = await startDockerProxy({ env: { DOCKERPROXY_WORKERS: '2' } });
    const [victim = 0, other = 0] = workersOf(proxy);
    const limit = openDescriptors(proxy) - 8;
    for (const pid of [proxy.pid, other]) {
      await runOrThrow('prlimit', ['--pid', `${pid}`, `--nofile=${limit}:`]);
    }
    process.kill(victim, 'SIGKILL');
    const failures = () => proxy.logs().filter(({ msg }) => /^Cannot start a worker; trying again/.test(msg));
    await waitFor(() => failures().length > 3, { what: 'further tries' });
    assert.ok(failures().length < 10, 'with pauses');
    assert.deepEqual(workersOf(proxy), [other]);
    for (const pid of [proxy.pid, other]) {
      await runOrThrow('prlimit', ['--pid', `${pid}`, '--nofile=1024:']);
    }
    await untilReplaced(proxy);
    assert.ok(await answers(proxy));
    assert.equal(await proxy.stop(), 0);
  });

  test('collect metrics without a free descriptor', async () => {
    await using proxy = await startDockerProxy({
      env: { DOCKERPROXY_WORKERS: '2', DOCKERPROXY_METRICS_PORT: '0' },
    });
    const workers = workersOf(proxy);
    for (const pid of workers) {
      await runOrThrow('prlimit', ['--pid', `${pid}`, `--nofile=${openDescriptors({ pid }) - 8}:`]);
    }
    const url = proxy.logs().flatMap(({ msg }) => /^Metrics are at (\S+)$/.exec(msg)?.[1] ?? [])[0] ?? '';
    const { status, body } = await httpCall(url);
    assert.equal(status, 200);
    assert.match(String(body), /^dockerproxy_workers 2$/m);
    assert.deepEqual(workersOf(proxy), workers);
  });
});

suite('a burst of connections', { skip: skipWithSmallBacklog(), timeout: 600_000 }, () => {
  test('waits for a process that is busy, and no connection is lost', async () => {
    await using proxy = await startDockerProxy();
    process.kill(proxy.pid, 'SIGSTOP');
    using crowd = crowdOf(proxy, BURST);
    await waitFor(() => crowd.held() === BURST, { what: 'the kernel to keep each connection' });
    process.kill(proxy.pid, 'SIGCONT');
    assert.ok(Number.isFinite(await crowd.dateOf('/healthz')));
    assert.equal(crowd.refused(), 0);
  });
});

function skipWithSmallBacklog(): string | false {
  const most = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
  return most < BURST && `net.core.somaxconn is ${most}, and this test needs ${BURST}`;
}

interface Crowd extends Disposable {
  held(): number;
  refused(): number;
  /** Requests a path over the first connection, and returns the Date of the response in milliseconds. */
  dateOf(path: string): Promise<number>;
}

/** Opens connections that stay open and send nothing. */
function crowdOf({ url }: DockerProxy, count: number): Crowd {
  const { hostname, port } = new URL(url);
  let refused = 0;
  const sockets = Array.from({ length: count }, () => {
    const socket = connect(Number(port), hostname).setEncoding('latin1');
    return socket.on('error', () => {}).on('close', () => (refused += 1));
  });
  const [first] = sockets;
  assert.ok(first);
  const closed = new AbortController();
  first.once('close', () => closed.abort());
  return {
    held: () => sockets.filter(({ readyState }) => readyState === 'open').length,
    refused: () => refused,
    async dateOf(path) {
      first.write(`GET ${path} HTTP/1.1\r\nhost: dl.example\r\n\r\n`);
      const [answer] = (await once(first, 'data', { signal: closed.signal })) as [string];
      return Date.parse(/^date: (.*)\r$/im.exec(answer)?.[1] ?? '');
    },
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function openDescriptors({ pid }: Pick<DockerProxy, 'pid'>): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

async function answers({ url }: DockerProxy): Promise<boolean> {
  return httpCall(`${url}/healthz`).then(
    ({ status }) => status === 200,
    () => false,
  );
}
