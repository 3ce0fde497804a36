import { join } from 'node:path';
import { startDockerd } from '../test/support/engines.ts';
import { whyNot } from '../test/support/packages.ts';
import { runOrThrow } from '../test/support/process.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { type ContentsImage, LAST_FILE, pushLargeFiles, pushSmallFiles } from './contents-image.ts';
import { curl, type Transfers } from './curl.ts';
import { startOverTls } from './dockerproxy-over-tls.ts';
import type { RowId } from './figures.ts';
import { measureServer } from './measure-server.ts';
import { runMetered } from './metered-command.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** Unpacked bytes of the image of large files, and small files, for each stored byte of the usual image. */
const UNPACKED = 2.4;
const SMALL_FILES_PER_MB = 600;

/** DockerProxy and others that unpack an image, with large files and with many small ones. */
export function contentsWays(stage: Stage, repetitions: number): Way[] {
  const { registry, signal, image } = stage;
  // Only the rows of this file need these images.
  let large: Promise<ContentsImage> | undefined;
  let small: Promise<ContentsImage> | undefined;
  const images = {
    large: () => (large ??= pushLargeFiles(registry, image.bytes * UNPACKED, signal)),
    small: () =>
      (small ??= pushSmallFiles(registry, Math.ceil((image.bytes / 1e6) * SMALL_FILES_PER_MB), signal)),
  };
  return (['large', 'small'] as const).flatMap((kind): Way[] => {
    const id = (name: 'rootfs-cold' | 'gunzip'): RowId => `${name}-${kind}`;
    return [
      {
        ids: [
          ...([
            `rootfs-cold-${kind}`,
            `rootfs-warm-${kind}`,
            `rootfs-end-${kind}`,
            `file-last-${kind}`,
          ] as const),
          ...([`files-list-${kind}`, `classic-cold-${kind}`, `classic-warm-${kind}`] as const),
        ],
        repetitions,
        measure: async () => measureDockerProxy(stage, await images[kind](), kind),
      },
      {
        ids: [id('gunzip')],
        repetitions,
        measure: async () => [await measureGunzip(stage, await images[kind](), kind)],
      },
      {
        ids: [`umoci-tar-${kind}`],
        absent: whyNot('umoci') ?? whyNot('skopeo'),
        repetitions: 1,
        measure: async () => [await measureUmoci(stage, await images[kind](), kind)],
      },
      {
        ids: [`docker-export-${kind}`],
        absent: whyNot('dockerd'),
        repetitions: 1,
        measure: async () => [await measureDocker(stage, await images[kind](), kind)],
      },
    ];
  });
}

type Kind = 'large' | 'small';

async function measureDockerProxy(stage: Stage, image: ContentsImage, kind: Kind): Promise<Measurement[]> {
  const { signal, certificate, registry } = stage;
  const own = { signal, certificate: certificate.certificate };
  const reference = `myimage=${registry.host}/${image.repository}`;
  const measured: Measurement[] = [];
  for (const format of ['rootfs', 'docker-classic'] as const) {
    await using folder = await temporaryFolder();
    await using proxy = await startOverTls(stage, folder);
    const server = { pid: proxy.pid, idleBytes: proxy.memory() };
    const url = `${proxy.url}/dl?${reference}&format=${format}`;
    const measure = async (id: RowId, get: () => Promise<Transfers>, bytes = image.unpackedBytes * 0.9) => {
      const { figures, details } = await measureServer(server, bytes, get);
      measured.push({
        id,
        figures: { ...figures, imageBytes: bytes < 1e6 ? 0 : image.unpackedBytes },
        details,
      });
    };
    const whole = () => curl([url], own);
    if (format === 'docker-classic') {
      await measure(`classic-cold-${kind}`, whole);
      await measure(`classic-warm-${kind}`, whole);
      continue;
    }
    await measure(`rootfs-cold-${kind}`, whole);
    await measure(`rootfs-warm-${kind}`, whole);
    await measure(`rootfs-end-${kind}`, () => curl([url], { ...own, ranges: ['-10000'] }), 10_000);
    await measure(
      `file-last-${kind}`,
      () => curl([`${proxy.url}/file?${reference}&path=${LAST_FILE}`], own),
      1,
    );
    const list = `${proxy.url}/api/v1/files?${reference}&path=${kind === 'small' ? 'data/1' : '/'}`;
    // The first request opens the connection.
    const again = async (): Promise<Transfers> => {
      const { transfers, ...rest } = await curl([list, list], own);
      return { ...rest, transfers: transfers.slice(1) };
    };
    await measure(`files-list-${kind}`, again, 1);
  }
  return measured;
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
