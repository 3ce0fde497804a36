import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { checkHost } from '../../src/net/check-host.ts';
import { createGuard } from '../../src/net/guard.ts';
import type { Lookup } from '../../src/net/name-lookup.ts';

const never = new AbortController().signal;
const guard = createGuard(['http://listed.example']);

suite('check of a host that an engine connects to', () => {
  const check = (lookup: Lookup, url = 'https://registry.example', signal = never): Promise<void> =>
    checkHost(guard, lookup, new URL(url), signal);

  test('uses the addresses from the given lookup', async () => {
    const asked: string[] = [];
    const lookup: Lookup = async (hostname) => {
      asked.push(hostname);
      return [{ address: hostname === 'inside.example' ? '10.0.0.1' : '8.8.8.8', family: 4 }];
    };
    await check(lookup);
    await assert.rejects(check(lookup, 'https://inside.example'), { code: 'address-refused' });
    assert.deepEqual(asked, ['registry.example', 'inside.example']);
  });

  test('skips the lookup for a listed origin, and permits a name without an address', async () => {
    const failing: Lookup = () => Promise.reject(new Error('ENOTFOUND'));
    await check(failing);
    await check(() => assert.fail('no look-up'), 'http://listed.example');
  });

  test('ends with the request while the lookup continues', async () => {
    const ended = new AbortController();
    const checked = check(() => new Promise(() => {}), undefined, ended.signal);
    ended.abort();
    await assert.rejects(checked, { name: 'AbortError' });
  });
});
