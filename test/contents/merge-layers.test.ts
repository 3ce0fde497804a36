import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { UnusableLayer } from '../../src/contents/merge-layers.ts';
import { listing, treeOf, type Written } from './layers.ts';

const file = (path: string, text = path): Written => ({ path, data: Buffer.from(text) });
const folder = (path: string, mode = 0o755): Written => ({ path, type: 'directory', mode });
const symlink = (path: string, link: string): Written => ({ path, type: 'symlink', link });
const hardlink = (path: string, link: string): Written => ({ path, type: 'hardlink', link });
/** A directory whose path has 3839 bytes. */
const LONG = Array.from({ length: 15 }, () => 'n'.repeat(255)).join('/');

/** The names in the order in which they are sent, grouped by the file that they name. */
function groups(tree: ReturnType<typeof treeOf>): string[][] {
  const found = new Map<number, string[]>();
  for (const node of tree.files()) {
    const own = found.get(tree.dataIndex(node)) ?? [];
    found.set(tree.dataIndex(node), [...own, tree.path(node)]);
  }
  return [...found.values()];
}

suite('merging layers', () => {
  test('a later layer adds, replaces, and keeps files', () => {
    const tree = treeOf([folder('a'), file('a/x'), file('a/y')], [file('a/y', 'new'), file('b/c/z')]);
    assert.deepEqual(listing(tree), {
      a: 'directory 0',
      'a/x': 'file 0',
      'a/y': 'file 1',
      b: 'directory 0',
      'b/c': 'directory 0',
      'b/c/z': 'file 1',
    });
  });

  test('a whiteout hides a file, a directory, and nothing', () => {
    const tree = treeOf(
      [file('a/x'), file('b/y'), file('c')],
      [file('a/.wh.x'), file('.wh.b'), file('.wh.none')],
    );
    assert.deepEqual(listing(tree), { a: 'directory 0', c: 'file 0' });
  });

  test('a whiteout spares what its own layer adds, before or after it', () => {
    const base = [file('d/old'), file('e/old')];
    const tree = treeOf(base, [file('d/new'), file('.wh.d'), file('.wh.e'), file('e/new')]);
    assert.deepEqual(Object.keys(listing(tree)), ['d', 'd/new', 'e', 'e/new']);
  });

  test('an opaque directory hides what is below it in lower layers only', () => {
    const base = [folder('d', 0o700), file('d/old'), file('d/sub/old')];
    for (const upper of [
      [file('d/new'), file('d/sub/new'), file('d/.wh..wh..opq')],
      [file('d/.wh..wh..opq'), file('d/new'), file('d/sub/new')],
    ]) {
      const tree = treeOf(base, upper);
      assert.deepEqual(Object.keys(listing(tree)), ['d', 'd/new', 'd/sub', 'd/sub/new']);
      assert.equal(tree.file(tree.find('d', false) ?? -1).mode, 0o700);
    }
  });

  test('an opaque root hides all lower layers', () => {
    assert.deepEqual(Object.keys(listing(treeOf([file('old')], [file('.wh..wh..opq'), file('new')]))), [
      'new',
    ]);
  });

  test('a directory that is removed and made again does not show its old files', () => {
    const tree = treeOf([file('d/one')], [file('.wh.d')], [file('d/three')]);
    assert.deepEqual(listing(tree), { d: 'directory 0', 'd/three': 'file 2' });
  });

  test('counts the files that each layer adds and replaces, each once, without directories', () => {
    const { changes } = treeOf(
      [folder('d'), file('d/x'), file('d/y'), hardlink('z', 'd/x'), file('d/x')],
      [folder('d'), file('d/y'), file('d/y'), symlink('z', 'd'), file('new'), file('d/.wh.x')],
      [file('d/x'), hardlink('new', 'd/y')],
    );
    assert.deepEqual(changes, [
      { added: 3, changed: 0 },
      { added: 1, changed: 2 },
      { added: 1, changed: 1 },
    ]);
  });

  test('types replace each other', () => {
    const tree = treeOf(
      [file('a/below'), file('b'), symlink('c', 'a'), folder('d'), file('d/below')],
      [file('a'), folder('b'), folder('c'), symlink('d', 'b')],
    );
    const expected = { a: 'file 1', b: 'directory 1', c: 'directory 1', d: 'symlink 1 -> b' };
    assert.deepEqual(listing(tree), expected);
  });

  test('the latest metadata of a directory counts, and its files stay', () => {
    const tree = treeOf([folder('a', 0o700), file('a/x')], [folder('a', 0o1777)]);
    assert.equal(tree.file(tree.find('a', false) ?? -1).mode, 0o1777);
    assert.ok(tree.find('a/x', false) !== undefined);
  });

  test('the last of two entries with one path counts', () => {
    const tree = treeOf([file('a', 'first'), file('a', 'second!'), file('b'), symlink('b', 'a')]);
    assert.equal(tree.file(tree.find('a', false) ?? -1).size, 7);
    assert.equal(listing(tree).b, 'symlink 0 -> a');
    assert.equal(tree.files().length, 2);
  });

  test('paths are relative to the root, however they are written', () => {
    const names = ['./a', '/b', '//c//d', 'e/../f', '../g', '/../../h', './i/.', 'j/'];
    const tree = treeOf(names.map((name) => (/[./]$/.test(name) ? folder(name) : file(name))));
    assert.deepEqual(Object.keys(listing(tree)), ['a', 'b', 'c', 'c/d', 'f', 'g', 'h', 'i', 'j']);
  });

  test('names need not be UTF-8', () => {
    assert.deepEqual(Object.keys(listing(treeOf([file('caf\xe9')], [file('caf\xc3\xa9')]))), [
      'caf\xc3\xa9',
      'caf\xe9',
    ]);
  });

  test('metadata of the root is that of its last entry', () => {
    assert.equal(treeOf([folder('.', 0o700)], [folder('./', 0o711)]).file(0).mode, 0o711);
  });

  test('hard links keep the file that they named when it is replaced later', () => {
    const tree = treeOf(
      [file('t2', 'old'), hardlink('t1', 't2'), hardlink('t3', 't2')],
      [file('t1', 'longer'), file('.wh.t2')],
    );
    assert.equal(tree.file(tree.find('t3', false) ?? -1).size, 3);
    assert.equal(tree.file(tree.find('t1', false) ?? -1).size, 6);
    assert.deepEqual(groups(tree), [['t3'], ['t1']]);
  });

  test('hard links name files of lower layers, symbolic links, and hard links', () => {
    const tree = treeOf(
      [file('a'), symlink('s', 'a')],
      [hardlink('b', '/a'), hardlink('c', './b'), hardlink('t', 's'), hardlink('d/e', 's/../c')],
    );
    assert.deepEqual(groups(tree), [
      ['a', 'b', 'c', 'd/e'],
      ['s', 't'],
    ]);
    assert.equal(listing(tree).t, 'symlink 1 -> a');
  });

  test('hard links name files that AUFS hid', () => {
    const tree = treeOf([
      file('.wh..wh.plnk/1.2', 'text'),
      hardlink('a', '.wh..wh.plnk/1.2'),
      file('.wh..wh.aufs'),
    ]);
    assert.deepEqual(listing(tree), { a: 'file 0' });
    assert.equal(tree.file(tree.find('a', false) ?? -1).size, 4);
  });

  test('entries below a symbolic link of their layer are where it points', () => {
    const tree = treeOf(
      [file('usr/lib/old')],
      [symlink('lib', 'usr/lib'), file('lib/new'), symlink('x', '/../usr'), file('x/../y/z')],
    );
    assert.deepEqual(Object.keys(listing(tree)), [
      'lib',
      'usr',
      'usr/lib',
      'usr/lib/new',
      'usr/lib/old',
      'x',
      'y',
      'y/z',
    ]);
  });

  test('a symbolic link of a lower layer becomes a directory for entries below it, as in overlayfs', () => {
    const tree = treeOf([file('usr/lib/a'), symlink('lib', 'usr/lib')], [file('lib/b')]);
    assert.deepEqual(Object.keys(listing(tree)), ['lib', 'lib/b', 'usr', 'usr/lib', 'usr/lib/a']);
  });

  test('accepts a path of 4095 bytes, also through a symbolic link', () => {
    const tree = treeOf([symlink('s', LONG), file(`s/${'m'.repeat(255)}`)]);
    assert.equal(Math.max(...Object.keys(listing(tree)).map(({ length }) => length)), 4095);
  });

  test('tells which nodes are below a directory', () => {
    const tree = treeOf([file('a/b/c/d'), file('ab/x'), file('a/b2')], [file('a/b/e'), file('a/.wh.b2')]);
    const below = tree.below(tree.find('a/b', false) ?? -1);
    const paths = (nodes: Int32Array): string[] => [...nodes.filter(below)].map(tree.path);
    assert.deepEqual(paths(tree.directories()), ['a/b/c']);
    assert.deepEqual(paths(tree.files()), ['a/b/c/d', 'a/b/e']);
    assert.ok(tree.directories().every(tree.below(0)));
  });

  const refused: Readonly<Record<string, readonly Written[]>> = {
    'a hard link without its target': [hardlink('a', 'none')],
    'a hard link to itself': [file('a'), hardlink('a', 'a')],
    'a hard link to a directory': [folder('a'), hardlink('b', 'a')],
    'an entry below a file': [file('a'), file('a/b')],
    'an entry below a link that goes in circles': [symlink('a', 'b'), symlink('b', 'a'), file('a/x')],
    'a whiteout of its own directory': [file('a/.wh.')],
    'a whiteout of the directory above': [file('a/.wh...')],
    'a root that is a file': [file('.')],
    'a name of 256 bytes': [file('n'.repeat(256))],
    'a path of 4096 bytes behind a symbolic link': [symlink('s', LONG), file(`s/${'m'.repeat(254)}/x`)],
    'a directory of 4096 bytes that an entry implies': [symlink('s', LONG), file(`s/${'m'.repeat(254)}/x/y`)],
  };
  for (const [what, entries] of Object.entries(refused))
    test(`refuses ${what}, and names the layer`, () => {
      assert.throws(
        () => treeOf([file('fine')], entries),
        (error) => error instanceof UnusableLayer && error.layer === 1,
      );
    });

  test('shows what overlayfs shows of the layers, for any files, whiteouts, and opaque directories', () => {
    const names = fc.constantFrom('a', 'b', 'c');
    const path = fc.array(names, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
    const within = (path: string, name: string): string => path.replace(/[^/]+$/, name);
    const entry = fc.oneof(
      path.map((at) => file(at)),
      path.map((at) => folder(at)),
      path.map((at) => file(within(at, `.wh.${at.at(-1)}`))),
      path.map((at) => file(`${at}/.wh..wh..opq`)),
    );
    const layer = fc.array(entry, { maxLength: 8 }).filter((entries) => overlay([entries]) !== undefined);
    fc.assert(
      fc.property(fc.array(layer, { minLength: 1, maxLength: 4 }), (layers) => {
        const types = Object.entries(listing(treeOf(...layers))).map(([at, text]) => [
          at,
          text.split(' ')[0],
        ]);
        assert.deepEqual(Object.fromEntries(types), overlay(layers));
      }),
      { numRuns: 3000 },
    );
  });

  test('finds paths by the links within them, up to 40', () => {
    const tree = treeOf([
      file('usr/bin/sh'),
      symlink('bin', 'usr/bin'),
      symlink('abs', '/../bin/sh'),
      symlink('loop', 'loop'),
      symlink('up', '../../usr'),
    ]);
    const found = (path: string, follow: boolean): string | undefined => {
      const node = tree.find(path, follow);
      return node === undefined ? undefined : tree.path(node);
    };
    assert.equal(found('/bin/sh', false), 'usr/bin/sh');
    assert.equal(found('abs', false), 'abs');
    assert.equal(found('abs', true), 'usr/bin/sh');
    assert.equal(found('up/bin/../bin/sh', true), 'usr/bin/sh');
    assert.equal(found('loop', true), undefined);
    assert.equal(found('loop', false), 'loop');
    assert.equal(found('usr/bin/sh/x', true), undefined);
    assert.equal(found('', true), '');
  });

  test('lists each directory after its parent', () => {
    const tree = treeOf([file('a/b/c/d')], [file('.wh.a'), file('z')], [file('a/c/d'), folder('a/b')]);
    const paths = [...tree.directories()].map((node) => tree.path(node));
    assert.deepEqual([...paths].sort(), ['a', 'a/b', 'a/c']);
    assert.equal(paths[0], 'a');
  });
});

/** One layer as overlayfs stores it: files, directories, and what they hide. */
interface Upper {
  readonly types: Map<string, string>;
  readonly whiteouts: Set<string>;
  readonly opaque: Set<string>;
}

/** Merges layers by another algorithm: unpacks each to a separate folder, then overlays the folders. */
function overlay(layers: readonly (readonly Written[])[]): Record<string, string> | undefined {
  let merged = new Map<string, string>();
  for (const entries of layers) {
    const upper = unpack(entries);
    if (upper === undefined) return undefined;
    const isHidden = (path: string): boolean => {
      const parts = path.split('/');
      return parts.some((_, at) => {
        const prefix = parts.slice(0, at + 1).join('/');
        const parent = parts.slice(0, at).join('/');
        const type = upper.types.get(prefix);
        const isReplaced = at < parts.length - 1 && type !== undefined && type !== 'directory';
        return upper.whiteouts.has(prefix) || upper.opaque.has(parent) || isReplaced;
      });
    };
    const isBelowFile = (path: string): boolean => {
      const parts = path.split('/');
      return parts.some(
        (_, at) =>
          at > 0 &&
          upper.types.get(parts.slice(0, at).join('/')) === 'directory' &&
          merged.get(parts.slice(0, at).join('/')) === 'file',
      );
    };
    const kept = [...merged].filter(([path]) => !isHidden(path) && !isBelowFile(path));
    merged = new Map([...kept, ...upper.types]);
  }
  return Object.fromEntries([...merged].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** @returns undefined if engines refuse the layer or differ on it */
function unpack(entries: readonly Written[]): Upper | undefined {
  const upper: Upper = { types: new Map(), whiteouts: new Set(), opaque: new Set() };
  for (const { path, type = 'file' } of entries) {
    const parts = path.split('/');
    for (let at = 1; at < parts.length; at++) {
      const parent = parts.slice(0, at).join('/');
      if (upper.types.get(parent) === 'file') return undefined;
      upper.types.set(parent, 'directory');
    }
    const name = parts.at(-1) ?? '';
    const parent = parts.slice(0, -1).join('/');
    if (name === '.wh..wh..opq') upper.opaque.add(parent);
    else if (name.startsWith('.wh.')) upper.whiteouts.add([...parts.slice(0, -1), name.slice(4)].join('/'));
    else {
      // Engines differ on two types of one path in one layer.
      if ((upper.types.get(path) ?? type) !== type) return undefined;
      upper.types.set(path, type);
    }
  }
  return upper;
}
