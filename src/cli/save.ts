import { basename } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { type Partition, partFilename, partRange, partsFilename } from '../archive/parts.ts';
import { readLists } from '../config/lists.ts';
import { UsageError } from '../config/loader.ts';
import type { Config } from '../config/schema.ts';
import { openDownload } from '../download/open-download.ts';
import type { ArchiveQuery } from '../download/query.ts';
import { tagCommands } from '../download/tag-commands.ts';
import { archiveWarnings } from '../download/warnings.ts';
import { createGuard, type Guard } from '../net/guard.ts';
import { familiarReference, type Reference } from '../oci/reference.ts';
import { registryOrigin } from '../oci/registry-host.ts';
import type { Archive, ImageSource, LiveArchive } from '../sources/image-source.ts';
import { formatDecimalBytes } from '../util/byte-size.ts';
import { send } from '../util/streams.ts';
import { FLAGS, type SaveArguments, type Sidecars } from './save-arguments.ts';
import { fillFiles, findPlace, openTarget, requireSpace, type SavedFile } from './save-target.ts';
import type { Screen } from './screen.ts';
import { createSidecarFiles, type Publication, requirePublication } from './sidecar-files.ts';
import { showPreparation, showTransfer, type TransferProgress } from './transfer-progress.ts';

/** The output streams of a command. */
export interface Terminal {
  readonly stdout: Writable & { readonly isTTY?: boolean };
  /** Progress and results, on stderr. */
  readonly screen: Screen;
}

/**
 * Creates a guard for the command line. It trusts registries on the command line, at any address, and each host that
 * `allow` names without a wildcard, such as a token server. All other hosts must have public addresses.
 *
 * @throws ConfigError if a file of `allow` has a mistake
 */
export function guardFor(references: readonly Reference[], config: Config): Guard {
  const insecure = new Set(config.insecureRegistries);
  const allowed = (readLists(config).allow ?? []).flatMap(({ domain }) => domain ?? []);
  const named = [...references.map(({ domain }) => domain), ...allowed];
  return createGuard([...insecure, ...named].map((domain) => registryOrigin(domain, insecure)));
}

/**
 * Writes an archive to a file, to parts of it, or to stdout, and its checksum or metalink beside it. A file gets its
 * name when it is complete. A save that was interrupted continues from the cache.
 *
 * @throws ServiceError if the archive does not exist; CommandError if it cannot be written; UsageError
 */
export async function save(
  { query, sidecars, output }: Omit<SaveArguments, 'settings'>,
  source: ImageSource,
  terminal: Terminal,
  publication: Publication,
  signal: AbortSignal,
): Promise<void> {
  if (sidecars.metalink) requirePublication(query, source.traits, publication);
  if (output === '-') refuseOnStdout(query, sidecars, terminal);
  // Some formats take minutes to prepare, so report a missing folder first.
  await findPlace(output, '.');
  const { screen } = terminal;
  const preparation = showPreparation(screen, query.references.map(familiarReference));
  const request = { ...query, onProgress: preparation.report };
  const download = await openDownload(source, request, signal, FLAGS).finally(preparation.stop);
  const archive = download.kind === 'part' ? download.part : download.archive;
  const parts = download.kind === 'parts' ? download.parts : undefined;
  const place = await findPlace(output, archive.filename);
  if (archive.size !== undefined) await requireSpace(place, archive.size);
  if (place.exists && parts === undefined) screen.say(`Note: ${place.name} exists and is replaced.\n`);
  for (const notice of archiveWarnings(archive)) screen.say(`Note: ${notice}\n`);
  const stream = archive.size === undefined ? await archive.start(signal) : archive.read(undefined, signal);
  const { size } = archive;
  const layers = archive.size === undefined ? [] : (archive.layers ?? []);
  const filename = basename(place.name).replace(/\p{Cc}/gu, '?');
  const meter = showTransfer({ filename, size, layers }, screen, () => performance.now());
  const isHashed = sidecars.checksum || sidecars.metalink;
  const sidecarFiles = createSidecarFiles(query, sidecars, download.archive, publication);
  const files = filesOf(place.name, archive, parts);
  const whole = parts === undefined ? place.name : partsFilename(place.name, parts);
  const sink = fillFiles(files, async (file) => {
    const target = await openTarget({ ...place, name: file.name }, terminal.stdout);
    return isHashed ? sidecarFiles.hashing(file, target) : target;
  });
  try {
    await sendAll(stream, sink, meter.count);
    await sidecarFiles.write(whole);
  } finally {
    stream.destroy();
    meter.stop();
  }
  const inParts = files.length > 1 ? ` in ${files.length} parts` : '';
  const kind = archive.digests.length === 1 ? 'image' : 'images';
  const checked = sidecars.checksum ? checksumNote(sidecarFiles.checksums(), whole) : '';
  screen.say(`${place.name}${inParts}: ${amount(meter)}${checked}, ${kind} ${archive.digests.join(', ')}\n`);
  const file = place.kind === 'stdout' || files.length > 1 ? archive.filename : place.name;
  for (const image of archive.omitted?.untagged ?? [])
    screen.print(`Load and tag it: ${tagCommands(image, file).docker}`);
}

/** Writes the checksum of a whole file, or where those of its parts are. */
function checksumNote(sums: readonly string[], name: string): string {
  return sums.length === 1 ? `, file sha256:${sums[0]}` : `, checksums in ${name}.sha256`;
}

/** Writes how much came, how long it took, and how fast it was: `2.2 MB in 0.5 s (4.4 MB/s)`. */
function amount({ bytes, milliseconds }: TransferProgress): string {
  const time = milliseconds();
  const speed = formatDecimalBytes((bytes() / Math.max(time, 1)) * 1000);
  return `${formatDecimalBytes(bytes())} in ${(time / 1000).toFixed(1)} s (${speed}/s)`;
}

function refuseOnStdout(
  { parts }: ArchiveQuery,
  { checksum, metalink }: Sidecars,
  { stdout }: Terminal,
): void {
  if (stdout.isTTY)
    throw new UsageError(['Refusing to write binary data to the terminal. Use -o FILE or a pipe.']);
  if (checksum || metalink || (parts !== undefined && parts.number === undefined))
    throw new UsageError(['stdout takes only one file. Name a file or a folder with -o.']);
}

function filesOf(
  name: string,
  { size }: Archive | LiveArchive,
  parts: Partition | undefined,
): readonly SavedFile[] {
  if (parts === undefined) return [{ name, size, number: undefined }];
  return Array.from({ length: parts.count }, (_, at) => {
    const { start, end } = partRange(parts, at + 1);
    return { name: partFilename(name, at + 1, parts), size: end - start, number: at + 1 };
  });
}

/** Sends a stream to a sink and ends it. A failure of either destroys both. */
export async function sendAll(
  stream: Readable,
  sink: Writable,
  inspect: (chunk: Uint8Array) => void,
): Promise<void> {
  let failure: Error | undefined;
  sink.once('error', (error) => {
    failure = error;
  });
  sink.once('close', () => stream.destroy());
  try {
    await send(stream, sink, inspect);
    sink.end();
    await finished(sink);
  } catch (error) {
    sink.destroy();
    await finished(sink).catch(() => {});
    throw failure ?? error;
  }
}
