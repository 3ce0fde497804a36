import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { guardFor } from '../../src/cli/save.ts';
import { loadConfig } from '../../src/config/loader.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const load = (...argv: string[]) => loadConfig({ argv, environment: {}, home: '/nowhere', isRoot: false });
const image = parseReference('registry.lan/app');
const refusal = { code: 'address-refused' };

suite('the guard of dockerproxy save', () => {
  test('trusts a token server that --allow names, at a private address', () => {
    const guard = guardFor([image], load('--allow', '10.0.0.5:5001/**'));
    guard.checkUrl(new URL('https://10.0.0.5:5001/token'), 'https://registry.lan');
  });

  test('trusts a token server in a file of --allow-file', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'allow');
    await writeFile(file, '# the token server\n10.0.0.5:5001/**\n');
    const guard = guardFor([image], load('--allow-file', file));
    guard.checkUrl(new URL('https://10.0.0.5:5001/token'), 'https://registry.lan');
  });

  test('does not trust other servers, or those that only a wildcard names', () => {
    for (const allow of ['ghcr.io/**', '**', '10.0.0.*/**']) {
      const guard = guardFor([image], load('--allow', allow));
      assert.throws(
        () => guard.checkUrl(new URL('https://10.0.0.5:5001/token'), 'https://registry.lan'),
        refusal,
      );
    }
  });
});
