import { type TemporaryFolder, temporaryFolder } from '../test/support/temporary-folder.ts';
import { curl } from './curl.ts';
import { diskBytes } from './disk.ts';
import { archiveUrl, cacheFolder, startOverTls } from './dockerproxy-over-tls.ts';
import { describeDelay, watchEventLoop } from './event-loop.ts';
import { measureServer } from './measure-server.ts';
import { countGets, describeGets } from './registry-gets.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** Numbers of concurrent clients. */
export const crowd = 50;

/** Cold: a fresh process with an empty cache. Warm: the same process and cache, once it has sent the image. */
export function dockerProxyWays(stage: Stage, repetitions: number): Way[] {
  return [
    {
      ids: ['dockerproxy-cold', 'dockerproxy-warm'],
      essential: true,
      repetitions,
      measure: () => measureColdAndWarm(stage, 1, ['dockerproxy-cold', 'dockerproxy-warm']),
    },
    {
      ids: ['dockerproxy-cold-50', 'dockerproxy-warm-50'],
      essential: true,
      repetitions: 1,
      measure: () => measureColdAndWarm(stage, crowd, ['dockerproxy-cold-50', 'dockerproxy-warm-50']),
    },
  ];
}

async function measureColdAndWarm(
  stage: Stage,
  clients: number,
  [coldId, warmId]: [Measurement['id'], Measurement['id']],
): Promise<Measurement[]> {
  const { registry, signal, image } = stage;
  await using folder: TemporaryFolder = await temporaryFolder();
  const loop = watchEventLoop(folder);
  await using proxy = await startOverTls(stage, folder, loop.env);
  const server = { pid: proxy.pid, idleBytes: proxy.memory() };
  const urls = Array.from({ length: clients }, () => archiveUrl(proxy, registry, image));
  const measure = async (id: Measurement['id']): Promise<Measurement> => {
    await registry.reset();
    await loop.delay();
    const { figures, details } = await measureServer(server, clients * image.bytes, () =>
      curl(urls, { signal, certificate: stage.certificate.certificate, parallel: clients > 1 }),
    );
    const eventLoopP99Ms = await loop.delay();
    const gets = countGets(await registry.requests(), image);
    return {
      id,
      figures: { ...figures, diskBytes: await diskBytes(cacheFolder(folder)) },
      note: `${describeGets(gets)}; ${describeDelay(eventLoopP99Ms)}`,
      details: { ...details, ...gets, eventLoopP99Ms },
    };
  };
  return [await measure(coldId), await measure(warmId)];
}
