import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { extract, type Header } from 'tar-stream';
import { composeArchive } from '../../src/archive/compose.ts';
import { contentSize, cutRange, type Entry, layoutArchive } from '../../src/archive/layout.ts';
import { tarHeader, tarPadding } from '../../src/archive/tar.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { untarStrictly } from '../support/strict-untar.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { MemoryBlobs } from './samples.ts';

const signal = new AbortController().signal;

const entryShapes = fc.array(
  fc.record({
    inline: fc.boolean(),
    algorithm: fc.constantFrom('sha256', 'sha512'),
    bytes: fc.uint8Array({ maxLength: 3000 }),
  }),
  { maxLength: 8 },
);

function build(shapes: readonly { inline: boolean; algorithm: string; bytes: Uint8Array }[]) {
  const blobs = new MemoryBlobs();
  const entries = shapes.map(({ inline, algorithm, bytes }, at): Entry => {
    if (inline) return { path: `file-${at}`, content: bytes };
    const blob = blobs.add(bytes, undefined, algorithm);
    return { path: `blobs/${blob.digest.replace(':', '/')}`, content: blob };
  });
  const unique = [...new Map(entries.map((entry) => [entry.path, entry])).values()];
  const layout = layoutArchive(unique);
  const read = (start: number, end: number): Promise<Buffer> =>
    buffer(composeArchive(cutRange(layout, { start, end }), blobs, signal));
  return { entries: unique, layout, read };
}

/** The expected names and sizes in a tar of these entries, with each folder before its first file. */
function withFolders(entries: readonly Entry[]): [name: string, size: number][] {
  const named = new Map<string, number>();
  for (const { path, content } of entries) {
    const [, algorithm] = /^blobs\/(\w+)\//.exec(path) ?? [];
    for (const folder of algorithm === undefined ? [] : ['blobs/', `blobs/${algorithm}/`])
      named.set(folder, 0);
    named.set(path, contentSize(content));
  }
  return [...named];
}

async function readByTarStream(archive: Buffer): Promise<{ header: Header; bytes: Buffer }[]> {
  const files: { header: Header; bytes: Buffer }[] = [];
  const reader = extract();
  const done = (async () => {
    for await (const entry of reader) files.push({ header: entry.header, bytes: await buffer(entry) });
  })();
  await Promise.all([pipeline(Readable.from([archive]), reader), done]);
  return files;
}

async function gnuTar(args: string[], archive: Uint8Array): Promise<string> {
  const tar = spawn('tar', args, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { LC_ALL: 'C', TZ: 'UTC0', PATH: '/usr/bin:/bin' },
  });
  const output = buffer(tar.stdout);
  await pipeline(Readable.from([archive]), tar.stdin);
  return (await output).toString();
}

suite('the layout of an archive', () => {
  test('any partition into ranges concatenates to the whole', async () => {
    await fc.assert(
      fc.asyncProperty(
        entryShapes,
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }),
        async (shapes, at) => {
          const { layout, read } = build(shapes);
          const cuts = [
            0,
            ...at.map((part) => Math.floor(part * layout.size)).sort((a, b) => a - b),
            layout.size,
          ];
          const parts = await Promise.all(cuts.slice(1).map((end, index) => read(cuts[index] ?? 0, end)));
          assert.deepEqual(Buffer.concat(parts), await read(0, layout.size));
        },
      ),
      { numRuns: 150 },
    );
  });

  test("tar-stream's extractor reads what the layout says, and the size is exact", async () => {
    await fc.assert(
      fc.asyncProperty(entryShapes, async (shapes) => {
        const { entries, layout, read } = build(shapes);
        const whole = await read(0, layout.size);
        assert.equal(whole.length, layout.size);
        assert.equal(whole.length % 512, 0);
        const found = await readByTarStream(whole);
        assert.deepEqual(
          found.map(({ header: { name, size } }) => [name, size]),
          withFolders(entries),
        );
        for (const { header } of found) {
          const isFolder = header.name.endsWith('/');
          assert.equal(header.type, isFolder ? 'directory' : 'file');
          assert.equal(header.mode, isFolder ? 0o755 : 0o644);
        }
        const files = found.filter(({ header }) => header.type === 'file');
        for (const [index, { bytes }] of files.entries()) {
          const content = entries[index]?.content;
          if (content instanceof Uint8Array) assert.deepEqual(bytes, Buffer.from(content));
          else
            assert.ok(
              content?.digest.endsWith(
                createHash(content.digest.split(':')[0] ?? '')
                  .update(bytes)
                  .digest('hex'),
              ),
            );
        }
      }),
      { numRuns: 150 },
    );
  });

  test('GNU tar reads what the layout says', async () => {
    await fc.assert(
      fc.asyncProperty(entryShapes, async (shapes) => {
        const { entries, layout, read } = build(shapes);
        const listing = await gnuTar(['-tvf', '-', '--full-time'], await read(0, layout.size));
        const lines = listing.trim().split('\n').filter(Boolean);
        assert.deepEqual(
          lines.map((line) => line.split(/\s+/)),
          withFolders(entries).map(([name, size]) => [
            name.endsWith('/') ? 'drwxr-xr-x' : '-rw-r--r--',
            '0/0',
            String(size),
            '1970-01-01',
            '00:00:00',
            name,
          ]),
        );
      }),
      { numRuns: 20 },
    );
  });

  test('each folder has one entry before its contents, for readers that create no folders', async () => {
    await fc.assert(
      fc.asyncProperty(entryShapes, async (shapes) => {
        const { entries, layout, read } = build(shapes);
        await using folder = await temporaryFolder();
        const names = await untarStrictly(await read(0, layout.size), folder.path);
        assert.deepEqual(
          names,
          withFolders(entries).map(([name]) => name),
        );
      }),
      { numRuns: 20 },
    );
  });

  test('sizes beyond 8 GiB are written so that GNU tar and tar-stream read them', async () => {
    const size = 9 * 2 ** 30 + 5;
    const header = tarHeader('blobs/sha256/big', size);
    const folder = await mkdtemp(join(tmpdir(), 'dockerproxy-layout-'));
    try {
      const sparse = join(folder, 'sparse.tar');
      await writeFile(sparse, header);
      await truncate(sparse, 512 + size + tarPadding(size).length + 1024);
      assert.match((await promisify(execFile)('tar', ['-tvf', sparse])).stdout, /\b9663676421\b/);
    } finally {
      await rm(folder, { recursive: true });
    }
    const reader = extract();
    const seen = new Promise<number | undefined>((resolve) =>
      reader.once('entry', (entry) => resolve(entry.size)),
    );
    reader.write(header);
    assert.equal(await seen, size);
    reader.destroy();
  });

  test('the same entries give the same ETag, any other byte another one', () => {
    const of = (entries: Entry[]): string => layoutArchive(entries).etag;
    const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
    const blobs = new MemoryBlobs();
    const [a, b] = [blobs.add(bytes('a')), blobs.add(bytes('b'))];
    const base = of([
      { path: 'x', content: bytes('1') },
      { path: 'y', content: a },
    ]);
    assert.match(base, /^"3-[0-9a-f]{64}"$/);
    assert.equal(
      of([
        { path: 'x', content: bytes('1') },
        { path: 'y', content: a },
      ]),
      base,
    );
    assert.notEqual(
      of([
        { path: 'x', content: bytes('2') },
        { path: 'y', content: a },
      ]),
      base,
    );
    assert.notEqual(
      of([
        { path: 'x', content: bytes('1') },
        { path: 'y', content: b },
      ]),
      base,
    );
    assert.notEqual(
      of([
        { path: 'y', content: a },
        { path: 'x', content: bytes('1') },
      ]),
      base,
    );
  });

  test('a blob shorter or longer than its descriptor breaks the stream', async () => {
    const blobs = new MemoryBlobs();
    const honest = blobs.add(new Uint8Array(2000));
    for (const size of [1999, 2001]) {
      const layout = layoutArchive([{ path: 'x', content: { ...honest, size } }]);
      const lying = { read: () => blobs.read(honest) };
      const stream = composeArchive(cutRange(layout, { start: 0, end: layout.size }), lying, signal);
      await assert.rejects(buffer(stream), { code: 'content-mismatch' });
    }
  });

  test('an archive of many blobs takes steps in proportion to their number', async () => {
    const blobs = new MemoryBlobs();
    const entries = Array.from({ length: 1000 }, (_, at) => ({
      path: `blob-${at}`,
      content: blobs.add(Buffer.from(`${at}`)),
    }));
    const layout = layoutArchive(entries);
    const pieces = cutRange(layout, { start: 0, end: layout.size });
    let steps = 0;
    const counted = new Proxy(pieces, {
      get(target, key, receiver) {
        if (typeof key === 'string' && /^\d+$/.test(key)) steps += 1;
        return Reflect.get(target, key, receiver);
      },
    });
    const ahead = new Set<string>();
    const reader = {
      read: (blob: Descriptor) => blobs.read(blob),
      prefetch: async ({ digest }: Descriptor) => void ahead.add(digest),
    };
    assert.equal((await buffer(composeArchive(counted, reader, signal))).length, layout.size);
    assert.equal(ahead.size, entries.length - 1);
    assert.ok(steps <= 10 * pieces.length, `${steps} steps for ${pieces.length} pieces`);
  });

  test('destroying the stream aborts the read under way', async () => {
    const blobs = new MemoryBlobs();
    const layout = layoutArchive([{ path: 'x', content: blobs.add(new Uint8Array(2000)) }]);
    const { promise: aborted, resolve } = Promise.withResolvers<void>();
    const { promise: reading, resolve: began } = Promise.withResolvers<void>();
    const endless = {
      async read(_blob: unknown, _range: unknown, signal: AbortSignal): Promise<Readable> {
        signal.addEventListener('abort', () => resolve());
        began();
        return new Readable({ read() {}, signal });
      },
    };
    const stream = composeArchive(cutRange(layout, { start: 0, end: layout.size }), endless, signal);
    stream.on('error', () => {});
    stream.resume();
    await reading;
    stream.destroy();
    await aborted;
  });
});
