import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { type BlobFiles, lockOf, openBlobFiles } from '../../src/blobs/blob-files.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  blobFile,
  filesIn,
  incomingFile,
  REGISTRY,
  type SampleBlob,
  sampleBlob,
  slowDisk,
} from './samples.ts';

const sample = sampleBlob(100_000, 'files');
const { descriptor, bytes } = sample;

interface Setup extends AsyncDisposable {
  readonly files: BlobFiles;
  readonly folder: string;
  readonly damaged: Digest[];
}

async function setUp(): Promise<Setup> {
  const temporary = await temporaryFolder();
  const folder = join(temporary.path, 'a', 'cache');
  const damaged: Digest[] = [];
  const files = await openBlobFiles({ folder, onDamage: (digest) => void damaged.push(digest) });
  return { files, folder, damaged, [Symbol.asyncDispose]: () => temporary[Symbol.asyncDispose]() };
}

async function commit(files: BlobFiles, { descriptor: blob, bytes: content }: SampleBlob): Promise<void> {
  const incoming = await open(files.incomingPath(blob, REGISTRY), 'w');
  try {
    await incoming.write(content);
    await files.commit(blob, REGISTRY, incoming);
  } finally {
    await incoming.close();
  }
}

async function contentOf(files: BlobFiles, blob = descriptor): Promise<Buffer | undefined> {
  const file = await files.open(blob);
  try {
    return await file?.readFile();
  } finally {
    await file?.close();
  }
}

suite('the folder of the cache', () => {
  test('is made where it is missing, for its owner alone', async () => {
    await using setup = await setUp();
    for (const name of ['blobs', 'incoming']) {
      assert.equal((await stat(join(setup.folder, name))).mode & 0o777, 0o700);
    }
  });

  test('may be there already', async () => {
    await using setup = await setUp();
    await commit(setup.files, sample);
    const again = await openBlobFiles({ folder: setup.folder, onDamage: () => {} });
    assert.deepEqual(await contentOf(again), bytes);
  });

  test('cannot be where a file is', async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'file');
    await writeFile(path, '');
    await assert.rejects(openBlobFiles({ folder: path, onDamage: () => {} }));
  });

  test('has blobs under their digests and incoming ones under digest, supplier and size', async () => {
    await using setup = await setUp();
    const { files, folder } = setup;
    assert.equal(files.blobPath(descriptor.digest), join(folder, blobFile(descriptor.digest)));
    const incoming = files.incomingPath(descriptor, REGISTRY);
    assert.equal(incoming, join(folder, incomingFile(descriptor)));
    assert.notEqual(incoming, files.incomingPath({ ...descriptor, size: 1 }, REGISTRY));
    assert.notEqual(incoming, files.incomingPath(descriptor, 'other.example'));
    assert.notEqual(lockOf(incoming), lockOf(files.incomingPath(descriptor, 'other.example')));
    assert.equal(lockOf(incoming), lockOf(files.incomingPath({ ...descriptor, size: 1 }, REGISTRY)));
    const long = parseDigest(`sha512:${'ab'.repeat(64)}`);
    assert.equal(files.blobPath(long), join(folder, 'blobs', 'sha512', 'ab', 'ab'.repeat(64)));
  });
});

suite('a blob on the disk', () => {
  test('is not there until it is committed, and then has its final name alone', async () => {
    await using setup = await setUp();
    assert.equal(await contentOf(setup.files), undefined);
    await writeFile(setup.files.incomingPath(descriptor, REGISTRY), bytes);
    assert.equal(await contentOf(setup.files), undefined);
    await commit(setup.files, sample);
    assert.deepEqual(await filesIn(setup.folder), [blobFile(descriptor.digest)]);
    assert.deepEqual(await contentOf(setup.files), bytes);
    assert.deepEqual(setup.damaged, []);
  });

  test('has its final name only once it is on the disk', async (t) => {
    await using setup = await setUp();
    const disk = await slowDisk(t, setup.folder);
    const committed = commit(setup.files, sample);
    await waitFor(() => disk.syncs === 1);
    assert.deepEqual(await filesIn(setup.folder), [incomingFile(descriptor)]);
    disk.finish();
    await committed;
    assert.deepEqual(await filesIn(setup.folder), [blobFile(descriptor.digest)]);
  });

  test('that cannot be brought to the disk gets no final name', async (t) => {
    await using setup = await setUp();
    const disk = await slowDisk(t, setup.folder);
    const committed = assert.rejects(commit(setup.files, sample), { code: 'EIO' });
    await waitFor(() => disk.syncs === 1);
    disk.finish(Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' }));
    await committed;
    assert.deepEqual(await filesIn(setup.folder), [incomingFile(descriptor)]);
  });

  for (const [what, change] of [
    ['whose bytes were changed', (path: string) => writeFile(path, Buffer.alloc(bytes.length))],
    ['that was cut short', (path: string) => truncate(path, bytes.length - 1)],
    ['that was emptied', (path: string) => truncate(path, 0)],
    ['that was made longer', (path: string) => writeFile(path, 'more', { flag: 'a' })],
  ] as const) {
    test(`${what} is noticed and removed`, async () => {
      await using setup = await setUp();
      await commit(setup.files, sample);
      await change(setup.files.blobPath(descriptor.digest));
      assert.equal(await contentOf(setup.files), undefined);
      assert.deepEqual(setup.damaged, [descriptor.digest]);
      assert.deepEqual(await filesIn(setup.folder), []);
    });
  }

  test('that was put there without verification is not used', async () => {
    await using setup = await setUp();
    const path = setup.files.blobPath(descriptor.digest);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
    assert.equal(await contentOf(setup.files), undefined);
    assert.ok(!existsSync(path));
  });

  test('with another size than its descriptor is not used, and stays', async () => {
    await using setup = await setUp();
    await commit(setup.files, sample);
    assert.equal(await contentOf(setup.files, { ...descriptor, size: descriptor.size - 1 }), undefined);
    assert.deepEqual(await contentOf(setup.files), bytes);
    assert.deepEqual(setup.damaged, []);
  });

  test('has the time of its last use as its access time, and keeps its seal', async () => {
    await using setup = await setUp();
    await commit(setup.files, sample);
    const path = setup.files.blobPath(descriptor.digest);
    const { mtime } = await stat(path);
    // With relatime, reading does not change an access time of less than a day; see mount(8).
    const before = Date.now();
    await utimes(path, new Date(before - 3_600_000), mtime);
    await (await setup.files.open(descriptor))?.close();
    const after = await stat(path);
    assert.ok(after.atimeMs >= before - 1, after.atime.toISOString());
    assert.equal(after.mtimeMs, mtime.getTime());
  });

  test('that is touched counts as used now, and gets no seal that it has lost', async () => {
    await using setup = await setUp();
    await commit(setup.files, sample);
    const path = setup.files.blobPath(descriptor.digest);
    const { mtime } = await stat(path);
    const before = Date.now();
    await utimes(path, new Date(before - 3_600_000), mtime);
    await setup.files.touch(descriptor.digest);
    assert.ok((await stat(path)).atimeMs >= before - 1);
    assert.deepEqual(await contentOf(setup.files), bytes);
    await writeFile(path, Buffer.alloc(bytes.length));
    await setup.files.touch(descriptor.digest);
    assert.equal(await contentOf(setup.files), undefined);
  });

  test('stays readable through open files after it is replaced or removed', async () => {
    await using setup = await setUp();
    await commit(setup.files, sample);
    const file = await setup.files.open(descriptor);
    await commit(setup.files, sample);
    assert.deepEqual(await file?.readFile(), bytes);
    await file?.close();
    assert.deepEqual(await readFile(setup.files.blobPath(descriptor.digest)), bytes);
  });
});
