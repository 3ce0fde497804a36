import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { skipUnless } from '../support/packages.ts';
import { run } from '../support/process.ts';

const SCENE = join(import.meta.dirname, 'hostile-addresses-scene.ts');

suite('addresses that lead inside', { skip: skipUnless('namespaces'), timeout: 600_000 }, () => {
  // With a broken guard, requests would leave this machine and reach a host with such an address.
  test('are tried in a network with only loopback', async () => {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const alone = ['--net', 'sh', '-e', '-c', 'ip link set lo up; exec "$@"', 'alone'];
    const { code, stdout } = await run('unshare', [...alone, process.execPath, SCENE], {
      env,
      timeout: 230_000,
    });
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^ℹ pass 1\d\d$/m, 'it was tried');
  });
});
