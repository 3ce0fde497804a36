import { join } from 'node:path';
import type { DockerProxy } from '../test/support/dockerproxy.ts';
import { startDockerd } from '../test/support/engines.ts';
import { whyNot } from '../test/support/packages.ts';
import { runOrThrow } from '../test/support/process.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { type ContentsImage, LAST_FILE, pushLargeFiles, pushSmallFiles } from './contents-image.ts';
import { curl } from './curl.ts';
import { startOverTls } from './dockerproxy-over-tls.ts';
import type { RowId } from './figures.ts';
import { measureServer } from './measure-server.ts';
import { runMetered } from './metered-command.ts';
import { measureSlowClients } from './slow-clients-way.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** Unpacked bytes of the image of large files, and small files, for each stored byte of the usual image. */
const UNPACKED = 2.4;
const SMALL_FILES_PER_MB = 600;
/** Other programs need minutes for all files of an image, so they get this share of them. */
const SHARE = 0.2;
const REPETITIONS = 2;

/** DockerProxy and others that unpack an image, with large files and with many small ones. */
export function contentsWays(stage: Stage): Way[] {
  return (['large', 'small'] as const).flatMap((kind): Way[] => {
    // Only the rows of this file need these images.
    const whole = once(() => pushImage(stage, kind, 1));
    const share = once(() => pushImage(stage, kind, SHARE));
    return [
      {
        ids: [
          ...([`rootfs-cold-${kind}`, `rootfs-warm-${kind}`, `rootfs-end-${kind}`] as const),
          ...([`file-last-${kind}`, `files-list-${kind}`] as const),
        ],
        repetitions: REPETITIONS,
        measure: async () => measureRootfs(stage, await whole(), kind),
      },
      ...(kind === 'large' ? [slowClientsOf(stage, whole)] : []),
      {
        ids: [`classic-cold-${kind}`, `classic-warm-${kind}`],
        repetitions: 1,
        measure: async () => measureClassic(stage, await whole(), kind),
      },
      {
        ids: [`gunzip-${kind}`],
        repetitions: REPETITIONS,
        measure: async () => [await measureGunzip(stage, await whole(), kind)],
      },
      {
        ids: [`rootfs-share-${kind}`],
        repetitions: 1,
        measure: async () => measureShare(stage, await share(), kind),
      },
      {
        ids: [`umoci-tar-${kind}`],
        absent: whyNot('umoci') ?? whyNot('skopeo'),
        repetitions: 1,
        measure: async () => [await measureUmoci(stage, await share(), kind)],
      },
      {
        ids: [`docker-export-${kind}`],
        absent: whyNot('dockerd'),
        repetitions: 1,
        measure: async () => [await measureDocker(stage, await share(), kind)],
      },
    ];
  });
}

function slowClientsOf(stage: Stage, image: () => Promise<ContentsImage>): Way {
  const id = 'rootfs-slow-100';
  return {
    ids: [id],
    repetitions: 1,
    async measure() {
      const { repository } = await image();
      const path = `/dl?myimage=${stage.registry.host}/${repository}&format=rootfs`;
      const urlOf = ({ url }: DockerProxy): string => `${url}${path}`;
      return [await measureSlowClients(stage, { id, clients: 100, moreClients: 200, urlOf })];
    },
  };
}

/** @param share the share of the files of the whole image */
function pushImage({ registry, image, signal }: Stage, kind: Kind, share: number): Promise<ContentsImage> {
  const repository = `bench/${kind}-files-${share}`;
  if (kind === 'large') return pushLargeFiles(registry, repository, image.bytes * UNPACKED * share, signal);
  const count = Math.ceil((image.bytes / 1e6) * SMALL_FILES_PER_MB * share);
  return pushSmallFiles(registry, repository, count, signal);
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

type Kind = 'large' | 'small';

async function measureRootfs(stage: Stage, image: ContentsImage, kind: Kind): Promise<Measurement[]> {
  await using server = await startServer(stage, image);
  const { archive, reference } = server;
  const url = archive('rootfs');
  const small = { bytes: 1, imageBytes: 0 };
  const list = server.url(`/api/v1/files?${reference}&path=${kind === 'small' ? 'data/1' : '/'}`);
  return [
    await server.measure(`rootfs-cold-${kind}`, [url]),
    await server.measure(`rootfs-warm-${kind}`, [url]),
    await server.measure(`rootfs-end-${kind}`, [url], { bytes: 10_000, imageBytes: 0, ranges: ['-10000'] }),
    await server.measure(`file-last-${kind}`, [server.url(`/file?${reference}&path=${LAST_FILE}`)], small),
    // The first request opens the connection.
    await server.measure(`files-list-${kind}`, [list, list], { ...small, skip: 1 }),
  ];
}

async function measureClassic(stage: Stage, image: ContentsImage, kind: Kind): Promise<Measurement[]> {
  await using server = await startServer(stage, image);
  const url = server.archive('docker-classic');
  return [
    await server.measure(`classic-cold-${kind}`, [url]),
    await server.measure(`classic-warm-${kind}`, [url]),
  ];
}

async function measureShare(stage: Stage, image: ContentsImage, kind: Kind): Promise<Measurement[]> {
  await using server = await startServer(stage, image);
  return [await server.measure(`rootfs-share-${kind}`, [server.archive('rootfs')])];
}

interface Expected {
  /** Minimum bytes of all responses. */
  readonly bytes: number;
  /** As in {@link Figures}. */
  readonly imageBytes: number;
  readonly ranges?: readonly string[];
  /** The number of first transfers that do not count. */
  readonly skip?: number;
}

/** Starts DockerProxy with an empty cache, and measures its responses about one image. */
async function startServer(stage: Stage, { repository, unpackedBytes }: ContentsImage) {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const proxy = stack.use(await startOverTls(stage, folder));
  const meter = { pid: proxy.pid, idleBytes: proxy.memory() };
  const reference = `myimage=${stage.registry.host}/${repository}`;
  const { signal, certificate } = stage;
  const usual: Expected = { bytes: unpackedBytes * 0.9, imageBytes: unpackedBytes };
  const held = stack.move();
  return {
    reference,
    url: (path: string) => `${proxy.url}${path}`,
    archive: (format: string) => `${proxy.url}/dl?${reference}&format=${format}`,
    async measure(id: RowId, urls: string[], expected: Expected = usual): Promise<Measurement> {
      const { bytes, imageBytes, ranges = [], skip = 0 } = expected;
      const { figures, details } = await measureServer(meter, bytes, async () => {
        const all = await curl(urls, { signal, certificate: certificate.certificate, ranges });
        return { ...all, transfers: all.transfers.slice(skip) };
      });
      return { id, figures: { ...figures, imageBytes }, details };
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** Unpacks the layer by gzip, from a file. */
async function measureGunzip({ signal }: Stage, image: ContentsImage, kind: Kind): Promise<Measurement> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'layer');
  await runOrThrow('curl', ['-sfo', path, image.layerUrl], { timeout: 120_000 });
  return await command(`gunzip-${kind}`, image, 'gzip -dc "$1" | cat > /dev/null', [path], signal);
}

async function measureUmoci(
  { signal, registry }: Stage,
  image: ContentsImage,
  kind: Kind,
): Promise<Measurement> {
  await using folder = await temporaryFolder();
  const script = `cd "$1" && skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$2" oci:layout:x
    umoci unpack --image layout:x bundle && tar -C bundle/rootfs -c . | cat > /dev/null`;
  return await command(
    `umoci-tar-${kind}`,
    image,
    script,
    [folder.path, `${registry.host}/${image.repository}`],
    signal,
  );
}

async function measureDocker(
  { signal, registry }: Stage,
  image: ContentsImage,
  kind: Kind,
): Promise<Measurement> {
  await using engine = await startDockerd({ insecureRegistries: [registry.host] });
  const script = `export DOCKER_HOST="$1" && docker pull -q "$2" && docker create --name bench "$2" &&
    docker export bench | cat > /dev/null`;
  const args = [engine.dockerHost, `${registry.host}/${image.repository}`];
  const measured = await command(`docker-export-${kind}`, image, script, args, signal);
  // The engine works in another process.
  const { cpuSeconds: _, peakBytes: __, ...figures } = measured.figures;
  return { ...measured, figures };
}

async function command(
  id: RowId,
  { unpackedBytes }: ContentsImage,
  script: string,
  args: string[],
  signal: AbortSignal,
): Promise<Measurement> {
  const { seconds, cpuSeconds, peakBytes } = await runMetered('sh', ['-euc', script, 'sh', ...args], {
    signal,
  });
  return { id, figures: { seconds, imageBytes: unpackedBytes, cpuSeconds, peakBytes } };
}
