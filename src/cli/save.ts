import { createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Config } from '../config/schema.ts';
import { archiveNotices } from '../http/notices.ts';
import { createGuard, type Guard } from '../net/guard.ts';
import type { Reference } from '../oci/reference.ts';
import { registryOrigin } from '../registry/client.ts';
import type { Archive, ImageSource, LiveArchive } from '../sources/image-source.ts';
import { CommandError } from './command-error.ts';
import { formatBytes, progressLine } from './progress-line.ts';
import type { SaveArguments } from './save-arguments.ts';

/** Where a command writes to. */
export interface Terminal {
  readonly stdout: Writable & { readonly isTTY?: boolean };
  /** What is for people: progress and what was done. */
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number };
}

const REDRAW_MS = 100;

/** Whoever names a registry on the command line trusts it, wherever it is; where it leads on to is judged. */
export function guardFor(references: readonly Reference[], { insecureRegistries }: Config): Guard {
  const insecure = new Set(insecureRegistries);
  const named = references.map(({ domain }) => domain);
  return createGuard([...insecure, ...named].map((domain) => registryOrigin(domain, insecure)));
}

/**
 * Writes an archive to a file or to stdout. A file gets its name when it is complete; a save that was broken off goes on
 * from the cache.
 *
 * @throws CatalogueError why there is no such archive; CommandError why it cannot be written
 */
export async function save(
  { query, output }: Omit<SaveArguments, 'settings'>,
  source: ImageSource,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  if (output === '-' && terminal.stdout.isTTY)
    throw new CommandError('An archive is nothing for a terminal: name a file with -o, or use a pipe.');
  const archive = await source.open({ ...query, contentWanted: true }, signal);
  const target = await openTarget(output, archive.filename, terminal);
  for (const notice of archiveNotices(archive)) terminal.stderr.write(`Note: ${notice}\n`);
  const stream = archive.size === undefined ? await archive.start(signal) : archive.read(undefined, signal);
  const meter = showProgress(archive, terminal.stderr);
  try {
    await pipeline(stream, meter.counter, target.sink, { signal, end: target.isOurs });
    await target.commit();
  } catch (error) {
    await target.discard();
    throw error;
  } finally {
    meter.stop();
  }
  const seconds = (meter.milliseconds() / 1000).toFixed(1);
  const what = `${formatBytes(meter.bytes())}, ${archive.digests.join(', ')}`;
  terminal.stderr.write(`${target.name}: ${what}, in ${seconds} s\n`);
}

/** What an archive is written to. */
interface Target {
  /** As people are told. */
  readonly name: string;
  readonly sink: Writable;
  /** Whether it ends with the archive. */
  readonly isOurs: boolean;
  commit(): Promise<void>;
  discard(): Promise<void>;
}

async function openTarget(output: string | undefined, filename: string, terminal: Terminal): Promise<Target> {
  const nothing = async (): Promise<void> => {};
  if (output === '-') {
    return { name: filename, sink: terminal.stdout, isOurs: false, commit: nothing, discard: nothing };
  }
  const named = output ?? filename;
  const kind = await stat(named).catch(() => undefined);
  const path = kind?.isDirectory() ? join(named, filename) : named;
  // A device or a pipe must not be replaced by a file.
  const isSpecial = kind !== undefined && !kind.isFile() && !kind.isDirectory();
  const written = isSpecial ? path : `${path}.part`;
  const sink = createWriteStream(written);
  await new Promise<void>((resolve, reject) => {
    sink.once('open', () => resolve());
    sink.once('error', (error) =>
      reject(new CommandError(`${path} cannot be written: ${error.message}.`, { cause: error })),
    );
  });
  return {
    name: path,
    sink,
    isOurs: true,
    commit: isSpecial ? nothing : () => rename(written, path),
    discard: isSpecial ? nothing : () => rm(written, { force: true }),
  };
}

/** Counts what passes and, on a terminal, draws how far it is. */
function showProgress({ filename, size }: Archive | LiveArchive, stderr: Terminal['stderr']) {
  let done = 0;
  const start = performance.now();
  const milliseconds = (): number => performance.now() - start;
  const counter = new Transform({
    transform(chunk: Uint8Array, _encoding, callback) {
      done += chunk.length;
      callback(null, chunk);
    },
  });
  const draw = (): void => {
    const speed = (done / Math.max(milliseconds(), 1)) * 1000;
    const line = progressLine({ filename, done, total: size, speed }, (stderr.columns ?? 80) - 1);
    stderr.write(`\r${line}\x1b[K`);
  };
  const timer = stderr.isTTY ? setInterval(draw, REDRAW_MS) : undefined;
  return {
    counter,
    bytes: () => done,
    milliseconds,
    stop() {
      if (timer === undefined) return;
      clearInterval(timer);
      stderr.write('\r\x1b[K');
    },
  };
}
