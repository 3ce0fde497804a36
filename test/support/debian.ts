import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cache } from './busybox.ts';
import { runOrThrow } from './process.ts';
import { removeTree } from './temporary-folder.ts';

const repository = join(import.meta.dirname, '..', '..');
const root = join(cache, 'debian');
const PACKAGES = ['ca-certificates', 'dbus', 'systemd', 'systemd-sysv', 'wget'];

/** Returns the folder of a Debian that can boot; debootstrap makes it on first use. Callers must not write to it. */
export async function makeDebian(): Promise<string> {
  if (existsSync(root)) return root;
  const incoming = `${root}.${process.pid}`;
  await mkdir(cache, { recursive: true });
  try {
    const flags = ['--variant=minbase', `--include=${PACKAGES.join(',')}`];
    await runOrThrow('debootstrap', [...flags, await codename(), incoming], { timeout: 500_000 });
    for (const unused of ['var/cache/apt', 'var/lib/apt/lists']) {
      await rm(join(incoming, unused), { recursive: true, force: true });
    }
    // The rename is atomic, so that test processes can do this concurrently.
    await rename(incoming, root);
  } finally {
    await removeTree(incoming);
  }
  return root;
}

/**
 * Makes one part of a release for this machine from the tree as it is. Returns the path of its file.
 *
 * @param variables more variables of the environment
 */
export async function makeRelease(
  folder: string,
  part: 'tarball' | 'deb' | 'image' = 'tarball',
  variables: NodeJS.ProcessEnv = {},
): Promise<string> {
  const program = join(repository, 'deploy', 'release.sh');
  // The image is for all architectures.
  const args = part === 'image' ? [folder, part] : ['--arch', process.arch, folder, part];
  const env = { ...process.env, ...variables };
  return (await runOrThrow(program, args, { timeout: 300_000, env })).stdout.trim();
}

/** Returns the codename of the Debian that runs the tests. */
async function codename(): Promise<string> {
  const [, name] = /^VERSION_CODENAME=(\w+)$/m.exec(await readFile('/etc/os-release', 'utf8')) ?? [];
  if (name === undefined) throw new Error('/etc/os-release tells no codename');
  return name;
}
