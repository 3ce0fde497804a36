import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { redisUrl } from '../../src/config/redis-url.ts';
import { connectRedis } from '../../src/redis/connect.ts';
import { LIMITS_PREFIX, type Redis, type RedisAddress } from '../../src/redis/redis.ts';
import { redisScript } from '../../src/redis/script.ts';
import { makeCertificates } from '../support/certificates.ts';
import { skipUnless } from '../support/packages.ts';
import { startRedis, startRedisCluster, startRedisSentinel } from '../support/redis.ts';
import { reservePort } from '../support/reserve-port.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const ECHO = redisScript('return {KEYS[1], ARGV[1]}');

type Access = Pick<RedisAddress, 'username' | 'password' | 'sentinelLogin' | 'tls'>;

/** A connection, and the events that it reported. */
async function connect(
  url: string,
  access: Partial<Access> = {},
): Promise<{ redis: Redis; told: string[] } & AsyncDisposable> {
  const told: string[] = [];
  const redis = await connectRedis(
    { ...redisUrl.parse(url), ...access },
    {
      lost: ({ message }) => told.push(`lost: ${message}`),
      returned: () => told.push('returned'),
    },
  );
  return { redis, told, [Symbol.asyncDispose]: () => redis.close() };
}

async function isRoundTrip(redis: Redis): Promise<boolean> {
  await redis.set('a', Buffer.of(0, 255));
  return (await redis.get('a'))?.equals(Buffer.of(0, 255)) === true;
}

suite('a Redis that replicas share', {
  concurrency: 3,
  skip: skipUnless('redis-server'),
  timeout: 600_000,
}, () => {
  test('keeps bytes, forgets them in time, and runs scripts that it knows or has forgotten', async () => {
    await using server = await startRedis({ password: 'geheim%20' });
    await using connection = await connect(
      `redis://:${encodeURIComponent('geheim%20')}@127.0.0.1:${server.port}/3`,
    );
    const { redis, told } = connection;
    assert.equal(redis.isConnected, true);
    assert.ok(await isRoundTrip(redis));
    await redis.remove('a');
    assert.equal(await redis.get('a'), undefined);
    await redis.set('short', 'text', 60_000);
    assert.ok(Number(await server.cli('-n', '3', 'pttl', 'short')) > 50_000);
    for (const _ of ['new', 'known']) assert.deepEqual(await redis.run(ECHO, ['k'], ['v']), ['k', 'v']);
    await server.cli('script', 'flush');
    assert.deepEqual(await redis.run(ECHO, ['k'], [1]), ['k', '1']);
    assert.deepEqual(told, []);
  });

  test('that is unavailable at the start delays no request, and is used once it is available', async () => {
    const port = await reservePort();
    await using connection = await connect(`redis://127.0.0.1:${port}`);
    const { redis, told } = connection;
    assert.equal(redis.isConnected, false);
    await assert.rejects(redis.get('a'));
    assert.equal(told.length, 1);
    assert.match(`${told[0]}`, /^lost: .*ECONNREFUSED/);
  });

  test('that disconnects and recovers is logged once each, and keeps its data', async () => {
    await using server = await startRedis();
    await using connection = await connect(server.url);
    const { redis, told } = connection;
    let returns = 0;
    redis.onReturn(() => {
      returns += 1;
    });
    await isRoundTrip(redis);
    await server.stop();
    await waitFor(() => !redis.isConnected);
    for (let times = 0; times < 3; times += 1) await assert.rejects(redis.get('a'));
    assert.equal(told.length, 1);
    await server.start();
    await waitFor(() => redis.isConnected, { what: 'the next connection' });
    assert.deepEqual([told.length, told.at(-1), returns], [2, 'returned', 1]);
    assert.ok((await redis.get('a')) !== undefined);
  });

  test('that stalls is given up after a second', async () => {
    await using server = await startRedis();
    await using connection = await connect(server.url);
    const { redis } = connection;
    process.kill(server.pid, 'SIGSTOP');
    try {
      await assert.rejects(redis.get('a'), /timed out/i);
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    assert.ok(await isRoundTrip(redis), 'and is asked again');
  });

  test('may be a Cluster, whose nodes have slots of their own', async () => {
    await using cluster = await startRedisCluster();
    await using connection = await connect(cluster.url);
    const { redis, told } = connection;
    assert.ok(await isRoundTrip(redis));
    for (let at = 0; at < 20; at += 1) {
      await redis.set(`key ${at}`, `${at}`);
      assert.deepEqual(await redis.run(ECHO, [`key ${at}`], [at]), [`key ${at}`, `${at}`]);
    }
    const sizes = await Promise.all(cluster.servers.map(({ cli }) => cli('dbsize')));
    assert.ok(
      sizes.every((size) => Number(size) > 0),
      sizes.join(),
    );
    assert.deepEqual(told, []);
  });

  test('may be what Sentinels say it is, also after the master has died', async () => {
    await using sentinel = await startRedisSentinel();
    await using connection = await connect(sentinel.url);
    const { redis, told } = connection;
    assert.ok(await isRoundTrip(redis));
    await waitFor(async () => (await sentinel.replica.cli('exists', 'a')) === '1');
    await sentinel.master.stop('SIGKILL');
    await waitFor(() => told.includes('returned'), { what: 'the next master', timeout: 30_000 });
    assert.ok((await redis.get('a')) !== undefined, 'it has what the first one had');
    assert.ok(await isRoundTrip(redis));
  });

  test('that stalls or refuses writes is not connected until it recovers', async () => {
    await using server = await startRedis();
    await using connection = await connect(server.url);
    const { redis, told } = connection;
    process.kill(server.pid, 'SIGSTOP');
    try {
      await waitFor(() => !redis.isConnected, { what: 'the hang to be seen' });
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    await waitFor(() => redis.isConnected, { what: 'the end of the hang to be seen' });
    await server.cli('replicaof', '127.0.0.1', '1');
    await waitFor(() => !redis.isConnected, { what: 'the refusal to write to be seen' });
    assert.match(`${told.at(-1)}`, /READONLY/);
    await server.cli('replicaof', 'no', 'one');
    await waitFor(() => redis.isConnected, { what: 'the end of the refusal to be seen' });
  });

  test('as a Cluster is not connected while the node with the limits is down, but is while another is down', async () => {
    await using cluster = await startRedisCluster({ args: ['--cluster-require-full-coverage', 'no'] });
    const slot = Number(await cluster.servers[0]?.cli('cluster', 'keyslot', `${LIMITS_PREFIX}probe`));
    const holds = await Promise.all(
      cluster.servers.map(async ({ cli }) => {
        const [, from = '', to = from] =
          /myself,master .* (\d+)-(\d+)$/m.exec(await cli('cluster', 'nodes')) ?? [];
        return Number(from) <= slot && slot <= Number(to);
      }),
    );
    const limits = cluster.servers[holds.indexOf(true)];
    const other = cluster.servers[holds.indexOf(false)];
    assert.ok(limits !== undefined && other !== undefined);
    await using connection = await connect(cluster.url);
    const { redis, told } = connection;
    assert.equal(redis.isConnected, true);
    await limits.stop('SIGKILL');
    await waitFor(() => !redis.isConnected, { what: 'the node of the limits to be missed', timeout: 20_000 });
    await limits.start();
    await waitFor(() => redis.isConnected, { what: 'the node of the limits to be back', timeout: 20_000 });
    assert.deepEqual([told.length, told.at(-1)], [2, 'returned']);
    await other.stop('SIGKILL');
    await waitFor(async () => (await limits.cli('cluster', 'nodes')).includes('fail'), {
      what: 'the other node to be given up',
      timeout: 20_000,
    });
    await waitFor(() => redis.run(ECHO, [`${LIMITS_PREFIX}a`], [1]).then(Boolean, () => false));
  });

  test('may have Sentinels with another password or none', async () => {
    await using same = await startRedisSentinel({ password: 'geheim', sentinelPassword: 'geheim' });
    await using other = await startRedisSentinel({ password: 'geheim', sentinelPassword: 'anders' });
    await using none = await startRedisSentinel({ password: 'geheim' });
    const logins = [
      [same, undefined],
      [other, { username: undefined, password: 'anders' }],
      [other, { username: 'default', password: 'anders' }],
      [none, { username: undefined, password: undefined }],
    ] as const;
    for (const [{ url }, sentinelLogin] of logins) {
      await using connection = await connect(url, {
        password: 'geheim',
        ...(sentinelLogin && { sentinelLogin }),
      });
      assert.ok(connection.redis.isConnected, `${url} ${JSON.stringify(sentinelLogin)} ${connection.told}`);
      assert.ok(await isRoundTrip(connection.redis));
    }
    await using connection = await connect(other.url, { password: 'geheim' });
    assert.equal(connection.redis.isConnected, false, 'the password of Redis is none of the Sentinel');
  });
});

suite('a Redis that speaks TLS', { skip: skipUnless('redis-server'), timeout: 600_000 }, () => {
  test('is reached with a private authority and a client certificate, alone, by Sentinels, and as a Cluster', async () => {
    await using folder = await temporaryFolder();
    const certificates = await makeCertificates(folder.path);
    const pem = (name: string) => readFile(join(certificates.client, name), 'utf8');
    const tls = {
      ...{ authorities: await pem('ca.pem'), certificate: await pem('cert.pem'), key: await pem('key.pem') },
    };
    await using alone = await startRedis({ tls: certificates, password: 'geheim' });
    await using sentinel = await startRedisSentinel({ tls: certificates });
    await using cluster = await startRedisCluster({ tls: certificates });
    for (const url of [alone.url, sentinel.url, cluster.url]) {
      assert.match(url, /^rediss/);
      await using connection = await connect(url, { tls });
      assert.ok(connection.redis.isConnected, `${url} ${connection.told}`);
      assert.ok(await isRoundTrip(connection.redis));
    }
    const without: [RedisAddress['tls'] | undefined, RegExp][] = [
      [undefined, /^lost: .*(?:certificate|signed)/],
      [{ ...tls, certificate: undefined, key: undefined }, /^lost: /],
    ];
    for (const [files, said] of without) {
      await using connection = await connect(alone.url, files && { tls: files });
      assert.equal(connection.redis.isConnected, false);
      assert.match(`${connection.told}`, said);
    }
  });
});
