import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { pack } from 'tar-stream';
import type { StatedPlatform } from '../../../src/oci/platform.ts';
import type { AskedImage } from '../../../src/sources/engine/missing-files.ts';
import { wholeArchive } from '../../../src/sources/engine/whole-archive.ts';

type Files = Record<string, unknown>;

const never = new AbortController().signal;
const hex = (digit: string): string => digit.repeat(64);
const id = (digit: string): string => `sha256:${hex(digit)}`;
const path = (digit: string): string => `blobs/sha256/${hex(digit)}`;
const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64' };
const UNKNOWN = { os: 'unknown', architecture: 'unknown' };
const OCI = 'application/vnd.oci.image';

function asked(digit: string, platform: StatedPlatform = AMD64, ...more: string[]): AskedImage {
  return { ids: [digit, ...more].map(id), platform };
}

function link(target: string): object {
  return { target };
}

/** A tar of files: strings as they are, links, and everything else as JSON. */
async function tarOf(files: Files): Promise<Buffer> {
  const tar = pack();
  for (const [name, content] of Object.entries(files)) {
    if (typeof content === 'string') tar.entry({ name }, content);
    else if (isLink(content)) tar.entry({ name, type: 'symlink', linkname: content.target });
    else tar.entry({ name }, JSON.stringify(content));
  }
  tar.finalize();
  return buffer(tar);
}

function isLink(content: unknown): content is { target: string } {
  return typeof content === 'object' && content !== null && 'target' in content;
}

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Returns the bytes that pass, and the error. */
async function passed(bytes: Buffer, images: AskedImage[], size = 700): Promise<[Buffer, Error | undefined]> {
  const chunks: Buffer[] = [];
  try {
    const stream = wholeArchive(Readable.from(inPieces(bytes, size), { objectMode: false }), images, never);
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    return [Buffer.concat(chunks), undefined];
  } catch (error) {
    return [Buffer.concat(chunks), error as Error];
  }
}

/** Asserts that an archive passes unchanged. */
async function assertWhole(files: Files, ...images: AskedImage[]): Promise<void> {
  const tar = await tarOf(files);
  for (const size of [37, 511, 4096]) {
    const [bytes, error] = await passed(tar, images, size);
    assert.ifError(error);
    assert.deepEqual(bytes, tar);
  }
}

/** Asserts that an archive breaks off before its end, with an error that names a file. */
async function assertLacks(files: Files, why: string | RegExp, ...images: AskedImage[]): Promise<void> {
  const tar = await tarOf(files);
  const [bytes, error] = await passed(tar, images);
  assert.ok(error, 'it passes');
  assert.deepEqual(
    { code: (error as Error & { code: string }).code, status: (error as Error & { status: number }).status },
    { code: 'engine-failed', status: 502 },
  );
  assert.match(error.message, typeof why === 'string' ? new RegExp(why) : why);
  assert.ok(bytes.length <= tar.length - 1024, 'the end of the tar is held back');
}

function without(files: Files, name: string): Files {
  return Object.fromEntries(Object.entries(files).filter(([other]) => other !== name));
}

/** Docker 20.10, and Podman with other names. */
const OLD: Files = {
  [`${hex('c')}.json`]: { config: {}, rootfs: {} },
  'l1/layer.tar': 'one',
  'l2/layer.tar': link('../l1/layer.tar'),
  'manifest.json': [
    { Config: `${hex('c')}.json`, RepoTags: ['a:1'], Layers: ['l1/layer.tar', 'l2/layer.tar'] },
  ],
};

function manifest(config: string, ...layers: string[]): object {
  const blob = (digit: string): object => ({ mediaType: 'x', digest: id(digit), size: 1 });
  return { schemaVersion: 2, config: blob(config), layers: layers.map(blob) };
}

function entry(digit: string, platform?: StatedPlatform): object {
  return { mediaType: `${OCI}.manifest.v1+json`, digest: id(digit), size: 1, platform };
}

/** Docker 25 and later: an image with the config c and the layers 1 and 2. */
const NEW: Files = {
  [path('1')]: 'one',
  [path('2')]: 'two',
  [path('c')]: { config: {}, rootfs: {} },
  [path('d')]: manifest('c', '1', '2'),
  'index.json': { manifests: [entry('d')] },
  'manifest.json': [{ Config: path('c'), RepoTags: ['a:1'], Layers: [path('1'), path('2')] }],
  'oci-layout': { imageLayoutVersion: '1.0.0' },
};

/** The containerd store: an index e, of which only the platform d, with its attestation, was pulled. */
const INDEX: Files = {
  ...NEW,
  [path('e')]: { manifests: [entry('f', ARM64), entry('d', AMD64), entry('9', UNKNOWN)] },
  'index.json': { manifests: [entry('e')] },
};

suite('a saved archive', () => {
  test('from any engine passes unchanged if it has every file that it names', async () => {
    await assertWhole(OLD, asked('c'));
    await assertWhole(NEW, asked('c'));
    await assertWhole(NEW, asked('d'));
    await assertWhole(without(NEW, 'manifest.json'), asked('d'));
  });

  for (const name of [`${hex('c')}.json`, 'l1/layer.tar', 'l2/layer.tar'])
    test(`from Docker 20.10 without ${name.replace(/^c+/, 'the config c')} fails`, () =>
      assertLacks(without(OLD, name), name.replace('l1', 'l[12]'), asked('c')));

  for (const digit of ['1', '2', 'c', 'd'])
    test(`from Docker 25 without the blob ${digit} fails, whichever list names it`, async () => {
      await assertLacks(without(NEW, path(digit)), path(digit), asked('d'));
      await assertLacks(without(without(NEW, path(digit)), 'manifest.json'), path(digit), asked('d'));
    });

  test('fails if only manifest.json names a missing file', async () => {
    const more = [{ Config: path('c'), RepoTags: null, Layers: [path('1'), path('7')] }];
    await assertLacks({ ...NEW, 'manifest.json': more }, path('7'), asked('d'));
  });

  test('names a missing file and counts the others', async () => {
    const tar = await tarOf(without(without(NEW, path('1')), path('2')));
    const [, error] = await passed(tar, [asked('d')]);
    assert.match(error?.message ?? '', /Missing files: 2, such as "blobs\/sha256\/1+"/);
  });

  test('may lack platforms of an index, and attestations, that were not asked for', async () => {
    await assertWhole(INDEX, asked('d', AMD64, 'e'));
    await assertWhole(INDEX, asked('e', AMD64));
    await assertWhole({ ...INDEX, [path('f')]: manifest('7', '8') }, asked('e', AMD64));
    await assertWhole({ ...INDEX, [path('9')]: manifest('7', '8') }, asked('e', AMD64));
  });

  test('may not lack the platform of an index that was asked for', async () => {
    await assertLacks(INDEX, path('f'), asked('e', ARM64));
    await assertLacks({ ...INDEX, [path('f')]: manifest('7', '8') }, path('7'), asked('f', ARM64, 'e'));
    await assertLacks(without(INDEX, path('2')), path('2'), asked('e', AMD64));
    const both = [asked('d', AMD64, 'e'), asked('f', ARM64, 'e')] as const;
    await assertLacks(
      { ...INDEX, 'index.json': { manifests: [entry('e'), entry('e')] } },
      path('f'),
      ...both,
    );
  });

  test('is checked image by image where a bundle has indexes of several platforms', async () => {
    const files = {
      ...INDEX,
      [path('a')]: { manifests: [entry('b', ARM64), entry('6', AMD64)] },
      [path('b')]: manifest('c', '1'),
      'index.json': { manifests: [entry('e'), entry('a')] },
    };
    const images = [asked('d', AMD64, 'e'), asked('b', ARM64, 'a')] as const;
    await assertWhole(files, ...images);
    await assertLacks(without(files, path('b')), path('b'), ...images);
  });

  test('has the platform in an index within the index, or without a stated platform', async () => {
    const nested = { manifests: [entry('d', AMD64)] };
    const files = {
      ...NEW,
      [path('e')]: { manifests: [entry('5'), entry('f', ARM64)] },
      'index.json': { manifests: [entry('e')] },
    };
    await assertWhole({ ...files, [path('5')]: nested }, asked('e'));
    await assertLacks(without({ ...files, [path('5')]: nested }, path('d')), path('d'), asked('e'));
    await assertWhole({ ...files, [path('5')]: manifest('c', '1') }, asked('e'));
    await assertLacks({ ...files, [path('5')]: manifest('c', '7') }, path('7'), asked('e'));
    await assertLacks({ ...files, [path('5')]: { manifests: [entry('e')] } }, path('f'), asked('e'));
  });

  test('with one of two images for the same platform is whole', async () => {
    const twice = { manifests: [entry('7', AMD64), entry('d', AMD64)] };
    await assertWhole({ ...INDEX, [path('e')]: twice }, asked('e'));
    await assertLacks({ ...INDEX, [path('e')]: twice }, path('7'), asked('7', AMD64, 'e'));
  });

  test('with fewer images than were asked for, or none, fails', async () => {
    await assertLacks(NEW, /saved 1 of 2 images/, asked('d'), asked('b'));
    await assertLacks(
      { ...NEW, 'index.json': { manifests: null }, 'manifest.json': [] },
      /0 of 1/,
      asked('d'),
    );
    await assertLacks({ a: 'b' }, /0 of 1/, asked('d'));
    await assertLacks({ ...INDEX, [path('e')]: { manifests: [] } }, /no images/, asked('e'));
    await assertWhole(NEW, asked('d'), asked('d'));
  });

  test('with lists that cannot be read fails', async () => {
    for (const name of ['index.json', 'manifest.json']) {
      await assertLacks({ ...NEW, [name]: '{' }, `${name} that cannot be read`, asked('d'));
      await assertLacks({ ...NEW, [name]: 'x'.repeat(4 * 2 ** 20 + 1) }, `${name} of more than`, asked('d'));
    }
    await assertLacks({ ...NEW, [path('d')]: 'x' }, 'not a manifest', asked('d'));
    await assertLacks(
      { ...NEW, [path('d')]: { padding: 'x'.repeat(2 ** 20) } },
      'not a manifest',
      asked('d'),
    );
  });

  test('that names too many files fails', async () => {
    const layers = Array.from({ length: 40_000 }, (_, at) => ({ digest: `x:${`${at}`.padStart(60, '0')}` }));
    const list = { schemaVersion: 2, config: { digest: 'x:y' }, layers };
    const lists = Array.from({ length: 8 }, (_, at) => [`blobs/sha256/${at}`, list]);
    const tar = await tarOf({ ...Object.fromEntries(lists), ...NEW });
    const [, error] = await passed(tar, [asked('d')], 2 ** 16);
    assert.match(error?.message ?? '', /more files than/);
  });

  test('with a link that points to itself lacks that file', async () => {
    const circle = { ...OLD, 'l1/layer.tar': link('../l2/layer.tar') };
    await assertLacks(circle, 'l1/layer.tar', asked('c'));
  });

  test('that the engine breaks off fails with what the engine says', async () => {
    const tar = await tarOf(NEW);
    const broken = async function* (): AsyncGenerator<Buffer, void> {
      yield tar.subarray(0, 2000);
      throw new Error('the engine said so');
    };
    const stream = wholeArchive(Readable.from(broken(), { objectMode: false }), [asked('d')], never);
    await assert.rejects(buffer(stream), /the engine said so/);
    const atTheEnd = async function* (): AsyncGenerator<Buffer, void> {
      yield await tarOf({});
      throw new Error('the engine said so');
    };
    const ended = wholeArchive(Readable.from(atTheEnd(), { objectMode: false }), [asked('d')], never);
    await assert.rejects(buffer(ended), /the engine said so/);
  });
});
