import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { suite, test } from 'node:test';
import { createLayerTable } from '../../../src/contents/layer-table.ts';
import { sha256 } from '../../../src/oci/digest.ts';
import { createDiskTables } from '../../../src/sources/contents/table-store.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const LAYER = { digest: sha256(Buffer.from('packed')), diffId: sha256(Buffer.from('unpacked')) };
const TABLE = createLayerTable().done(1024);

suite('tables of layers on the disk', () => {
  test('are kept if the disk has room', async () => {
    await using folder = await temporaryFolder();
    const tables = createDiskTables(folder.path, async () => true);
    await tables.keep(LAYER, TABLE);
    assert.equal((await tables.find(LAYER, new AbortController().signal))?.unpackedSize, 1024);
  });

  test('are optional: a request succeeds although the folder of the cache was removed', async () => {
    await using folder = await temporaryFolder();
    const missing = async (): Promise<boolean> => {
      throw Object.assign(new Error('ENOENT: no such file or directory'), { code: 'ENOENT' });
    };
    await createDiskTables(folder.path, missing).keep(LAYER, TABLE);
    assert.deepEqual(await readdir(folder.path), []);
  });
});
