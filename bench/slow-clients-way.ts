import { setTimeout as delay } from 'node:timers/promises';
import type { DockerProxy } from '../test/support/dockerproxy.ts';
import { type TemporaryFolder, temporaryFolder } from '../test/support/temporary-folder.ts';
import { curl } from './curl.ts';
import { archiveUrl, startOverTls } from './dockerproxy-over-tls.ts';
import { describeDelay, watchEventLoop } from './event-loop.ts';
import type { RowId } from './figures.ts';
import { measureServer } from './measure-server.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** Clients that read a megabyte a second, and the measured server. */
export interface SlowClients {
  readonly id: RowId;
  /** The clients of the first crowd. */
  readonly clients: number;
  /**
   * The clients of the second crowd; one curl serves at most 300 at once. Its peak minus that of the first shows the
   * memory of each further client, without what the process takes once it is busy.
   */
  readonly moreClients: number;
  urlOf(proxy: DockerProxy): string;
}

const seconds = 15;
/** Milliseconds until an idle process has freed the memory of its startup, which would hide some memory of the clients. */
const UNTIL_FREED_MS = 4_000;

export function slowClientsWay(stage: Stage): Way {
  const id = 'dockerproxy-slow-200';
  const urlOf = (proxy: DockerProxy): string => archiveUrl(proxy, stage.registry, stage.image);
  return {
    ids: [id],
    essential: true,
    repetitions: 1,
    measure: async () => [await measureSlowClients(stage, { id, clients: 200, moreClients: 300, urlOf })],
  };
}

/** Measures the memory of each of many clients that read a megabyte a second for some time. */
export async function measureSlowClients(
  stage: Stage,
  { id, clients, moreClients, urlOf }: SlowClients,
): Promise<Measurement> {
  const { signal, certificate } = stage;
  await using folder: TemporaryFolder = await temporaryFolder();
  const options = { signal, certificate: certificate.certificate };
  {
    // Another process fills the cache, so that its memory does not count as idle memory below.
    await using filler = await startOverTls(stage, folder);
    await curl([urlOf(filler)], options);
  }
  const loop = watchEventLoop(folder);
  await using proxy = await startOverTls(stage, folder, loop.env);
  const url = urlOf(proxy);
  // The first client pays for loading and compiling modules, so it is not measured.
  await curl([url], options);
  await delay(UNTIL_FREED_MS, undefined, { signal });
  const server = { pid: proxy.pid, idleBytes: proxy.memory() };
  const measureClients = (count: number) =>
    measureServer(server, 0, () =>
      curl(
        Array.from({ length: count }, () => url),
        {
          ...options,
          ...{ parallel: true, limitRate: '1M', maxSeconds: seconds },
        },
      ),
    );
  await loop.delay();
  const { figures, transfers, details } = await measureClients(clients);
  const eventLoopP99Ms = await loop.delay();
  const { figures: more } = await measureClients(moreClients);
  const { peakBytes = Number.NaN } = figures;
  const bytesPerClient = (figures.aboveIdleBytes ?? Number.NaN) / clients;
  const bytesPerFurtherClient = ((more.peakBytes ?? Number.NaN) - peakBytes) / (moreClients - clients);
  const kilobytes = (bytes: number): string => `${Math.round(bytes / 1000)} KB`;
  return {
    id,
    // The clients stop halfway, because only the bytes so far matter.
    figures: { ...figures, imageBytes: transfers.bytes },
    note: [
      `${kilobytes(bytesPerClient)} above idle for each client`,
      `${kilobytes(bytesPerFurtherClient)} for each of ${moreClients - clients} more`,
      describeDelay(eventLoopP99Ms),
    ].join('; '),
    details: { ...details, eventLoopP99Ms, bytesPerClient, bytesPerFurtherClient },
  };
}
