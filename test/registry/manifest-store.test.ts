import assert from 'node:assert/strict';
import { mkdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { sha256 } from '../../src/oci/digest.ts';
import type { Repository } from '../../src/oci/reference.ts';
import { createDiskStore } from '../../src/registry/disk-store.ts';
import { createManifestStore } from '../../src/registry/manifest-store.ts';
import type { LargeDocuments } from '../../src/util/large-documents.ts';
import { filesIn } from '../blobs/samples.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const repository: Repository = { domain: 'registry.example', path: 'org/app' };
const bytes = Buffer.from('{\n  "schemaVersion": 2\n}\n');
const manifest = { bytes, digest: sha256(bytes), contentType: 'application/vnd.oci.image.manifest.v1+json' };

suite('the store of manifests', () => {
  test('gives what was put, byte by byte, to whoever opens the folder', async () => {
    await using folder = await temporaryFolder();
    await createManifestStore(createDiskStore(folder.path)).putManifest(repository, manifest);
    const found = await createManifestStore(createDiskStore(folder.path)).manifest(
      repository,
      manifest.digest,
    );
    assert.deepEqual({ ...found, bytes: Buffer.from(found?.bytes ?? '') }, manifest);
  });

  test('keeps a missing media type, and replaces an odd one', async () => {
    await using folder = await temporaryFolder();
    const store = createManifestStore(createDiskStore(folder.path));
    for (const [given, kept] of [
      [undefined, undefined],
      ['a\nb', 'a b'],
    ] as const) {
      await store.putManifest(repository, { ...manifest, contentType: given });
      const found = await store.manifest(repository, manifest.digest);
      assert.equal(found?.contentType, kept);
      assert.deepEqual(Buffer.from(found?.bytes ?? ''), bytes);
    }
  });

  test('reads large manifests from the disk only when they have a place', async () => {
    await using folder = await temporaryFolder();
    const waiting: (() => void)[] = [];
    const large: LargeDocuments = {
      run: (work) => work(),
      read: (work) => new Promise<void>((resolve) => waiting.push(resolve)).then(work),
    };
    const store = createManifestStore(createDiskStore(folder.path, undefined, large));
    const content = Buffer.alloc(300_000, 'x');
    const digest = sha256(content);
    await store.putManifest(repository, manifest);
    await store.putManifest(repository, { bytes: content, digest, contentType: undefined });
    const found = store.manifest(repository, digest);
    assert.ok(await store.manifest(repository, manifest.digest));
    await waitFor(() => waiting.length === 1, { what: 'the large manifest to wait' });
    waiting[0]?.();
    assert.deepEqual(Buffer.from((await found)?.bytes ?? ''), content);
    assert.equal(waiting.length, 1);
  });

  test('evicts files for a large manifest, and does not store it while the disk is full', async () => {
    await using folder = await temporaryFolder();
    const asked: number[] = [];
    let isRoom = true;
    const shelf = createDiskStore(folder.path, async (size) => {
      asked.push(size);
      return isRoom;
    });
    const store = createManifestStore(shelf);
    const large = (fill: string) => {
      const content = Buffer.alloc(100_000, fill);
      return { bytes: content, digest: sha256(content), contentType: undefined };
    };
    await store.putManifest(repository, manifest);
    assert.deepEqual(asked, []);
    await store.putManifest(repository, large('a'));
    isRoom = false;
    await store.putManifest(repository, large('b'));
    assert.deepEqual(asked, [100_001, 100_001]);
    assert.ok(await store.manifest(repository, large('a').digest));
    assert.equal(await store.manifest(repository, large('b').digest), undefined);
  });

  test('gives nothing of one repository to another', async () => {
    await using folder = await temporaryFolder();
    const store = createManifestStore(createDiskStore(folder.path));
    await store.putManifest(repository, manifest);
    await store.putTag(repository, 'latest', { digest: manifest.digest, confirmed: 1 });
    for (const other of [
      { ...repository, path: 'org/other' },
      { ...repository, domain: 'other.example' },
    ]) {
      assert.equal(await store.manifest(other, manifest.digest), undefined);
      assert.equal(await store.tag(other, 'latest'), undefined);
    }
    assert.equal(await store.tag(repository, 'other'), undefined);
  });

  for (const [what, damage] of [
    ['changed', (content: Buffer) => Buffer.concat([content.subarray(0, -1), Buffer.from('x')])],
    ['cut short', (content: Buffer) => content.subarray(0, 20)],
    ['emptied', () => Buffer.alloc(0)],
  ] as const) {
    test(`a manifest that was ${what} is as if it had never been there`, async () => {
      await using folder = await temporaryFolder();
      const store = createManifestStore(createDiskStore(folder.path));
      await store.putManifest(repository, manifest);
      const [file = ''] = await filesIn(folder.path);
      const path = join(folder.path, file);
      await writeFile(path, damage(await readFile(path)));
      assert.equal(await store.manifest(repository, manifest.digest), undefined);
      await store.putManifest(repository, manifest);
      assert.ok(await store.manifest(repository, manifest.digest));
    });
  }

  test('replaces what a tag points at', async () => {
    await using folder = await temporaryFolder();
    const store = createManifestStore(createDiskStore(folder.path));
    const newer = { digest: sha256(Buffer.from('newer')), confirmed: 2 };
    await store.putTag(repository, 'latest', { digest: manifest.digest, confirmed: 1 });
    await store.putTag(repository, 'latest', newer);
    assert.deepEqual(await store.tag(repository, 'latest'), newer);
    assert.equal((await filesIn(folder.path)).length, 1);
  });

  for (const content of ['', 'no json', '[]', '{}', '{"digest":"sha256:no","confirmed":1}', 'null']) {
    test(`a tag whose file says ${JSON.stringify(content)} is not known`, async () => {
      await using folder = await temporaryFolder();
      const store = createManifestStore(createDiskStore(folder.path));
      await store.putTag(repository, 'latest', { digest: manifest.digest, confirmed: 1 });
      const [file = ''] = await filesIn(folder.path);
      await writeFile(join(folder.path, file), content);
      assert.equal(await store.tag(repository, 'latest'), undefined);
    });
  }

  test('remembers when something was last asked for, by which it is evicted', async () => {
    await using folder = await temporaryFolder();
    const store = createManifestStore(createDiskStore(folder.path));
    await store.putManifest(repository, manifest);
    const [file = ''] = await filesIn(folder.path);
    const path = join(folder.path, file);
    await utimes(path, new Date('2020-01-01'), new Date('2020-01-01'));
    const before = Date.now();
    await store.manifest(repository, manifest.digest);
    assert.ok((await stat(path)).atimeMs >= before - 1);
  });

  test('many who write the same at once leave one whole file', async () => {
    await using folder = await temporaryFolder();
    const store = createManifestStore(createDiskStore(folder.path));
    await Promise.all(
      Array.from({ length: 20 }, async (_, at) => {
        await store.putManifest(repository, manifest);
        await store.putTag(repository, 'latest', { digest: manifest.digest, confirmed: at });
        assert.ok(await store.manifest(repository, manifest.digest));
        assert.ok(await store.tag(repository, 'latest'));
      }),
    );
    assert.equal((await filesIn(folder.path)).length, 2);
  });

  test('makes its folders again where they were removed', async () => {
    await using folder = await temporaryFolder();
    const store = createManifestStore(createDiskStore(join(folder.path, 'cache')));
    await store.putManifest(repository, manifest);
    await rm(join(folder.path, 'cache'), { recursive: true });
    assert.equal(await store.manifest(repository, manifest.digest), undefined);
    await store.putManifest(repository, manifest);
    assert.ok(await store.manifest(repository, manifest.digest));
  });

  test('leaves no temporary file where it cannot write', async () => {
    await using folder = await temporaryFolder();
    const store = createManifestStore(createDiskStore(folder.path));
    await store.putManifest(repository, manifest);
    const [file = ''] = await filesIn(folder.path);
    await rm(join(folder.path, file));
    await mkdir(join(folder.path, file, 'in the way'), { recursive: true });
    await assert.rejects(store.putManifest(repository, manifest));
    assert.deepEqual(await filesIn(join(folder.path, dirname(file))), []);
  });
});
