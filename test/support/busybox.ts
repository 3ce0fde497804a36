import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { runOrThrow } from './process.ts';
import { temporaryFolder } from './temporary-folder.ts';

export type BusyboxArchitecture = 'amd64' | 'arm64';

/** The folder of files that are made once for all processes. */
export const cache = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'dockerproxy');

/** Returns the path of the binary after its download. */
export const busyboxPath = (architecture: BusyboxArchitecture): string =>
  join(cache, `busybox-static-${architecture}`);

export const busyboxIsCached = (architecture: BusyboxArchitecture): boolean =>
  existsSync(busyboxPath(architecture));

/** The path of Debian's statically linked busybox for an architecture, fetched on first use; needs no root. */
export async function busyboxBinary(architecture: BusyboxArchitecture): Promise<string> {
  if (!busyboxIsCached(architecture)) await fetchBusybox([architecture]);
  return busyboxPath(architecture);
}

/**
 * Fetches busybox-static for all given architectures, and reads the package lists once. apt uses a private state, so
 * the host's lists and its foreign architectures stay unchanged. The host's sources and keyrings are used as they are.
 */
export async function fetchBusybox(architectures: BusyboxArchitecture[]): Promise<void> {
  await using folder = await temporaryFolder();
  const apt = (...args: string[]) =>
    runOrThrow('apt-get', [...privateState(folder.path, architectures), '-q', ...args], {
      cwd: folder.path,
      timeout: 180_000,
    });
  await mkdir(join(folder.path, 'lists', 'partial'), { recursive: true });
  await mkdir(join(folder.path, 'cache', 'archives', 'partial'), { recursive: true });
  // An unreachable third-party source fails the whole update, but the download may still succeed.
  const update = await apt('update').catch((error: Error) => error);
  await apt('download', ...architectures.map((name) => `busybox-static:${name}`)).catch((error: Error) => {
    throw update instanceof Error ? update : error;
  });
  for (const name of architectures) await unpack(folder.path, name);
}

function privateState(folder: string, architectures: BusyboxArchitecture[]): string[] {
  const settings = {
    'Dir::State': folder,
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': '/dev/null',
    'Dir::Cache': join(folder, 'cache'),
    // A value with commas replaces the list that apt takes from dpkg; `::=` would only add to it.
    'APT::Architectures': architectures.join(','),
    'APT::Architecture': architectures[0],
    // The download user _apt cannot access a temporary folder of root.
    'APT::Sandbox::User': process.getuid?.() === 0 ? 'root' : '',
    'Acquire::Languages': 'none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
    'Acquire::Retries': '2',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** The rename makes a binary appear whole, whichever of several test processes comes first. */
async function unpack(folder: string, architecture: BusyboxArchitecture): Promise<void> {
  const archive = (await readdir(folder)).find((name) => name.endsWith(`_${architecture}.deb`));
  if (archive === undefined) throw new Error(`apt-get brought no busybox-static for ${architecture}`);
  const root = join(folder, architecture);
  await runOrThrow('dpkg-deb', ['-x', join(folder, archive), root]);
  await mkdir(cache, { recursive: true });
  const incoming = `${busyboxPath(architecture)}.${process.pid}`;
  await copyFile(join(root, 'bin', 'busybox'), incoming);
  await chmod(incoming, 0o755);
  await rename(incoming, busyboxPath(architecture));
}
