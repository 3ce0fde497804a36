import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type CacheBed, isRight, type PublishedImage, startCacheBed } from '../e2e/cache-bed.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import type { OngoingDownload } from '../support/download.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { run } from '../support/process.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import { isRunning, replace, workersOf } from './processes.ts';

/** More bytes than the sockets can buffer when the server is killed. */
const SIZE = 12_000_000;
/** The number of clients, large enough that each worker has some. */
const CLIENTS = 12;
const WORKERS = { DOCKERPROXY_WORKERS: '2' };

async function accepts(url: string): Promise<boolean> {
  return httpCall(`${url}/healthz`).then(
    () => true,
    () => false,
  );
}

/** The end of a download: its bytes are right, or it is broken. */
async function outcome({ done }: OngoingDownload, image: PublishedImage): Promise<'right' | 'broken'> {
  const whole = await done.catch(() => undefined);
  if (whole === undefined) return 'broken';
  isRight(whole, image);
  return 'right';
}

suite('several processes, as they come and go', {
  skip: skipUnless('docker-registry', 'wget'),
  timeout: 600_000,
  concurrency: 3,
}, () => {
  let bed: CacheBed;
  let image: PublishedImage;

  before(async () => {
    bed = await startCacheBed();
    image = await bed.publish('test/large', [SIZE]);
  });
  after(() => bed[Symbol.asyncDispose]());

  const start = async (settings: NodeJS.ProcessEnv = {}): Promise<DockerProxy> =>
    bed.start(await bed.newFolder(), { ...WORKERS, ...settings });
  /** Downloads that pause halfway, distributed over two workers. */
  const begin = async (proxy: DockerProxy, clients = 6): Promise<OngoingDownload[]> => {
    const downloads = Array.from({ length: clients }, () => bed.begin(proxy, image, 1));
    await waitFor(() => downloads.every((one) => one.received() > 0), { what: 'all downloads' });
    return downloads;
  };
  const resume = (downloads: readonly OngoingDownload[]): Promise<('right' | 'broken')[]> => {
    for (const one of downloads) one.resume();
    return Promise.all(downloads.map((one) => outcome(one, image)));
  };

  suite('replacing workers', { concurrency: 1 }, () => {
    let folder: TemporaryFolder;
    let denied: string;
    let proxy: DockerProxy;

    before(async () => {
      folder = await temporaryFolder();
      denied = join(folder.path, 'deny-clients');
      await writeFile(denied, '');
      proxy = await start({ DOCKERPROXY_METRICS_PORT: '0', DOCKERPROXY_DENY_CLIENTS_FILE: denied });
    });
    after(async () => {
      await proxy[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    });

    test('killing a worker interrupts only its own downloads, which wget -c finishes', async () => {
      await using folder = await temporaryFolder();
      const files = Array.from({ length: CLIENTS }, (_, at) => join(folder.path, `${at}.tar`));
      const wget = (file: string, ...more: string[]) =>
        run('wget', ['-q', '--tries=1', ...more, '-O', file, bed.url(proxy, image)]);
      const slow = files.map((file) => wget(file, '--limit-rate=12m'));
      const begun = () => proxy.logs().filter(({ msg }) => /^Downloading image: /.test(msg));
      await waitFor(() => begun().length === CLIENTS);
      const [victim] = begun().map(({ pid }) => Number(pid));
      assert.ok(victim !== undefined);
      const lost = begun().filter(({ pid }) => pid === victim).length;
      assert.ok(lost > 0 && lost < CLIENTS, `${lost} of ${CLIENTS}`);
      await replace(proxy, victim, 'SIGKILL');
      const codes = (await Promise.all(slow)).map(({ code }) => code);
      assert.equal(codes.filter((code) => code !== 0).length, lost);
      assert.equal(workersOf(proxy).length, 2);

      for (const [at, file] of files.entries()) {
        if (codes[at] !== 0) assert.equal((await wget(file, '-c')).code, 0);
        assert.equal(hash('sha256', await readFile(file)), image.expected.sha256);
      }
    });

    test('metrics add up all workers, and do not decrease when one is killed', async () => {
      const url = proxy.logs().flatMap(({ msg }) => /^Metrics are at (\S+)$/.exec(msg)?.[1] ?? [])[0] ?? '';
      const metric = async (series: string): Promise<number> => {
        const lines = (await httpCall(url)).body.toString().split('\n');
        return Number(lines.find((line) => line.startsWith(`${series} `))?.slice(series.length));
      };
      const lost = await metric('dockerproxy_workers_lost_total');
      const requests = 'dockerproxy_http_requests_total{route="/healthz",method="GET",status="200"}';
      const ask = (times: number) =>
        Promise.all(Array.from({ length: times }, () => httpCall(`${proxy.url}/healthz`)));
      const counted = (times: number) =>
        waitFor(async () => (await metric(requests)) === times, { what: `${times} requests` });
      await ask(40);
      await counted(40);
      const [victim = 0] = workersOf(proxy);
      await replace(proxy, victim, 'SIGKILL');
      assert.equal(await metric(requests), 40);
      assert.equal(await metric('dockerproxy_workers'), 2);
      assert.equal(await metric('dockerproxy_workers_lost_total'), lost + 1);
      await ask(10);
      await counted(50);
    });

    test('a worker that receives SIGTERM finishes its downloads while another one replaces it', async () => {
      const downloads = await begin(proxy);
      const leaving = Number(proxy.logs().findLast(({ msg }) => /^Downloading image: /.test(msg))?.pid);
      await replace(proxy, leaving, 'SIGTERM');
      assert.ok(isRunning(leaving));
      const answers = Array.from({ length: 20 }, () => httpCall(`${proxy.url}/healthz`));
      assert.deepEqual(new Set((await Promise.all(answers)).map(({ status }) => status)), new Set([200]));
      assert.deepEqual(new Set(await resume(downloads)), new Set(['right']));
      await waitFor(() => !isRunning(leaving), { what: 'its end' });
      assert.equal(workersOf(proxy).length, 2);
    });

    test('no request is lost while workers come and go', async () => {
      let isOver = false;
      const statuses: number[] = [];
      const clients = Array.from({ length: 8 }, async () => {
        while (!isOver) statuses.push((await httpCall(`${proxy.url}/healthz`)).status);
      });
      for (const pid of workersOf(proxy)) await replace(proxy, pid, 'SIGTERM');
      isOver = true;
      await Promise.all(clients);
      assert.deepEqual(new Set(statuses), new Set([200]));
    });

    test('SIGHUP reaches all workers, and is logged once', async () => {
      const answers = async () => {
        const all = await Promise.all(Array.from({ length: 6 }, () => httpCall(`${proxy.url}/dl`)));
        return [...new Set(all.map(({ status }) => status))];
      };
      const told = (line: string) => proxy.logs().filter(({ msg }) => msg.includes(line)).length;
      assert.deepEqual(await answers(), [400]);
      await writeFile(denied, '127.0.0.1\n');
      process.kill(proxy.pid, 'SIGHUP');
      await waitFor(async () => (await answers()).join() === '403', { what: 'the new list in all workers' });
      assert.equal(told('Reloaded the settings'), 1);
      await writeFile(denied, 'nonsense\n');
      process.kill(proxy.pid, 'SIGHUP');
      await waitFor(() => told('stay as they were') === 1);
      assert.deepEqual(await answers(), [403]);
      await writeFile(denied, '');
      process.kill(proxy.pid, 'SIGHUP');
      await waitFor(async () => (await answers()).join() === '400', {
        what: 'the empty list in all workers',
      });
    });

    test('on SIGTERM, all workers accept no more connections, finish their downloads, and end', async () => {
      const workers = workersOf(proxy);
      const downloads = await begin(proxy);
      const ended = proxy.stop();
      await waitFor(async () => !(await accepts(proxy.url)), { what: 'no more connections' });
      assert.deepEqual(new Set(await resume(downloads)), new Set(['right']));
      assert.equal(await ended, 0);
      assert.deepEqual(workers.filter(isRunning), []);
    });
  });

  for (const workers of [1, 2]) {
    test(`downloads that exceed the drain time are aborted and logged; workers: ${workers}`, async () => {
      const folder = await bed.newFolder();
      await using proxy = await start({
        DOCKERPROXY_WORKERS: `${workers}`,
        DOCKERPROXY_DRAIN: '500ms',
        DOCKERPROXY_STATE_DIR: folder,
        DOCKERPROXY_RATE_LIMIT: '1000/second',
      });
      const downloads = await begin(proxy, 4 * workers);
      assert.equal(await proxy.stop(), 0);
      assert.deepEqual(new Set(await resume(downloads)), new Set(['broken']));
      const told = proxy.logs().filter(({ msg }) => /^Aborting the downloads that exceed /.test(msg));
      assert.ok(told.length > 0 && told.length <= workers);
      assert.equal(
        told.reduce((sum, { count }) => sum + Number(count), 0),
        downloads.length,
      );
      const failed = proxy.logs().filter(({ msg }) => /^\[FAILED\] .*: the service stops$/.test(msg));
      assert.equal(failed.length, downloads.length);
      // SQLite deletes its log when the last process closes the database: nothing was skipped.
      // Two processes that close it at the same moment can each leave that to the other, and the log stays.
      if (workers === 1) assert.deepEqual(await readdir(folder), ['limits.sqlite']);
      assert.deepEqual(
        proxy.logs().filter(({ level }) => level >= 50),
        [],
      );
    });
  }

  const primaryFirst = (proxy: DockerProxy) => [proxy.pid, ...workersOf(proxy)];
  const workersFirst = (proxy: DockerProxy) => [...workersOf(proxy), proxy.pid];
  for (const { who, signal, order } of [
    {
      who: 'Ctrl-C, which a terminal sends to all of them, and npm again',
      signal: 'SIGINT',
      order: (proxy: DockerProxy) => [...workersFirst(proxy), proxy.pid],
    },
    {
      who: 'SIGTERM to the process group, which workers notice first',
      signal: 'SIGTERM',
      order: workersFirst,
    },
    {
      who: 'SIGTERM to the process group, twice at once',
      signal: 'SIGTERM',
      order: (proxy: DockerProxy) => [...primaryFirst(proxy), ...primaryFirst(proxy)],
    },
  ] as const) {
    test(`${who} is one stop`, async () => {
      await using proxy = await start();
      const downloads = await begin(proxy);
      for (const pid of order(proxy)) process.kill(pid, signal);
      await waitFor(async () => !(await accepts(proxy.url)), { what: 'no more connections' });
      assert.deepEqual(new Set(await resume(downloads)), new Set(['right']));
      assert.equal((await proxy.exited).code, 0);
      assert.deepEqual(
        proxy.logs().filter(({ level }) => level >= 50),
        [],
      );
    });
  }

  test('a second, later SIGTERM ends all processes immediately', async () => {
    await using proxy = await start();
    const workers = workersOf(proxy);
    const downloads = await begin(proxy);
    process.kill(proxy.pid, 'SIGTERM');
    await waitFor(async () => !(await accepts(proxy.url)), { what: 'no more connections' });
    await waitFor(
      () => {
        if (isRunning(proxy.pid)) process.kill(proxy.pid, 'SIGTERM');
        return !isRunning(proxy.pid) && !workers.some(isRunning);
      },
      { what: 'the end of all' },
    );
    assert.equal((await proxy.exited).code, 1);
    assert.deepEqual(new Set(await resume(downloads)), new Set(['broken']));
  });

  test('without their primary, workers finish what they have begun, and none stays', async () => {
    await using proxy = await start();
    const workers = workersOf(proxy);
    const downloads = await begin(proxy);
    process.kill(proxy.pid, 'SIGKILL');
    await waitFor(async () => !(await accepts(proxy.url)), { what: 'no more connections' });
    assert.deepEqual(new Set(await resume(downloads)), new Set(['right']));
    await waitFor(() => !workers.some(isRunning), { what: 'the end of all' });
  });
});

suite('several processes that cannot start', { timeout: 600_000 }, () => {
  const failing = async (settings: NodeJS.ProcessEnv): Promise<string> => {
    const error = await startDockerProxy({ env: { ...WORKERS, ...settings } }).then(
      async (proxy) => {
        await proxy.stop();
        return undefined;
      },
      (failure: Error) => failure,
    );
    return error?.message ?? 'it has started';
  };

  test('a port in use is reported once, with advice', async () => {
    const taken = createServer();
    await once(taken.listen(0, '127.0.0.1'), 'listening');
    const address = taken.address();
    assert.ok(address !== null && typeof address === 'object');
    const output = await failing({ DOCKERPROXY_PORT: `${address.port}` });
    taken.close();
    assert.match(output, /it ended with 1\n/);
    assert.equal(output.match(/is already in use; choose another one with --port/g)?.length, 1, output);
  });

  test('a mistake in a file of the settings is reported once, with 78', async () => {
    await using folder = await temporaryFolder();
    const list = join(folder.path, 'allow');
    await writeFile(list, 'a b/**\n');
    const output = await failing({ DOCKERPROXY_ALLOW_FILE: list });
    assert.match(output, /it ended with 78\n/);
    assert.equal(output.match(/DockerProxy cannot start:/g)?.length, 1, output);
  });
});
