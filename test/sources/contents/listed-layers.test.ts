import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import type { FileTree } from '../../../src/contents/file-tree.ts';
import type { ServiceError } from '../../../src/errors.ts';
import type { BlobReader } from '../../../src/oci/blob-reader.ts';
import type { ByteRange, Descriptor } from '../../../src/oci/descriptor.ts';
import { parseDigest } from '../../../src/oci/digest.ts';
import { createImageContents, type PackedImage } from '../../../src/sources/contents/image-contents.ts';
import { storingNothing } from '../../../src/sources/contents/table-store.ts';
import { createTreeMemory } from '../../../src/sources/contents/tree-memory.ts';
import { NO_LOCK } from '../../../src/util/lock.ts';
import { createMemoryCaches } from '../../../src/util/memory-caches.ts';
import { finish, tarOf, type Written } from '../../contents/layers.ts';
import { blob, type Layer, layerMediaType, sha256 } from '../../support/images.ts';
import { type ChangeToc, estargzLayer, zstdChunkedLayer } from '../../support/lazy-layers.ts';

const FILES: readonly Written[] = [
  { path: 'etc', type: 'directory', mode: 0o755, mtime: 1_700_000_000 },
  { path: 'etc/passwd', data: Buffer.from('root'), mode: 0o4644, uid: 5, gid: 6, mtime: 1_700_000_001 },
  { path: 'etc/large', data: Buffer.alloc(10_000, 'large'), mtime: 1, nanoseconds: 5_000_000 },
  { path: 'etc/empty', data: Buffer.alloc(0) },
  { path: 'etc/name', type: 'hardlink', link: 'etc/passwd' },
  { path: 'etc/link', type: 'symlink', link: '../\xc3\xa9' },
  { path: 'null', type: 'character', device: [1, 3] },
  { path: 'pipe', type: 'fifo' },
  { path: '\xc3\xa9"\\', data: Buffer.from('odd') },
];
const WRITERS: Readonly<Record<string, (files: readonly Written[], change?: ChangeToc) => Layer>> = {
  eStargz: estargzLayer,
  'zstd:chunked': zstdChunkedLayer,
};

/** Reads the files of an image, and remembers which bytes of its layers were read. */
function open(...layers: readonly Layer[]) {
  const reads: ByteRange[] = [];
  const bytesOf = ({ digest }: Descriptor): Uint8Array => {
    const found = layers.find(({ descriptor }) => descriptor.digest === digest)?.content;
    return found instanceof Uint8Array ? found : assert.fail();
  };
  const read = async (one: Descriptor, range = { start: 0, end: one.size }): Promise<Readable> => {
    reads.push(range);
    return Readable.from([bytesOf(one).slice(range.start, range.end)]);
  };
  const blobs: BlobReader = { read, readPart: read };
  const image: PackedImage = {
    layers: layers.map(({ descriptor }) => ({ ...descriptor, digest: parseDigest(descriptor.digest) })),
    diffIds: layers.map(({ diffId }) => diffId),
    blobs,
  };
  const caches = createMemoryCaches(() => 0);
  const contents = createImageContents({
    ...{ tables: storingNothing, scansAtOnce: 2, caches, memory: createTreeMemory(caches, 2 ** 26) },
    limits: { unpackedSize: 1e9, entries: 1000 },
    locks: { take: async () => NO_LOCK },
  });
  const { signal } = new AbortController();
  return {
    ...{ image, reads },
    list: (from = image, options = {}) => contents.list(from, options, signal),
    open: (from = image) => contents.open(from, {}, signal),
    readBytes: () => reads.reduce((sum, { start, end }) => sum + end - start, 0),
  };
}

/** Describes all files. A table has no positions, extended attributes, or fractions of seconds. */
function describe(tree: FileTree): unknown[] {
  const found: unknown[] = [];
  const walk = (node: number): void => {
    for (const child of finish(tree.children(node))) {
      const { offset: _, segments: __, nanoseconds: ___, xattrs: ____, ...file } = tree.file(child);
      found.push([tree.path(child), file]);
      if (file.type === 'directory') walk(child);
    }
  };
  walk(0);
  return found;
}

suite('lists of layers with a table of contents', () => {
  for (const [kind, write] of Object.entries(WRITERS)) {
    test(`${kind}: shows the same files as the layer, without reading it`, async () => {
      const { list, open: read, readBytes } = open(write(FILES));
      const { tree, isRead } = await list();
      assert.equal(isRead, false);
      const bytes = readBytes();
      const own = await read();
      assert.deepEqual(describe(tree), describe(own.tree));
      assert.ok(bytes < readBytes() - bytes, `${bytes}`);
      const again = await list();
      assert.equal(again.isRead, true);
      assert.equal(again.tree, own.tree);
    });

    test(`${kind}: reads the table once`, async () => {
      const { list, reads } = open(write(FILES));
      const [one, two] = await Promise.all([list(), list()]);
      assert.equal(one?.tree, two?.tree);
      const count = reads.length;
      await list();
      assert.equal(reads.length, count);
    });

    test(`${kind}: hides the files that an upper layer removes, in a mixture with other layers`, async () => {
      const tar = tarOf([{ path: 'base', data: Buffer.from('b') }]);
      const base = { ...blob(layerMediaType.gzip, gzipSync(tar)), diffId: sha256(tar) };
      const upper = write([{ path: 'etc/.wh.passwd' }, { path: '.wh.base' }]);
      const { list, open: read } = open(base, write(FILES), upper);
      const { tree, isRead } = await list();
      assert.equal(isRead, false);
      assert.equal(tree.find('base', false), undefined);
      assert.equal(tree.find('etc/passwd', false), undefined);
      assert.deepEqual(describe(tree), describe((await read()).tree));
    });

    test(`${kind}: never makes an archive of the table`, async () => {
      const layer = write(FILES);
      const [name = '', digest = ''] =
        Object.entries(layer.descriptor.annotations ?? {}).find(([, text]) => text.startsWith('sha256:')) ??
        [];
      assert.ok(name);
      const { list, open: read, image } = open(layer);
      await list();
      for (const diffId of [digest, `toc ${digest}`])
        await assert.rejects(read({ ...image, diffIds: [diffId] }), { code: 'layer-invalid' }, diffId);
    });

    test(`${kind}: a table counts toward the bytes that may be read on demand`, async () => {
      const { list, reads } = open(write(FILES));
      await assert.rejects(list(undefined, { onDemand: 10 }), { code: 'contents-unread' });
      assert.deepEqual(reads, []);
    });

    test(`${kind}: reads the tables of at most 128 layers for an image`, async () => {
      const damage: ChangeToc = () => [{ type: 'reg' }];
      const layers = Array.from({ length: 300 }, (_, at) => write([{ path: `${at}` }], damage));
      const { list, reads } = open(...layers);
      await list();
      const parts = reads.filter(({ start }) => start > 0);
      assert.equal(parts.length, 128 * (kind === 'eStargz' ? 2 : 1));
    });

    const unusable: Readonly<Record<string, ChangeToc>> = {
      'a name that was not UTF-8': (entries) => [...entries, { name: 'a\ufffd', type: 'reg', mode: 0 }],
      'a name with a zero byte': (entries) => [...entries, { name: 'a\0', type: 'reg', mode: 0 }],
      'an entry without a name': (entries) => [...entries, { type: 'reg', mode: 0 }],
      'an unknown type': (entries) => [...entries, { name: 'a', type: 'door' }],
      'a negative size': (entries) => [...entries, { name: 'a', type: 'reg', size: -1 }],
      'a large owner': (entries) => [...entries, { name: 'a', type: 'reg', uid: 2 ** 32 }],
      'a malformed time': (entries) => [...entries, { name: 'a', type: 'reg', modtime: 'now' }],
      'too many entries': () => Array.from({ length: 1001 }, (_, at) => ({ name: `${at}`, type: 'reg' })),
      'an entry that is a list': (entries) => [...entries, [] as never],
      'an entry that is a text': (entries) => [...entries, '{' as never],
    };
    for (const [what, change] of Object.entries(unusable))
      test(`${kind}: reads the layer in place of a table with ${what}`, async () => {
        const { list, reads } = open(write(FILES, change));
        const { tree, isRead } = await list();
        assert.equal(isRead, true);
        assert.ok(tree.find('etc/passwd', false));
        const count = reads.length;
        await list();
        assert.equal(reads.length, count);
      });

    test(`${kind}: reads the layer if the digest of the table is another one, or ranges cannot be read`, async () => {
      const layer = write(FILES);
      const annotations = Object.fromEntries(
        Object.entries(layer.descriptor.annotations ?? {}).map(([key, text]) => [
          key,
          text.startsWith('sha256:') ? `sha256:${'0'.repeat(64)}` : text,
        ]),
      );
      const other = open({ ...layer, descriptor: { ...layer.descriptor, annotations } });
      assert.equal((await other.list()).isRead, true);
      const { list, image } = open(layer);
      const { read } = image.blobs;
      assert.equal((await list({ ...image, blobs: { read } })).isRead, true);
    });
  }

  test('the annotations of Podman before 4.4 count as well', async () => {
    const layer = zstdChunkedLayer(FILES);
    const annotations = Object.fromEntries(
      Object.entries(layer.descriptor.annotations ?? {}).map(([key, text]) => [
        key.replace('io.github.', 'io.'),
        text,
      ]),
    );
    const { list } = open({ ...layer, descriptor: { ...layer.descriptor, annotations } });
    assert.equal((await list()).isRead, false);
  });

  test('positions outside of the layer are not read', async () => {
    const layer = zstdChunkedLayer(FILES);
    for (const position of ['0:99999999:5:1', '-1:5:5:1', '5:0:0:1', '5:5:5:2', '1e3:5:5:1', '']) {
      const annotations = {
        ...layer.descriptor.annotations,
        'io.github.containers.zstd-chunked.manifest-position': position,
      };
      const { list, reads } = open({ ...layer, descriptor: { ...layer.descriptor, annotations } });
      assert.equal((await list()).isRead, true, position);
      assert.equal(reads.length, 1, position);
    }
  });

  test('damaged layers are refused or listed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.values(WRITERS)),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        async (write, changes) => {
          const layer = write(FILES);
          const bytes = Buffer.from(layer.content as Uint8Array);
          for (const [at, byte] of changes)
            bytes[bytes.length - 1 - (at % Math.min(bytes.length, 900))] = byte;
          const { list } = open({ ...layer, content: bytes });
          try {
            const { tree } = await list();
            assert.ok(tree.find('etc/passwd', false));
          } catch (error) {
            assert.equal((error as ServiceError).code, 'layer-invalid', String(error));
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});
