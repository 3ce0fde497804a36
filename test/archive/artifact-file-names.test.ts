import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { fileNames, type NamedFile } from '../../src/archive/artifact-file-names.ts';
import { parseDigest } from '../../src/oci/digest.ts';

const digest = parseDigest(`sha256:${'0123456789abcdef'.repeat(4)}`);
const HEX = digest.slice(7);

function file(title: string | undefined, more: Partial<NamedFile> = {}): NamedFile {
  return { title, mediaType: 'application/octet-stream', digest, isFolder: false, ...more };
}

const nameOf = (title: string | undefined, more?: Partial<NamedFile>) => fileNames([file(title, more)])[0];

suite('names of files', () => {
  const kept = [
    'values.yaml',
    'docs/read me.md',
    'naïve 名前.txt',
    "it's.txt",
    'a/.gitignore',
    'v1.2+3',
    'a..b',
  ];
  for (const title of kept) test(`keeps ${title}`, () => assert.equal(nameOf(title), title));

  const changed: [title: string, name: string][] = [
    ['/etc/passwd', 'etc/passwd'],
    ['../../x', 'x'],
    ['a/../b', 'a/b'],
    ['a//b/', 'a/b'],
    ['C:\\Windows\\x.dll', 'C_/Windows/x.dll'],
    ['.bashrc', '_bashrc'],
    ['...rc', '_rc'],
    ['-rf', '_rf'],
    ['~root', '_root'],
    ['con', '_con'],
    ['a/NUL.txt', 'a/_NUL.txt'],
    ['com¹', '_com¹'],
    ['name. ', 'name'],
    ['a\u0000b\nc\u007f', 'a_b_c_'],
    ['\u202egnp.exe', '_gnp.exe'],
    ['a\u2028b', 'a_b'],
    ['\ud800x', '_x'],
    ['bad\ufffdutf', 'bad_utf'],
    ['what?<is>"this"|*', 'what__is__this___'],
    ['e\u0301', '\u00e9'],
  ];
  for (const [title, name] of changed)
    test(`changes ${JSON.stringify(title)} to ${name}`, () => assert.equal(nameOf(title), name));

  for (const title of [undefined, '', '.', '..', '/', './../', ' '])
    test(`names a file after its digest if its title is ${JSON.stringify(title)}`, () =>
      assert.equal(nameOf(title), `sha256-${HEX}.bin`));

  const endings: [mediaType: string, ending: string][] = [
    ['application/vnd.cncf.flux.content.v1.tar+gzip', '.tar.gz'],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip', '.tar.gz'],
    ['application/vnd.oci.image.layer.v1.tar+zstd', '.tar.zst'],
    ['application/vnd.oci.image.layer.v1.tar', '.tar'],
    ['application/spdx+json', '.json'],
    ['application/json; charset=utf-8', '.json'],
    ['application/wasm', '.wasm'],
    ['application/vnd.wasm.content.layer.v1+wasm', '.wasm'],
    ['application/vnd.docker.ai.gguf.v3', '.gguf'],
    ['text/plain', '.txt'],
    ['TEXT/PLAIN', '.txt'],
    ['', '.bin'],
  ];
  for (const [mediaType, ending] of endings)
    test(`chooses ${ending} for ${mediaType || 'no type'}`, () =>
      assert.equal(nameOf(undefined, { mediaType }), `sha256-${HEX}${ending}`));

  test('marks a folder as the tar that it is packed in', () => {
    const folder = { isFolder: true, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' };
    assert.equal(nameOf('assets', folder), 'assets.tar.gz');
    assert.equal(nameOf('assets.tar.gz', folder), 'assets.tar.gz');
    assert.equal(nameOf('assets.tgz', folder), 'assets.tgz');
  });

  test('shortens a long name in its middle', () => {
    const name = nameOf(`${'x'.repeat(300)}.tar.gz`) ?? '';
    assert.equal(name.length, 200);
    assert.match(name, /^x+-[0-9a-f]{12}\.tar\.gz$/);
    assert.ok(Buffer.byteLength(nameOf('名'.repeat(300)) ?? '') <= 200);
  });

  test('distinguishes equal names, also without regard to case, and names that are folders', () => {
    assert.deepEqual(
      fileNames(['a.txt', 'A.TXT', 'a.txt', 'b', 'b/c', 'd/e', 'd'].map((title) => file(title))),
      ['a.txt', 'A-2.TXT', 'a-3.txt', 'b', 'b_c-2', 'd/e', 'd-2'],
    );
  });

  test('names thousands of files with one title in moments', () => {
    const names = fileNames(Array.from({ length: 10_000 }, () => file('a/b')));
    assert.equal(new Set(names).size, 10_000);
  });

  test('are safe, unique, and stay what they are', () => {
    const piece = fc.constantFrom(
      '..',
      '.',
      '/',
      '\\',
      'a',
      'A',
      'CON',
      ':',
      '\0',
      ' ',
      '-',
      'é',
      '名',
      '\ud83d',
    );
    const title = fc.array(fc.oneof(piece, fc.string({ unit: 'binary', maxLength: 8 })), { maxLength: 300 });
    fc.assert(
      fc.property(fc.array(title, { maxLength: 20 }), (titles) => {
        const names = fileNames(titles.map((parts) => file(parts.join(''))));
        assert.equal(new Set(names.map((name) => name.toLowerCase())).size, names.length);
        const all = new Set(names.map((name) => name.toLowerCase()));
        for (const name of names) {
          assert.doesNotMatch(name, /^[/.~-]|[\p{C}<>:"|?*\\]|(?:^|\/)(?:\.{0,2}|[^/]*[. ])(?:\/|$)/u);
          assert.ok(Buffer.byteLength(name) <= 1000);
          for (const part of name.split('/')) assert.ok(part !== '' && Buffer.byteLength(part) <= 204, part);
          for (const { index } of name.matchAll(/\//g))
            assert.ok(!all.has(name.slice(0, index).toLowerCase()));
          assert.equal(nameOf(name), name);
        }
      }),
    );
  });
});
