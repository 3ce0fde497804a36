import { createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { CommandError, ReaderGoneError } from './command-error.ts';

/** Where an archive is saved. */
export interface Place {
  /** As people are told: a path, or the archive's name where it goes to stdout. */
  readonly name: string;
  readonly kind: 'file' | 'device' | 'stdout';
}

/** What a file is written to. */
export interface Target {
  readonly sink: Writable;
  /** Whether it ends with the file. */
  readonly isOurs: boolean;
  commit(): Promise<void>;
  discard(): Promise<void>;
}

/** @param output a file, a folder, or `-` for stdout; undefined: the archive's own name, here */
export async function findPlace(output: string | undefined, filename: string): Promise<Place> {
  if (output === '-') return { name: filename, kind: 'stdout' };
  const named = output ?? filename;
  const found = await stat(named).catch(() => undefined);
  if (found?.isDirectory()) return { name: join(named, filename), kind: 'file' };
  // A device or a pipe must not be replaced by a file.
  return { name: named, kind: found === undefined || found.isFile() ? 'file' : 'device' };
}

/** What the operating system says where it takes no more. */
const WRITING = new Set(['open', 'write', 'writev', 'close', 'rename']);

/** Makes a sentence of what the operating system says when something cannot be written; any other error stays as it is. */
export function explainWriting(name: string, error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error) || !WRITING.has(`${error.syscall}`)) return error;
  if ('code' in error && error.code === 'EPIPE') return new ReaderGoneError(error.message, { cause: error });
  return new CommandError(`${name} cannot be written: ${error.message}.`, { cause: error });
}

/** Opens it; a file gets its name when it is committed. @throws CommandError why it cannot be written */
export async function openTarget({ name, kind }: Place, stdout: Writable): Promise<Target> {
  const nothing = async (): Promise<void> => {};
  if (kind === 'stdout') return { sink: stdout, isOurs: false, commit: nothing, discard: nothing };
  const written = kind === 'device' ? name : `${name}.part`;
  const sink = createWriteStream(written);
  await new Promise<void>((resolve, reject) => {
    sink.once('open', () => resolve());
    sink.once('error', (error) => reject(explainWriting(name, error)));
  });
  if (kind === 'device') return { sink, isOurs: true, commit: nothing, discard: nothing };
  return {
    sink,
    isOurs: true,
    commit: () => rename(written, name),
    discard: () => rm(written, { force: true }),
  };
}
