/** The costs of one way to get an image. A way omits the fields that do not apply to it. */
export type Figures = {
  /** The median of several clients. */
  firstByteMs?: number;
  seconds: number;
  /** The size of the image in its registry, times the number of clients; 0 if no image is sent. */
  imageBytes: number;
  cpuSeconds?: number;
  peakBytes?: number;
  aboveIdleBytes?: number;
  /** The share of the one processor that curl can use. Near 1, curl limits the speed. */
  clientCpuShare?: number;
  /** Bytes on the disk afterwards. */
  diskBytes?: number;
};

/** A line of the table: measured, or absent for a reason. */
export type Row =
  | { id: RowId; figures: Figures; runs: number; note?: string; details?: Record<string, number> }
  | { id: RowId; absent: string };

/** The ways to an image, in the table's order. */
export const rowNames = {
  'dockerproxy-cold': 'DockerProxy, cold',
  'dockerproxy-warm': 'DockerProxy, warm',
  'dockerproxy-tls-registry': 'DockerProxy, cold, registry over TLS',
  'dockerproxy-cold-50': 'DockerProxy, cold, 50 clients',
  'dockerproxy-warm-50': 'DockerProxy, warm, 50 clients',
  'dockerproxy-uncached-20': 'DockerProxy, without a cache, 20 clients',
  'dockerproxy-ranges-8': 'DockerProxy, cold, 8 ranges at once',
  'dockerproxy-workers-1': 'DockerProxy, 1 worker, 50 clients',
  'dockerproxy-workers-2': 'DockerProxy, 2 workers, 50 clients',
  'dockerproxy-small-cores-1': 'DockerProxy, 1 worker, small core',
  'dockerproxy-small-cores-2': 'DockerProxy, 2 workers, small cores',
  'dockerproxy-slow-200': 'DockerProxy, warm, 200 slow',
  'dockerproxy-equal-links': 'DockerProxy, cold, registry and client at 40 MB/s',
  'blobs-equal-links': 'the blobs alone, registry and client at 40 MB/s',
  'dockerproxy-slow-registry': 'DockerProxy, cold, registry at 40 MB/s, client without a limit',
  'blobs-slow-registry': 'the blobs alone, registry at 40 MB/s, client without a limit',
  'dockerproxy-slow-client': 'DockerProxy, cold, registry without a limit, client at 40 MB/s',
  'blobs-slow-client': 'the blobs alone, registry without a limit, client at 40 MB/s',
  'dockerproxy-limited-connections': 'DockerProxy, cold, 13 MB/s a connection, client 40 MB/s',
  'blobs-limited-connections': 'the blobs alone, 13 MB/s a connection, client 40 MB/s',
  'dockerproxy-requests': 'DockerProxy, requests',
  'dockerproxy-requests-redis': 'DockerProxy, requests, with Redis',
  'dockerproxy-idle': 'DockerProxy, idle',
  'dockerproxy-idle-2': 'DockerProxy, idle, 2 workers',
  'dockerproxy-engine': 'DockerProxy, by the engine',
  'dockerproxy-engine-again': 'DockerProxy, by the engine, again',
  'save-cold': 'dockerproxy save, cold',
  'save-again': 'dockerproxy save, again',
  'save-uncached': 'dockerproxy save, without a cache',
  'save-small': 'dockerproxy save of 1 MB',
  'skopeo-small': 'skopeo copy of 1 MB',
  'cli-version': 'dockerproxy --version',
  'cli-check-config': 'dockerproxy check-config',
  'node-start': 'node, an empty program',
  'skopeo-version': 'skopeo --version',
  'pull-direct': 'skopeo pull, from the registry',
  'pull-registry-cold': 'skopeo pull, docker-registry as a mirror, cold',
  'pull-registry-warm': 'skopeo pull, docker-registry as a mirror, warm',
  'pull-registry-blobs': 'pull of blobs by curl, docker-registry as a mirror, warm',
  'pull-dockerproxy-cold': 'skopeo pull, DockerProxy, cold',
  'pull-dockerproxy-warm': 'skopeo pull, DockerProxy, warm',
  'pull-dockerproxy-blobs': 'pull of blobs by curl, DockerProxy, warm',
  'pull-dockerproxy-cold-20': 'pull of blobs by curl, DockerProxy, cold, 20 clients',
  docker: 'docker pull + docker save',
  'skopeo-docker': 'skopeo copy to docker-archive',
  'skopeo-oci': 'skopeo copy to oci-archive',
  blobs: 'the blobs alone, by curl',
  'blobs-tls-registry': 'the blobs alone, by curl, registry over TLS',
  'nginx-proxy': 'nginx, proxy_pass of the blobs',
  'nginx-proxy-cache': 'nginx, proxy_cache of the blobs',
  'nginx-static': 'nginx, static file',
  'nginx-static-50': 'nginx, static file, 50 clients',
  'rootfs-cold-large': 'DockerProxy, root file system, cold, large files',
  'rootfs-warm-large': 'DockerProxy, root file system, warm, large files',
  'rootfs-slow-100': 'DockerProxy, root file system, warm, 100 slow',
  'rootfs-end-large': 'DockerProxy, last bytes of a root file system, large files',
  'file-last-large': 'DockerProxy, last file of a layer, large files',
  'files-list-large': 'DockerProxy, list of a directory, large files',
  'classic-cold-large': 'DockerProxy, unpacked layers, cold, large files',
  'classic-warm-large': 'DockerProxy, unpacked layers, warm, large files',
  'gunzip-large': 'gzip -dc of the layers, large files',
  'rootfs-share-large': 'DockerProxy, root file system, cold, a fifth of the large files',
  'umoci-tar-large': 'skopeo copy + umoci unpack + tar, a fifth of the large files',
  'docker-export-large': 'docker pull + create + export, a fifth of the large files',
  'rootfs-cold-small': 'DockerProxy, root file system, cold, small files',
  'rootfs-warm-small': 'DockerProxy, root file system, warm, small files',
  'rootfs-end-small': 'DockerProxy, last bytes of a root file system, small files',
  'file-last-small': 'DockerProxy, last file of a layer, small files',
  'files-list-small': 'DockerProxy, list of a directory, small files',
  'classic-cold-small': 'DockerProxy, unpacked layers, cold, small files',
  'classic-warm-small': 'DockerProxy, unpacked layers, warm, small files',
  'gunzip-small': 'gzip -dc of the layers, small files',
  'rootfs-share-small': 'DockerProxy, root file system, cold, a fifth of the small files',
  'umoci-tar-small': 'skopeo copy + umoci unpack + tar, a fifth of the small files',
  'docker-export-small': 'docker pull + create + export, a fifth of the small files',
} as const;

export type RowId = keyof typeof rowNames;

export const megabytesPerSecond = ({ imageBytes, seconds }: Figures): number | undefined =>
  imageBytes === 0 ? undefined : imageBytes / 1e6 / seconds;

export const cpuSecondsPerGigabyte = ({ cpuSeconds, imageBytes }: Figures): number | undefined =>
  cpuSeconds === undefined || imageBytes === 0 ? undefined : cpuSeconds / (imageBytes / 1e9);

/** Returns the median. */
export function median(values: number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const [low = Number.NaN, high = low] = sorted.slice((sorted.length - 1) >> 1, (sorted.length >> 1) + 1);
  return (low + high) / 2;
}

/** Returns the median of each field, over the measurements that have it. */
export function medians(runs: Partial<Record<string, number>>[]): Record<string, number> {
  const names = new Set(runs.flatMap((run) => Object.keys(run)));
  return Object.fromEntries([...names].map((name) => [name, median(runs.flatMap((run) => run[name] ?? []))]));
}
