import type { FileTree } from '../../src/contents/file-tree.ts';
import { createLayerTable, type LayerTable } from '../../src/contents/layer-table.ts';
import { mergeLayers } from '../../src/contents/merge-layers.ts';
import { entryHeader, type WrittenEntry } from '../../src/tar/entry-header.ts';
import { createTarScanner, type ScannedEntry } from '../../src/tar/scanner.ts';

/** An entry of a layer in tests: a path, and the properties that differ from the defaults. */
export type Written = Partial<Omit<WrittenEntry, 'path'>> & { readonly path: string; readonly data?: Buffer };

const USUAL = {
  ...{ type: 'file', link: '', mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0, nanoseconds: 0 },
  ...{ device: [0, 0], xattrs: [] },
} as const satisfies Omit<WrittenEntry, 'path'>;

/** Writes the tar archive of a layer. */
export function tarOf(entries: readonly Written[]): Buffer {
  const parts = entries.flatMap(({ data = Buffer.alloc(0), ...entry }) => [
    entryHeader({ ...USUAL, size: data.length, ...entry }),
    data,
    Buffer.alloc(padding(data.length)),
  ]);
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

/** Returns the number of zeros after the data of a file. */
export function padding(size: number): number {
  return (512 - (size % 512)) % 512;
}

export function scanAll(tar: Buffer, chunk = tar.length): ScannedEntry[] {
  const found: ScannedEntry[] = [];
  const scanner = createTarScanner((entry) => found.push(entry));
  for (let at = 0; at < tar.length; at += chunk) scanner.push(tar.subarray(at, at + chunk));
  scanner.end();
  return found;
}

/** Makes the table of a tar archive. */
export function tableOf(tar: Buffer): LayerTable {
  const builder = createLayerTable();
  for (const entry of scanAll(tar)) builder.add(entry);
  return builder.done(tar.length);
}

/** Runs a generator to its end. */
export function finish<T>(steps: Generator<void, T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

export function treeOf(...layers: readonly (readonly Written[])[]): FileTree {
  return finish(mergeLayers(layers.map((entries) => tableOf(tarOf(entries)))));
}

/** Lists the paths of a tree with their types and, for names of one file, the entry that all of them share. */
export function listing(tree: FileTree): Record<string, string> {
  const found: [string, string][] = [];
  const walk = (node: number): void => {
    for (const child of finish(tree.children(node))) {
      const { type, layer, link } = tree.file(child);
      const target = type === 'symlink' ? ` -> ${link}` : '';
      found.push([tree.path(child), `${type} ${layer}${target}`]);
      if (type === 'directory') walk(child);
    }
  };
  walk(0);
  return Object.fromEntries(found);
}
