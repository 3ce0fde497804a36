import { dirname, join } from 'node:path';
import { startDockerd } from '../test/support/engines.ts';
import { type PartName, whyNot } from '../test/support/packages.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { curl } from './curl.ts';
import { diskBytes } from './disk.ts';
import { asOneImage } from './measure-server.ts';
import { runMetered } from './metered-command.ts';
import { residentBytes, startMeter } from './server-meter.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** Other programs that fetch an image. The slow ones are measured once. */
export function peerWays(stage: Stage, repetitions: number): Way[] {
  const reference = `${stage.registry.host}/${stage.image.repository}:latest`;
  const way = (part: PartName, id: Measurement['id'], times: number, measure: Way['measure']): Way => ({
    ids: [id],
    absent: whyNot(part),
    repetitions: times,
    measure,
  });
  return [
    way('curl', 'blobs', repetitions, async () => [await fetchBlobs(stage)]),
    way('skopeo', 'skopeo-oci', repetitions, async () => [await copyWithSkopeo(stage, reference, 'oci')]),
    way('skopeo', 'skopeo-docker', 1, async () => [await copyWithSkopeo(stage, reference, 'docker')]),
    way('dockerd', 'docker', 1, async () => [await pullAndSave(stage, reference)]),
  ];
}

async function fetchBlobs({ image, signal, certificate }: Stage): Promise<Measurement> {
  const fetched = asOneImage(await curl(image.blobUrls, { signal, certificate: certificate.certificate }));
  const { seconds, client, transfers } = fetched;
  const firstByteMs = transfers[0]?.firstByteMs ?? Number.NaN;
  const { cpuSeconds, peakBytes } = client;
  return { id: 'blobs', figures: { firstByteMs, seconds, imageBytes: image.bytes, cpuSeconds, peakBytes } };
}

async function copyWithSkopeo(
  { image, signal }: Stage,
  reference: string,
  kind: 'docker' | 'oci',
): Promise<Measurement> {
  await using folder = await temporaryFolder();
  await using scratch = await temporaryFolder();
  const target = `${kind}-archive:${join(folder.path, 'image.tar')}:bench:latest`;
  const { firstByteMs, ...cost } = await runMetered(
    'skopeo',
    [
      '--insecure-policy',
      'copy',
      '--quiet',
      '--src-tls-verify=false',
      '--src-no-creds',
      `docker://${reference}`,
      target,
    ],
    { signal, outputFolder: folder.path, env: { ...process.env, TMPDIR: scratch.path } },
  );
  const { seconds, cpuSeconds, peakBytes } = cost;
  return {
    id: `skopeo-${kind}`,
    figures: {
      ...(firstByteMs === undefined ? {} : { firstByteMs }),
      ...{ seconds, imageBytes: image.bytes, cpuSeconds, peakBytes },
      diskBytes: await diskBytes(folder.path),
    },
  };
}

async function pullAndSave({ image, signal, registry }: Stage, reference: string): Promise<Measurement> {
  await using folder = await temporaryFolder();
  await using engine = await startDockerd({ insecureRegistries: [registry.host] });
  const home = dirname(engine.socket);
  const env = { ...process.env, DOCKER_CONFIG: join(home, 'client') };
  const docker = (args: string[]) =>
    runMetered('docker', ['--host', engine.dockerHost, ...args], { signal, env, outputFolder: folder.path });
  const costSoFar = startMeter(engine.pid, residentBytes(engine.pid));
  const pulled = await docker(['pull', '--quiet', reference]);
  const saved = await docker(['save', '--output', join(folder.path, 'image.tar'), reference]);
  const { cpuSeconds, ...memory } = costSoFar();
  return {
    id: 'docker',
    figures: {
      firstByteMs: pulled.seconds * 1000 + (saved.firstByteMs ?? saved.seconds * 1000),
      seconds: pulled.seconds + saved.seconds,
      imageBytes: image.bytes,
      cpuSeconds: cpuSeconds + pulled.cpuSeconds + saved.cpuSeconds,
      ...memory,
      diskBytes: (await diskBytes(home)) + (await diskBytes(folder.path)),
    },
    details: { pullSeconds: pulled.seconds, saveSeconds: saved.seconds },
  };
}
