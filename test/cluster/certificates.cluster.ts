import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { type AcmeBed, certificateOf, shownBy, startAcmeBed, untilIssued } from '../e2e/acme-bed.ts';
import type { DockerProxy } from '../support/dockerproxy.ts';
import { skipUnless } from '../support/packages.ts';
import { startRedis } from '../support/redis.ts';
import { reservePort } from '../support/reserve-port.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const REPLICAS = 3;
/** The number of connections, large enough that each worker has some. */
const CONNECTIONS = 8;

/** Listens on port 80 of the domain, and passes each connection to the next service in turn. */
async function startBalancer(port: number) {
  /** The order starts before all replicas have started. */
  const ports = Promise.withResolvers<readonly number[]>();
  const served = new Set<number>();
  let connections = 0;
  const server = createServer(async (client) => {
    const all = await ports.promise;
    const target = all[connections++ % all.length] ?? 0;
    served.add(target);
    const upstream = connect(target, '127.0.0.1');
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.once('error', () => to.destroy()).pipe(to);
    }
  });
  await once(server.listen(port, '127.0.0.1'), 'listening');
  return {
    lead: ports.resolve,
    served,
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Logged after it listens for HTTPS, for which the start waits. */
async function httpPortOf(replica: DockerProxy): Promise<number> {
  const line = () => replica.logs().find(({ msg }) => msg.endsWith(' redirects to HTTPS'));
  const { msg } = await waitFor(line, { what: 'the port of HTTP' });
  return Number(new URL(msg.split(' ')[0] ?? '').port);
}

/** Returns the fingerprints of the certificates that all workers of all replicas serve. */
async function allShown(replicas: readonly DockerProxy[]): Promise<string[]> {
  const connections = replicas.flatMap((replica) =>
    Array.from({ length: CONNECTIONS }, () => shownBy(replica)),
  );
  return [...new Set((await Promise.all(connections)).map(({ fingerprint256 }) => fingerprint256))];
}

function told(replicas: readonly DockerProxy[], line: string): number {
  return replicas.flatMap((replica) => replica.logs()).filter(({ msg }) => msg.startsWith(line)).length;
}

suite('the certificate of three replicas', {
  skip: skipUnless('pebble', 'redis-server'),
  timeout: 400_000,
}, () => {
  test('is ordered by one replica and served by all, also by a later one; any replica answers the challenge', async () => {
    await using folder = await temporaryFolder();
    const key = join(folder.path, 'key');
    await writeFile(key, 'a secret that has more than 32 characters');
    const port = await reservePort();
    await using redis = await startRedis();
    await using bed: AcmeBed = await startAcmeBed({ httpPort: port });
    await using balancer = await startBalancer(port);
    await using stack = new AsyncDisposableStack();
    const start = async (name: string): Promise<DockerProxy> =>
      stack.use(
        await bed.start({
          DOCKERPROXY_PORT: '0',
          DOCKERPROXY_WORKERS: '2',
          DOCKERPROXY_STATE_DIR: join(folder.path, name),
          DOCKERPROXY_REDIS_URL: redis.url,
          DOCKERPROXY_REDIS_KEY_FILE: key,
        }),
      );
    const replicas = await Promise.all(Array.from({ length: REPLICAS }, (_, at) => start(`${at}`)));
    balancer.lead(await Promise.all(replicas.map(httpPortOf)));
    const [one] = replicas;
    assert.ok(one);
    const allAreValid = async (): Promise<boolean> => {
      const reports = await Promise.all(replicas.map(certificateOf));
      return reports.every(({ state }) => state === 'valid');
    };
    await untilIssued(one, allAreValid);
    await waitFor(async () => (await allShown(replicas)).length === 1, { what: 'one certificate' });
    assert.equal(told(replicas, 'New certificate: '), 1, 'one has ordered it');
    assert.equal(told(replicas, 'New certificate, ordered by another replica: '), REPLICAS - 1);
    assert.equal(bed.pebble.issued(), 1);
    assert.ok(balancer.served.size > 1, 'who has ordered it is not the only one that was asked');

    const [first = ''] = await allShown(replicas);
    const [name = ''] = (await redis.cli('--scan', '--pattern', '*:tls:certificates:*')).split('\n');
    await redis.cli('del', name);
    process.kill(one.pid, 'SIGHUP');
    await untilIssued(one, async () => {
      const shown = await allShown(replicas);
      return shown.length === 1 && !shown.includes(first);
    });
    assert.equal(bed.pebble.issued(), 2);

    await redis.cli('flushall');
    await redis.stop();
    await redis.start();
    await waitFor(async () => (await redis.cli('--scan', '--pattern', '*:tls:certificates:*')) !== '', {
      what: 'a replica to tell a Redis that has forgotten',
      timeout: 20_000,
    });
    replicas.push(await start('later'));
    assert.equal((await allShown(replicas)).length, 1);
    assert.equal(bed.pebble.issued(), 2);
  });
});
