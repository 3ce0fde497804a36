import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { suite, test } from 'node:test';
import type { Redis } from '../../../src/redis/redis.ts';
import {
  createDiskAlpnChallenges,
  createSharedAlpnChallenges,
  followAlpnChallenges,
  serverNameOf,
} from '../../../src/tls/stores/alpn-challenge-store.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

suite('the TLS-ALPN-01 challenges', () => {
  test('are found by server names, in any case of letters', async () => {
    await using folder = await temporaryFolder();
    const store = createDiskAlpnChallenges(folder.path);
    await store.set('dl.example.org', 'a.b');
    await store.set('192.0.2.7', 'c.d');
    assert.deepEqual(store.find('DL.example.org'), { name: 'dl.example.org', keyAuthorization: 'a.b' });
    assert.equal(store.find('7.2.0.192.in-addr.arpa')?.name, '192.0.2.7');
    await store.remove('192.0.2.7');
    for (const name of [
      '7.2.0.192.in-addr.arpa',
      'other.example',
      '',
      '..',
      '../dl.example.org',
      'a/b',
      '.',
    ]) {
      assert.equal(store.find(name), undefined, name);
    }
    assert.deepEqual(await readdir(folder.path), ['dl.example.org']);
    await assert.rejects(store.set('../x', 'a.b'), /is not a host name/);
  });

  test('for IPv6 addresses have the reverse name', () => {
    assert.equal(serverNameOf('2001:db8::1'), `1.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.ip6.arpa`);
  });

  test('reach another replica, and leave it again', async ({ mock }) => {
    mock.timers.enable({ apis: ['setInterval', 'setTimeout'] });
    const kept = new Map<string, string>();
    const redis: Pick<Redis, 'get' | 'set'> = {
      get: async (key) => (kept.has(key) ? Buffer.from(kept.get(key) ?? '') : undefined),
      set: async (key, value) => void kept.set(key, String(value)),
    };
    await using here = await temporaryFolder();
    await using there = await temporaryFolder();
    const orders = createSharedAlpnChallenges(redis as Redis, createDiskAlpnChallenges(here.path));
    const other = createDiskAlpnChallenges(there.path);
    using _following = followAlpnChallenges(redis as Redis, other);
    const look = async (condition: () => boolean): Promise<void> => {
      mock.timers.tick(2000);
      while (!condition()) await new Promise<void>((done) => setImmediate(done));
    };
    await orders.set('a.example', 'a.b');
    await orders.set('b.example', 'c.d');
    await look(() => other.find('b.example') !== undefined);
    assert.equal(other.find('a.example')?.keyAuthorization, 'a.b');
    await orders.remove('a.example');
    await look(() => other.find('a.example') === undefined);
    assert.equal(other.find('b.example')?.keyAuthorization, 'c.d');
  });
});
