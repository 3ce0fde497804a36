import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { getHeapStatistics } from 'node:v8';

/** Measures memory that has a limit. Reading opens no file, so it works even without a free descriptor. */
export interface MemoryGauge {
  /** The name in the log, such as `cgroupBytes`. */
  readonly name: string;
  /** Returns the current use and the limit in bytes; undefined without a limit, or if either is unknown. */
  read(): MemoryReading | undefined;
  close(): void;
}

export interface MemoryReading {
  readonly used: number;
  readonly limit: number;
}

/** A file in /proc or /sys that stays open. */
interface HeldFile {
  /** Reads the file from its start; returns '' on failure. */
  text(): string;
  close(): void;
}

/** Maximum bytes of a file. The largest, memory.stat of cgroup v2, has about 2 KiB. */
const READ_MAX = 16 * 1024;
const KIB = 1024;

/**
 * Opens the gauges of this process: V8's heap, resident memory, and memory of the control group.
 *
 * @param workers processes that share the machine's memory
 * @param root the folder that contains `proc`; tests pass another folder
 */
export function openMemoryGauges(workers: number, root = '/'): MemoryGauge[] {
  const gauges = [heap(), openResidentMemory(totalmem() / workers, root), openGroupMemory(root)];
  return gauges.filter((gauge) => gauge !== undefined);
}

/** Measures V8's heap. V8 ends the process at the limit. */
function heap(): MemoryGauge {
  return {
    name: 'heapUsedBytes',
    read() {
      const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
      return { used, limit };
    },
    close() {},
  };
}

/** Measures the resident set of this process. @param limit in bytes */
function openResidentMemory(limit: number, root: string): MemoryGauge | undefined {
  const status = hold(join(root, 'proc/self/status'));
  return (
    status && {
      name: 'residentBytes',
      read() {
        const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(status.text()) ?? [];
        return kib === undefined ? undefined : { used: Number(kib) * KIB, limit };
      },
      close: status.close,
    }
  );
}

/**
 * Measures the control group, or its ancestor with the lowest limit. Memory that the kernel reclaims before it kills
 * does not count: the page cache and file system caches.
 *
 * @see https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
 * @see https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
 */
function openGroupMemory(root: string): MemoryGauge | undefined {
  const found = groupFolders(
    readText(join(root, 'proc/self/cgroup')),
    readText(join(root, 'proc/self/mountinfo')),
  );
  const { limits, usage, reclaimable } = found.version === 1 ? V1 : V2;
  const groups = found.folders.map((folder) => ({
    limits: limits.flatMap((name) => hold(join(root, folder, name)) ?? []),
    usage: hold(join(root, folder, usage)),
    stat: hold(join(root, folder, 'memory.stat')),
  }));
  const files = groups.flatMap((group) => [...group.limits, group.usage ?? [], group.stat ?? []].flat());
  if (files.length === 0) return undefined;
  const limitOf = (group: (typeof groups)[number]): number =>
    Math.min(...group.limits.map((file) => numberIn(file.text()) ?? Number.POSITIVE_INFINITY));
  return {
    name: 'cgroupBytes',
    read() {
      const all = groups.map((group) => ({ ...group, limit: limitOf(group) }));
      const [tightest] = all.toSorted((a, b) => a.limit - b.limit);
      const used = numberIn(tightest?.usage?.text() ?? '');
      // Without a limit, version 1 states a number close to 2^63.
      if (tightest === undefined || used === undefined || !Number.isSafeInteger(tightest.limit))
        return undefined;
      const free = sumOf(tightest.stat?.text() ?? '', reclaimable);
      return { used: Math.max(used - free, 0), limit: tightest.limit };
    },
    close() {
      for (const file of files) file.close();
    },
  };
}

const V1 = {
  limits: ['memory.limit_in_bytes'],
  usage: 'memory.usage_in_bytes',
  reclaimable: ['total_active_file', 'total_inactive_file'],
};
/** memory.high counts as a limit, because the kernel throttles processes above it until they hardly run. */
const V2 = {
  limits: ['memory.max', 'memory.high'],
  usage: 'memory.current',
  reclaimable: ['active_file', 'inactive_file', 'slab_reclaimable'],
};

/**
 * Finds the folders of the control groups that limit the memory of a process, from its own group up to the mounted one.
 *
 * @param cgroup the text of /proc/self/cgroup
 * @param mountinfo the text of /proc/self/mountinfo
 * @see https://man7.org/linux/man-pages/man7/cgroups.7.html
 */
function groupFolders(cgroup: string, mountinfo: string): { version: 1 | 2; folders: string[] } {
  const groups = cgroup.split('\n').map((line) => /^\d+:([^:]*):(.*)$/.exec(line) ?? []);
  const first = groups.find(([, controllers]) => controllers?.split(',').includes('memory'));
  const version = first === undefined ? 2 : 1;
  const [, , path = ''] = first ?? groups.find(([, controllers]) => controllers === '') ?? [];
  const mounts = mountinfo.split('\n').map((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , mounted = '', point = ''] = before.split(' ');
    const [type, , options = ''] = after.split(' ');
    return { mounted, point, type, options };
  });
  const mount = mounts.find(({ type, options }) =>
    version === 1 ? type === 'cgroup' && options.split(',').includes('memory') : type === 'cgroup2',
  );
  if (mount === undefined) return { version, folders: [] };
  // In a container that mounts only its own group, the path is the host's or starts with `/..`.
  const below =
    mount.mounted === '/' ? path : path.startsWith(mount.mounted) ? path.slice(mount.mounted.length) : '';
  return {
    version,
    folders: ancestors(below.includes('/..') ? '' : below).map((one) => join(mount.point, one)),
  };
}

/** Returns a path and its parents: `/a/b`, `/a`, `/`. */
function ancestors(path: string): string[] {
  return path === '' || path === '/' ? ['/'] : [path, ...ancestors(dirname(path))];
}

function hold(path: string): HeldFile | undefined {
  const descriptor = attempt(() => openSync(path, 'r'));
  if (descriptor === undefined) return undefined;
  const buffer = Buffer.alloc(READ_MAX);
  return {
    text: () =>
      attempt(() => buffer.toString('latin1', 0, readSync(descriptor, buffer, 0, READ_MAX, 0))) ?? '',
    close: () => closeSync(descriptor),
  };
}

function readText(path: string): string {
  return attempt(() => readFileSync(path, 'utf8')) ?? '';
}

function attempt<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}

function numberIn(text: string): number | undefined {
  return /^\d+\n?$/.test(text) ? Number(text) : undefined;
}

function sumOf(stat: string, names: readonly string[]): number {
  return names.reduce(
    (sum, name) => sum + Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0),
    0,
  );
}
