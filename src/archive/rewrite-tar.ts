import { tarHeader, tarPadding } from './tar.ts';
import { walkTar } from './walk-tar.ts';

/** Bytes; larger files are never rewritten. */
const LARGEST = 4 * 1024 * 1024;

/** New content for a file of the archive; undefined leaves it as it is. */
export type Rewrite = (name: string, content: Buffer) => Uint8Array | undefined;

/**
 * Streams a tar archive from any writer, and replaces the content of some of its small files.
 *
 * @param names the files that `rewrite` may rewrite
 */
export async function* rewriteTar(
  chunks: AsyncIterable<Buffer>,
  names: ReadonlySet<string>,
  rewrite: Rewrite,
): AsyncGenerator<Uint8Array, void> {
  for await (const { entry, header, take, pass } of walkTar(chunks)) {
    if (entry?.type !== 'file' || !names.has(entry.name) || entry.size > LARGEST) {
      yield header;
      yield* pass();
      continue;
    }
    const content = await take();
    const isWhole = content.length === entry.size + tarPadding(entry.size).length;
    const other = isWhole ? rewrite(entry.name, content.subarray(0, entry.size)) : undefined;
    if (other === undefined) yield* [header, content];
    else yield* [tarHeader(entry.name, other.length), other, tarPadding(other.length)];
  }
}
