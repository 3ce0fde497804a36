import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { suite, test } from 'node:test';
import { readCredential } from '../../src/cli/login.ts';
import { parseReference } from '../../src/oci/reference.ts';

const references = [parseReference('registry.test:5000/app')];
const sources = (): Parameters<typeof readCredential>[2] => ({
  ...{ stdin: new PassThrough(), stderr: new PassThrough(), environment: { DOCKERPROXY_PASSWORD: 'secret' } },
});

suite('the user of a command', () => {
  test('can have a registry with a port', async () => {
    const login = { user: 'registry.test:5000/alice', isPasswordOnStdin: false };
    const credential = await readCredential(login, references, sources());
    assert.equal(credential.registry, 'registry.test:5000');
    assert.deepEqual(credential.reveal(), { kind: 'password', username: 'alice', password: 'secret' });
  });

  test('cannot have a password, which the error does not repeat', async () => {
    const login = { user: 'alice:secret-4711', isPasswordOnStdin: false };
    await assert.rejects(readCredential(login, references, sources()), (error: Error) => {
      assert.match(error.message, /contains a colon/);
      assert.doesNotMatch(error.message, /4711/);
      return true;
    });
  });
});
