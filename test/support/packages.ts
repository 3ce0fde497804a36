/** The real parts that tests talk to. As a script: installs what is missing, from Debian's packages. */
import { existsSync } from 'node:fs';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BusyboxArchitecture, busyboxIsCached, fetchBusybox } from './busybox.ts';
import { findCommand, run, runOrThrow } from './process.ts';
import { removeTree, temporaryPrefix } from './temporary-folder.ts';

interface Part {
  /** Commands by name, files by absolute path: all must be there. */
  needs: string[];
  package: string;
  /** The part only works for root: it mounts, makes namespaces and writes cgroups. */
  root?: true;
}

const parts = {
  dockerd: { needs: ['dockerd', 'containerd', 'runc', 'docker'], package: 'docker.io', root: true },
  docker: { needs: ['docker'], package: 'docker.io' },
  'docker-compose': { needs: ['docker-compose'], package: 'docker-compose' },
  containerd: { needs: ['containerd', 'ctr'], package: 'containerd', root: true },
  ctr: { needs: ['ctr'], package: 'containerd', root: true },
  'docker-registry': { needs: ['docker-registry'], package: 'docker-registry' },
  podman: { needs: ['podman', 'conmon'], package: 'podman', root: true },
  crun: { needs: ['crun'], package: 'crun' },
  skopeo: { needs: ['skopeo'], package: 'skopeo' },
  'ch-convert': { needs: ['ch-convert'], package: 'charliecloud-builders' },
  'ch-run': { needs: ['ch-run'], package: 'charliecloud-runtime', root: true },
  umoci: { needs: ['umoci'], package: 'umoci' },
  bash: { needs: ['bash'], package: 'bash' },
  zsh: { needs: ['zsh'], package: 'zsh' },
  fish: { needs: ['fish'], package: 'fish' },
  aria2c: { needs: ['aria2c'], package: 'aria2' },
  wget: { needs: ['wget'], package: 'wget' },
  curl: { needs: ['curl'], package: 'curl' },
  tar: { needs: ['tar'], package: 'tar' },
  bsdtar: { needs: ['bsdtar'], package: 'libarchive-tools' },
  attr: { needs: ['getfattr', 'setfattr'], package: 'attr' },
  xz: { needs: ['xz'], package: 'xz-utils' },
  zstd: { needs: ['zstd'], package: 'zstd' },
  openssl: { needs: ['openssl'], package: 'openssl' },
  chromium: { needs: ['chromium'], package: 'chromium' },
  'chromium-headless-shell': { needs: ['chromium-headless-shell'], package: 'chromium-headless-shell' },
  'chinese-font': {
    needs: ['/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf'],
    package: 'fonts-droid-fallback',
  },
  pebble: { needs: ['pebble', 'pebble-challtestsrv'], package: 'pebble' },
  promtool: { needs: ['promtool'], package: 'prometheus' },
  haproxy: { needs: ['haproxy'], package: 'haproxy' },
  'redis-server': { needs: ['redis-server', 'redis-cli'], package: 'redis-server' },
  caddy: { needs: ['caddy'], package: 'caddy' },
  nginx: { needs: ['nginx'], package: 'nginx' },
  systemd: { needs: ['systemd-analyze', 'systemd-notify', 'systemd-socket-activate'], package: 'systemd' },
  'systemd-nspawn': { needs: ['systemd-nspawn', 'nsenter'], package: 'systemd-container', root: true },
  debootstrap: { needs: ['debootstrap'], package: 'debootstrap', root: true },
  shellcheck: { needs: ['shellcheck'], package: 'shellcheck' },
  xmllint: { needs: ['xmllint'], package: 'libxml2-utils' },
  prlimit: { needs: ['prlimit'], package: 'util-linux' },
  perl: { needs: ['perl'], package: 'perl' },
  ip: { needs: ['ip'], package: 'iproute2' },
  namespaces: { needs: ['ip', 'tc', 'unshare', 'mount'], package: 'iproute2', root: true },
  certificates: { needs: ['/etc/ssl/certs/ca-certificates.crt'], package: 'ca-certificates' },
} satisfies Record<string, Part>;

export type PartName = keyof typeof parts | `busybox-${BusyboxArchitecture}`;

const packaged = Object.keys(parts) as (keyof typeof parts)[];
const busyboxes = ['amd64', 'arm64'] as const;
const isRoot = process.getuid?.() === 0;

/** True if the part is installed and this user may use it. */
export function hasPart(name: PartName): boolean {
  return whyNot(name) === undefined;
}

/**
 * For node:test's `skip`: false if all parts are installed, else the reason. With CI=true, a missing part throws, because
 * a skipped test would count as passed.
 */
export function skipUnless(...names: PartName[]): string | false {
  const reasons = names.map(whyNot).filter((reason) => reason !== undefined);
  if (reasons.length === 0) return false;
  if (isCi()) throw new Error(`CI=true, and ${reasons.join('; ')}`);
  return reasons.join('; ');
}

/** The reason why the part cannot be used; undefined if it can. */
export function whyNot(name: PartName): string | undefined {
  if (name === 'busybox-amd64' || name === 'busybox-arm64') {
    const cached = busyboxIsCached(name === 'busybox-amd64' ? 'amd64' : 'arm64');
    return cached ? undefined : `${name} was not fetched`;
  }
  const part: Part = parts[name];
  if (!isInstalled(part)) return `${name} is not installed`;
  return part.root && !isRoot ? `${name} needs root` : undefined;
}

function isInstalled(part: Part): boolean {
  return part.needs.every((need) => (need.startsWith('/') ? existsSync(need) : findCommand(need)));
}

const isCi = () => process.env.CI === 'true';

async function main(): Promise<void> {
  await removeAbandonedFolders();
  const missing = [...new Set(packaged.map((name) => parts[name]).filter((part) => !isInstalled(part)))];
  const packages = [...new Set(missing.map((part) => part.package))].sort();
  const canInstall = isRoot && existsSync('/etc/debian_version') && findCommand('apt-get');
  if (packages.length > 0 && canInstall) await install(packages);
  const unfetched = busyboxes.filter((architecture) => !busyboxIsCached(architecture));
  if (unfetched.length > 0 && findCommand('apt-get')) await prefetchBusybox(unfetched);
  report();
}

async function install(packages: string[]): Promise<void> {
  console.log(`Tests use real parts: installing ${packages.join(', ')} from Debian's packages, once.`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const lock = ['-o', 'DPkg::Lock::Timeout=120', '-q'];
  const add = [...lock, 'install', '-y', '--no-install-recommends', ...packages];
  const restore = await keepServicesStopped();
  try {
    // A third-party source that is out of reach fails this as a whole; the installation below is what counts.
    await run('apt-get', [...lock, 'update'], { env, timeout: 300_000 });
    await runOrThrow('apt-get', add, { env, timeout: 900_000 });
    console.log(`Installed ${packages.join(', ')}; no service was started.`);
  } catch (error) {
    console.log((error as Error).message);
  } finally {
    await restore();
  }
}

/** Keeps an existing policy of the host. See invoke-rc.d(8). */
async function keepServicesStopped(): Promise<() => Promise<void>> {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return async () => {};
  await writeFile(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  return () => rm(policy, { force: true });
}

async function prefetchBusybox(architectures: BusyboxArchitecture[]): Promise<void> {
  console.log(`Fetching busybox-static for ${architectures.join(' and ')}, the content of the test images.`);
  try {
    await fetchBusybox(architectures);
  } catch (error) {
    console.log((error as Error).message);
  }
}

function report(): void {
  const names: PartName[] = [...packaged, ...busyboxes.map((name) => `busybox-${name}` as const)];
  const reasons = names.map(whyNot).filter((reason) => reason !== undefined);
  if (reasons.length === 0) return;
  console.log(`Tests that need these parts ${isCi() ? 'cannot run' : 'are skipped'}: ${reasons.join(', ')}.`);
  if (isCi()) process.exitCode = 1;
}

/** Removes the folders of test runs that were killed. */
async function removeAbandonedFolders(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const rest = name.startsWith(temporaryPrefix) ? name.slice(temporaryPrefix.length) : '';
    const owner = Number(/^(\d+)-/.exec(rest)?.[1]);
    if (owner > 0 && !isAlive(owner)) await removeTree(join(tmpdir(), name)).catch(() => {});
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // The process is alive, but belongs to another user.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

if (import.meta.main) await main();
