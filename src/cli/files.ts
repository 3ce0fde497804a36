import { UsageError } from '../config/loader.ts';
import type { FileTree } from '../contents/file-tree.ts';
import { nodeAt, openImageFile } from '../download/image-file.ts';
import { familiarReference } from '../oci/reference.ts';
import type { FilesRequest, ImageFiles } from '../sources/contents/image-files.ts';
import type { LayerProgress } from '../sources/image-source.ts';
import { inSlices } from '../util/in-slices.ts';
import { printableLine } from '../util/printable.ts';
import type { FilesArguments } from './files-arguments.ts';
import { sendAll, type Terminal } from './save.ts';
import { fillFiles, openTarget, textOnly } from './save-target.ts';
import { showPreparation } from './transfer-progress.ts';

const TYPE_LETTERS = {
  file: '-',
  directory: 'd',
  symlink: 'l',
  character: 'c',
  block: 'b',
  fifo: 'p',
} as const;
const PERMISSIONS = 'rwxrwxrwx';
/** setuid, setgid, and the sticky bit, with the place and the letter of each. */
const SPECIAL_BITS = [
  [0o4000, 2, 's'],
  [0o2000, 5, 's'],
  [0o1000, 8, 't'],
] as const;
const SIZE_WIDTH = 11;
const LINES = 1000;

/**
 * Lists a directory of an image, or one file, as `tar tv` does.
 *
 * @param what the request; its path has one Latin-1 character for each byte
 * @throws ServiceError if the image or the path does not exist, or a layer cannot be read
 */
export async function listFiles(
  what: FilesArguments,
  files: ImageFiles,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const listed = await withProgress(what, terminal, (request) => files.list(request, signal));
  const { tree } = listed.image;
  const top = nodeAt(listed, what.path);
  const nodes = tree.file(top).type === 'directory' ? below(tree, top, what.isRecursive, signal) : [top];
  const target = await openTarget({ name: what.path, kind: 'stdout', exists: false }, terminal.stdout);
  let lines: string[] = [];
  const write = async (): Promise<void> => {
    await target.write([Buffer.from(lines.join(''), 'latin1')]);
    lines = [];
  };
  for await (const node of nodes) {
    const line = describe(tree, node);
    lines.push(`${terminal.stdout.isTTY ? harmless(line) : line}\n`);
    if (lines.length === LINES) await write();
  }
  await write();
}

/**
 * Writes a file of an image to stdout, or a directory as a tar archive.
 *
 * @throws ServiceError as {@link listFiles} does; UsageError for an archive or binary data on a terminal
 */
export async function printFile(
  what: FilesArguments,
  files: ImageFiles,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const opened = await withProgress(what, terminal, (request) => files.open(request, signal));
  const file = await openImageFile(opened, what.path, signal);
  if (terminal.stdout.isTTY && file.contentType === undefined)
    throw new UsageError(['Refusing to write a tar archive to the terminal. Use a pipe, or > FILE.']);
  const stream = file.read(undefined, signal);
  const saved = { name: what.path, size: file.size, number: undefined };
  const sink = fillFiles([saved], async () => {
    const target = await openTarget({ name: what.path, kind: 'stdout', exists: false }, terminal.stdout);
    return terminal.stdout.isTTY ? textOnly(target) : target;
  });
  try {
    await sendAll(stream, sink, () => {});
  } finally {
    stream.destroy();
  }
}

/** Shows the progress of layers that are read while work runs. */
async function withProgress<T>(
  { reference, platform }: FilesArguments,
  { screen }: Terminal,
  work: (request: FilesRequest) => Promise<T>,
): Promise<T> {
  const image = familiarReference(reference);
  const preparation = showPreparation(screen, [image]);
  const reading = {
    onProgress: (layers: readonly LayerProgress[]) => preparation.report({ stage: 'reading', image, layers }),
  };
  return work({ reference, platform, reading }).finally(preparation.stop);
}

async function* below(
  tree: FileTree,
  directory: number,
  isRecursive: boolean,
  signal: AbortSignal,
): AsyncGenerator<number, void> {
  for (const child of await inSlices(tree.children(directory), signal)) {
    yield child;
    if (isRecursive && tree.file(child).type === 'directory') yield* below(tree, child, isRecursive, signal);
  }
}

/** Describes a file as bytes in Latin-1: `-rwxr-xr-x 0/0     1180648 2026-01-01 00:00 /bin/busybox`. */
function describe(tree: FileTree, node: number): string {
  const { type, mode, uid, gid, size, mtime, link, device } = tree.file(node);
  const isDevice = type === 'character' || type === 'block';
  const amount = (isDevice ? device.join(',') : `${size}`).padStart(SIZE_WIDTH);
  const time = new Date(mtime * 1000).toISOString().slice(0, 16).replace('T', ' ');
  const target = type === 'symlink' ? ` -> ${link}` : '';
  return `${TYPE_LETTERS[type]}${permissions(mode)} ${uid}/${gid} ${amount} ${time} /${tree.path(node)}${target}`;
}

function permissions(mode: number): string {
  const letters = [...PERMISSIONS].map((letter, at) => ((mode >> (8 - at)) & 1 ? letter : '-'));
  for (const [bit, at, letter] of SPECIAL_BITS)
    if ((mode & bit) !== 0) letters[at] = letters[at] === 'x' ? letter : letter.toUpperCase();
  return letters.join('');
}

/** Replaces characters of a UTF-8 line, each byte of which is a Latin-1 character here, that could control a terminal. */
function harmless(line: string): string {
  return Buffer.from(printableLine(Buffer.from(line, 'latin1').toString())).toString('latin1');
}
