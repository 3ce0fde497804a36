import { cpuSecondsPerGigabyte, type Figures, megabytesPerSecond, type Row, type RowId } from './figures.ts';

/** A target of DockerProxy, and the measured value. */
export interface Target {
  name: string;
  /** The measured value and the target, both with their unit. */
  value: string;
  wanted: string;
  /** Undefined if a required line is absent. */
  reached: boolean | undefined;
}

type Measured = Extract<Row, { figures: Figures }>;

/** Compares the lines of the table. */
export function compare(rows: Row[]): Target[] {
  const measured = new Map<RowId, Measured>();
  for (const row of rows) if ('figures' in row) measured.set(row.id, row);
  const figures = (id: RowId) => measured.get(id)?.figures;
  const detail = (id: RowId, name: string) => measured.get(id)?.details?.[name];

  /** The ratio of one figure of two lines, and whether a higher ratio is better. */
  const ratio = (
    name: string,
    [upper, lower]: [RowId, RowId],
    of: (figures: Figures) => number | undefined,
    [sign, limit]: ['≥' | '≤', number],
  ): Target => {
    const [one, other] = [upper, lower].map((id) => {
      const found = figures(id);
      return found && of(found);
    });
    const value = one === undefined || other === undefined ? undefined : one / other;
    return target(name, value, [sign, limit], times);
  };
  /** Without conclusion if one worker and its clients used more than half of the machine. */
  const workers = (name: string, [two, one]: [RowId, RowId]): Target => {
    const found = ratio(name, [two, one], megabytesPerSecond, ['≥', 1.7]);
    const taken = (detail(one, 'serverCores') ?? 0) + (detail(one, 'clientCores') ?? 0);
    const wasRoom = (detail(one, 'idleCores') ?? 0) >= 0.7 * taken;
    return found.reached || wasRoom ? found : { ...found, reached: undefined };
  };
  const delay = (name: string, id: RowId): Target =>
    target(
      `${name}: delay of the event loop (99th percentile)`,
      detail(id, 'eventLoopP99Ms'),
      ['≤', 50],
      (milliseconds) => `${Number(milliseconds.toPrecision(2))} ms`,
    );
  const cpuRatio = (name: string, ids: [RowId, RowId], limit: number): Target =>
    ratio(name, ids, ({ cpuSeconds }) => cpuSeconds, ['≤', limit]);
  const memory = (name: string, id: RowId, limit: number): Target =>
    target(name, figures(id)?.peakBytes, ['≤', limit * 1e6], (bytes) => `${Math.round(bytes / 1e6)} MB`);
  const slowClients = (name: string, id: RowId, limit: number): Target[] => [
    target(`${name}: memory of each above idle`, detail(id, 'bytesPerClient'), ['≤', limit], inKilobytes),
    target(
      `${name}: memory of each of 100 more`,
      detail(id, 'bytesPerFurtherClient'),
      ['≤', limit],
      inKilobytes,
    ),
  ];
  const firstByte = ({ firstByteMs }: Figures) => firstByteMs;
  const seconds = (one: Figures) => one.seconds;
  /** Compares the seconds that DockerProxy adds to a direct download: over TLS and over plain HTTP. */
  const addedByTls = (): number | undefined => {
    const [tls, tlsDirect] = (['dockerproxy-tls-registry', 'blobs-tls-registry'] as const).map(figures);
    const [plain, direct] = (['dockerproxy-cold', 'blobs'] as const).map(figures);
    if (!(tls && tlsDirect && plain && direct)) return undefined;
    return (tls.seconds - tlsDirect.seconds) / (plain.seconds - direct.seconds);
  };
  const lastFileTime = (kind: 'large' | 'small'): number | undefined => {
    const [file, gunzip] = ([`file-last-${kind}`, `gunzip-${kind}`] as const).map(figures);
    return file?.firstByteMs && gunzip && file.firstByteMs / 1000 / gunzip.seconds;
  };
  const gets = measured.get('dockerproxy-cold-50')?.details;
  const pulls = measured.get('pull-dockerproxy-cold-20')?.details;
  const crowd = measured.get('dockerproxy-uncached-20')?.details;
  const [cold, warm, warm50] = ['dockerproxy-cold', 'dockerproxy-warm', 'dockerproxy-warm-50'] as const;
  return [
    ratio('cold: first byte sooner than docker pull + save', ['docker', cold], firstByte, ['≥', 300]),
    ratio('cold: whole file sooner than docker pull + save', ['docker', cold], seconds, ['≥', 25]),
    ratio('cold: whole file sooner than skopeo to oci-archive', ['skopeo-oci', cold], seconds, ['≥', 2.3]),
    ratio('cold: throughput of nginx proxy_cache', [cold, 'nginx-proxy-cache'], megabytesPerSecond, [
      '≥',
      0.9,
    ]),
    target(
      'cold, registry over TLS: time added to that of curl, over plain HTTP',
      addedByTls(),
      ['≤', 1.1],
      times,
    ),
    ratio('warm: throughput of nginx static', [warm, 'nginx-static'], megabytesPerSecond, ['≥', 0.8]),
    ratio('warm: CPU per byte of nginx static', [warm, 'nginx-static'], cpuSecondsPerGigabyte, ['≤', 1.5]),
    ratio('warm, 50 clients: throughput of nginx static', [warm50, 'nginx-static-50'], megabytesPerSecond, [
      '≥',
      0.8,
    ]),
    ratio(
      'warm, 50 clients: CPU per byte of nginx static',
      [warm50, 'nginx-static-50'],
      cpuSecondsPerGigabyte,
      ['≤', 1.5],
    ),
    workers('whole cores: throughput of 2 workers over 1', [
      'dockerproxy-workers-2',
      'dockerproxy-workers-1',
    ]),
    workers('small cores: throughput of 2 workers over 1', [
      'dockerproxy-small-cores-2',
      'dockerproxy-small-cores-1',
    ]),
    ...(['equal links', 'slow registry', 'slow client'] as const).map((link) => {
      const id = link.replace(' ', '-') as 'equal-links' | 'slow-registry' | 'slow-client';
      const ids: [RowId, RowId] = [`dockerproxy-${id}`, `blobs-${id}`];
      return ratio(`${link}: time of the blobs one after the other`, ids, seconds, ['≤', 1.03]);
    }),
    ratio(
      'limited connections: sooner than the blobs one after the other',
      ['blobs-limited-connections', 'dockerproxy-limited-connections'],
      seconds,
      ['≥', 2],
    ),
    onlyOnce('cold, 50 clients: GETs of blobs', gets?.blobGets, gets?.blobs),
    onlyOnce('cold, 50 clients: GETs of manifests', gets?.manifestGets, gets?.manifests),
    onlyOnce('without a cache, 20 clients: GETs of manifests', crowd?.manifestGets, crowd?.manifests),
    atMost('without a cache, 20 clients: GETs of each blob', crowd, 2),
    atMost('cold, 8 ranges at once: GETs of each blob', measured.get('dockerproxy-ranges-8')?.details, 2),
    ...slowClients('200 slow clients', 'dockerproxy-slow-200', 150_000),
    ...slowClients('100 slow clients of a root file system', 'rootfs-slow-100', 300_000),
    delay('cold, 50 clients', 'dockerproxy-cold-50'),
    delay('warm, 50 clients', warm50),
    delay('200 slow clients', 'dockerproxy-slow-200'),
    cpuRatio('dockerproxy --version: CPU of an empty program', ['cli-version', 'node-start'], 3),
    cpuRatio('dockerproxy check-config: CPU of an empty program', ['cli-check-config', 'node-start'], 3),
    target('dockerproxy save of 1 MB: time', figures('save-small')?.seconds, ['≤', 0.15], inSeconds),
    target('dockerproxy save of 1 MB: CPU', figures('save-small')?.cpuSeconds, ['≤', 0.15], inSeconds),
    ratio('dockerproxy save, cold: sooner than skopeo to oci-archive', ['skopeo-oci', 'save-cold'], seconds, [
      '≥',
      2.2,
    ]),
    ratio('dockerproxy save without a cache: time with one', ['save-uncached', 'save-cold'], seconds, [
      '≤',
      1,
    ]),
    memory('dockerproxy save, cold: memory', 'save-cold', 110),
    memory('dockerproxy save without a cache: memory', 'save-uncached', 110),
    ...(['large', 'small'] as const).flatMap((kind) => [
      ratio(
        `root file system, cold, ${kind} files: time of gzip -dc`,
        [`rootfs-cold-${kind}`, `gunzip-${kind}`],
        seconds,
        ['≤', 1.25],
      ),
      ratio(
        `root file system, warm, ${kind} files: sooner than gzip -dc`,
        [`gunzip-${kind}`, `rootfs-warm-${kind}`],
        seconds,
        ['≥', kind === 'large' ? 2 : 1],
      ),
      target(
        `root file system, cold, ${kind} files: memory above idle`,
        figures(`rootfs-cold-${kind}`)?.aboveIdleBytes,
        ['≤', 80e6],
        (bytes) => `${Math.round(bytes / 1e6)} MB`,
      ),
      target(
        `last file of a layer, warm, ${kind} files: first byte, in times of gzip -dc`,
        lastFileTime(kind),
        ['≤', 1],
        times,
      ),
      target(
        `list of a directory, ${kind} files: first byte`,
        figures(`files-list-${kind}`)?.firstByteMs,
        ['≤', 20],
        (milliseconds) => `${Number(milliseconds.toPrecision(2))} ms`,
      ),
    ]),
    memory('cold: memory', cold, 130),
    memory('without a cache, 20 clients: memory', 'dockerproxy-uncached-20', 200),
    memory('idle: memory', 'dockerproxy-idle', 80),
    memory('idle, primary and 2 workers: memory', 'dockerproxy-idle-2', 190),
    // skopeo hashes and stores what it pulls, and takes several times the CPU of either server.
    ...(
      [
        ['cold', 1],
        ['warm', 1],
        ['blobs', 1.3],
      ] as const
    ).flatMap(([state, least]) => {
      const ids: [RowId, RowId] = [`pull-dockerproxy-${state}`, `pull-registry-${state}`];
      const name = state === 'blobs' ? 'pull, warm, by curl' : `pull, ${state}, by skopeo`;
      return [
        ratio(`${name}: throughput of docker-registry`, ids, megabytesPerSecond, ['≥', least]),
        ratio(`${name}: CPU per byte of docker-registry`, ids, cpuSecondsPerGigabyte, ['≤', 1]),
      ];
    }),
    onlyOnce('pull, cold, 20 clients: GETs of blobs', pulls?.blobGets, pulls?.blobs),
    target('requests a second', detail('dockerproxy-requests', 'requestsPerSecond'), ['≥', 12_000], whole),
    target('first bytes a second', detail('dockerproxy-requests', 'downloadsPerSecond'), ['≥', 1_500], whole),
  ];
}

function onlyOnce(name: string, asked: number | undefined, all: number | undefined): Target {
  const reached = asked === undefined || all === undefined ? undefined : asked === all;
  return { name, value: asked === undefined ? '-' : String(asked), wanted: `= ${all ?? '-'}`, reached };
}

/** Compares the mean number of GETs of a blob. */
function atMost(name: string, gets: Record<string, number> | undefined, limit: number): Target {
  const mean = gets && (gets.blobGets ?? Number.NaN) / (gets.blobs ?? Number.NaN);
  return target(name, mean, ['≤', limit], (value) => `${Number(value.toPrecision(2))}`);
}

function target(
  name: string,
  value: number | undefined,
  [sign, limit]: ['≥' | '≤', number],
  format: (value: number) => string,
): Target {
  const wanted = `${sign} ${format(limit)}`;
  if (value === undefined) return { name, value: '-', wanted, reached: undefined };
  return { name, value: format(value), wanted, reached: sign === '≥' ? value >= limit : value <= limit };
}

const inKilobytes = (bytes: number): string => `${Math.round(bytes / 1000)} KB`;
const inSeconds = (value: number): string => `${Number(value.toPrecision(2))} s`;
const whole = (value: number): string => `${Math.round(value)}`;
const times = (value: number): string => `${Number(value.toPrecision(3))}×`;
