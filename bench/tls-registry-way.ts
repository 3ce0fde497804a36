import { rm, symlink } from 'node:fs/promises';
import { startRegistry } from '../test/support/registry.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { curl } from './curl.ts';
import { archiveUrl, startOverTls } from './dockerproxy-over-tls.ts';
import { asOneImage, measureServer } from './measure-server.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** Downloads from a registry over TLS with the same blobs: through DockerProxy, cold, and directly. */
export function tlsRegistryWay(stage: Stage, repetitions: number): Way {
  return {
    ids: ['dockerproxy-tls-registry', 'blobs-tls-registry'],
    repetitions,
    measure: () => measureBoth(stage),
  };
}

async function measureBoth(stage: Stage): Promise<Measurement[]> {
  const { registry: plain, signal, image, certificate } = stage;
  await using folder = await temporaryFolder();
  await using registry = await startRegistry({
    tls: { certificate: certificate.certificate, key: certificate.key },
  });
  await rm(registry.dir, { recursive: true });
  await symlink(plain.dir, registry.dir);
  const trust = { NODE_EXTRA_CA_CERTS: certificate.certificate };
  await using proxy = await startOverTls({ ...stage, registry, registryHasTls: true }, folder, trust);
  const options = { signal, certificate: certificate.certificate };
  const server = { pid: proxy.pid, idleBytes: proxy.memory() };
  const cold = await measureServer(server, image.bytes, () =>
    curl([archiveUrl(proxy, registry, image)], options),
  );
  const urls = image.blobUrls.map((url) => registry.url + new URL(url).pathname);
  const direct = asOneImage(await curl(urls, options));
  const { seconds, client } = direct;
  const { cpuSeconds, peakBytes } = client;
  const firstByteMs = direct.transfers[0]?.firstByteMs ?? Number.NaN;
  return [
    { id: 'dockerproxy-tls-registry', figures: cold.figures, details: cold.details },
    {
      id: 'blobs-tls-registry',
      figures: { firstByteMs, seconds, imageBytes: image.bytes, cpuSeconds, peakBytes },
    },
  ];
}
