import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { redisUrl } from '../../../src/config/redis-url.ts';
import { connectRedis } from '../../../src/redis/connect.ts';
import { temporaryCertificate } from '../../../src/tls/self-signed-provider.ts';
import { createCertificateStore, createDiskStore } from '../../../src/tls/stores/certificate-store.ts';
import { createDiskChallenges, createSharedChallenges } from '../../../src/tls/stores/challenge-store.ts';
import {
  createEncryptedRedisStore,
  SharedStoreError,
} from '../../../src/tls/stores/encrypted-redis-store.ts';
import { createSharedCertificateStore } from '../../../src/tls/stores/shared-certificate-store.ts';
import { skipUnless } from '../../support/packages.ts';
import { startRedis } from '../../support/redis.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { waitFor } from '../../support/wait-for.ts';

const AUTHORITY = 'https://ca.example/directory';
const ACCOUNT = { key: { kty: 'EC', d: 'secret' }, url: 'https://ca.example/account/1' };
/** Times with seven digits in common, which encrypted bytes do not contain by chance. */
const ATTEMPTS = [1_700_000_000_000, 1_700_000_060_000];
const KEY = randomBytes(32);
const certificate = temporaryCertificate(['a.example'], Date.now());

/** A Redis, and stores of several replicas in it. */
async function startBed() {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis());
  const folder = stack.use(await temporaryFolder());
  const connect = async () =>
    stack.adopt(await connectRedis(redisUrl.parse(server.url), { lost() {}, returned() {} }), (redis) =>
      redis.close(),
    );
  const redis = await connect();
  const shared = (key = KEY) => createCertificateStore(createEncryptedRedisStore(redis, key));
  const own = (name: string) => createDiskStore({ folder: join(folder.path, name), onDamage: () => {} });
  const replica = (name: string) => createSharedCertificateStore(shared(), own(name));
  const challenges = (name: string) =>
    createSharedChallenges(redis, createDiskChallenges(join(folder.path, name)));
  const held = stack.move();
  const dispose = (): Promise<void> => held.disposeAsync();
  return { server, redis, shared, own, replica, challenges, [Symbol.asyncDispose]: dispose };
}

suite('certificates that replicas share', { skip: skipUnless('redis-server'), timeout: 600_000 }, () => {
  test('is the same for all replicas, and unreadable in Redis', async () => {
    await using bed = await startBed();
    const [one, other] = [bed.replica('one'), bed.replica('other')];
    assert.equal(await other.certificate(AUTHORITY), undefined);
    await one.putCertificate(AUTHORITY, certificate);
    await one.putAccount(AUTHORITY, ACCOUNT);
    await one.putAttempts(AUTHORITY, ATTEMPTS);
    assert.equal((await other.certificate(AUTHORITY))?.fingerprint, certificate.fingerprint);
    assert.deepEqual(await other.account(AUTHORITY), ACCOUNT);
    assert.deepEqual(await other.attempts(AUTHORITY), ATTEMPTS);
    for (const name of (await bed.server.cli('--scan')).split('\n')) {
      const value = await bed.redis.get(name);
      assert.match(name, /^dockerproxy:tls:(?:certificates|accounts|attempts):ca\.example-[0-9a-f]{8}$/);
      assert.doesNotMatch(`${value?.toString('latin1')}`, /BEGIN|secret|ca\.example|1700000/);
    }
  });

  test('is refused if it was changed, moved to another name, or has another key', async () => {
    await using bed = await startBed();
    await bed.shared().putCertificate(AUTHORITY, certificate);
    await assert.rejects(bed.shared(randomBytes(32)).certificate(AUTHORITY), SharedStoreError);
    const name = await bed.server.cli('--scan');
    const sealed = await bed.redis.get(name);
    assert.ok(sealed);
    await bed.redis.set(name.replace('certificates', 'accounts'), sealed);
    await assert.rejects(bed.shared().account(AUTHORITY), /redis_key_file has to be the same/);
    for (const at of [0, 12, 30, sealed.length - 1]) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await bed.redis.set(name, changed);
      await assert.rejects(bed.shared().certificate(AUTHORITY), SharedStoreError, `${at}`);
    }
    await bed.redis.set(name, 'short');
    await assert.rejects(bed.shared().certificate(AUTHORITY), SharedStoreError);
  });

  test('is available while Redis does not run, but cannot be replaced', async () => {
    await using bed = await startBed();
    const [one, other] = [bed.replica('one'), bed.replica('other')];
    await one.putCertificate(AUTHORITY, certificate);
    await other.certificate(AUTHORITY);
    await bed.server.stop();
    await waitFor(() => !bed.redis.isConnected);
    for (const replica of [one, other, bed.replica('other')])
      assert.equal((await replica.certificate(AUTHORITY))?.fingerprint, certificate.fingerprint);
    await assert.rejects(one.putAttempts(AUTHORITY, [1]), SharedStoreError);
    await assert.rejects(bed.challenges('one').set('token', 'token.key'), SharedStoreError);
    assert.equal(await bed.challenges('other').get('token'), undefined);
  });

  test('is given to a Redis that has nothing, and what is gone from it is gone', async () => {
    await using bed = await startBed();
    const replica = bed.replica('one');
    await bed.own('one').putCertificate(AUTHORITY, certificate);
    await bed.own('one').putAccount(AUTHORITY, ACCOUNT);
    assert.equal(await replica.certificate(AUTHORITY), undefined);
    await replica.fill(AUTHORITY);
    assert.equal((await bed.shared().certificate(AUTHORITY))?.fingerprint, certificate.fingerprint);
    assert.deepEqual(await bed.shared().account(AUTHORITY), ACCOUNT);
    const newer = temporaryCertificate(['a.example'], Date.now());
    await bed.shared().putCertificate(AUTHORITY, newer);
    await replica.fill(AUTHORITY);
    assert.equal(
      (await replica.certificate(AUTHORITY))?.fingerprint,
      newer.fingerprint,
      'it is not overwritten',
    );
  });

  test('challenges are answered by whoever is asked', async () => {
    await using bed = await startBed();
    const [one, other] = [bed.challenges('one'), bed.challenges('other')];
    await one.set('token-1', 'token-1.key');
    assert.equal(await other.get('token-1'), 'token-1.key');
    assert.equal(await other.get('../../etc/passwd'), undefined);
    await other.remove('token-1');
    assert.equal(await bed.redis.get('dockerproxy:tls:challenge:token-1'), undefined);
  });
});
