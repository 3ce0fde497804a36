import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { workersOf } from '../test/cluster/processes.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { curl, type Transfers } from './curl.ts';
import { archiveUrl, startOverTls } from './dockerproxy-over-tls.ts';
import { crowd } from './dockerproxy-ways.ts';
import type { RowId } from './figures.ts';
import { measureServer } from './measure-server.ts';
import { ticksPerSecond } from './proc.ts';
import { residentBytes } from './server-meter.ts';
import { giveSmallCores } from './small-cores.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** Use several curls, because one is limited to one core. */
const CURLS = 10;
/** Milliseconds between the starts of two curls. If all started at once, one worker would accept most of them. */
const APART_MS = 70;
const SECONDS = 5;
/** Seconds of warm-up for each worker. */
const WARM_UP_SECONDS = 1;
/** The share of a core, so that clients on the same machine have enough CPU. */
const SMALL_CORE = 0.25;

/** The same crowd, served by one process and by two: with the cores of this machine, and with slower ones. */
export function workersWays(stage: Stage, repetitions: number): Way[] {
  const rows: [RowId, workers: number, share: number | undefined][] = [
    ['dockerproxy-workers-1', 1, undefined],
    ['dockerproxy-workers-2', 2, undefined],
    ['dockerproxy-small-cores-1', 1, SMALL_CORE],
    ['dockerproxy-small-cores-2', 2, SMALL_CORE],
  ];
  return rows.map(([id, workers, share]) => ({
    ids: [id],
    repetitions,
    measure: async () => [await measure(stage, id, workers, share)],
  }));
}

async function measure(
  stage: Stage,
  id: RowId,
  workers: number,
  share: number | undefined,
): Promise<Measurement> {
  const { registry, signal, image, certificate } = stage;
  const options = { signal, certificate: certificate.certificate };
  await using folder = await temporaryFolder();
  // The groups are removed after the processes in them have ended.
  await using groups = new AsyncDisposableStack();
  await using proxy = await startOverTls(stage, folder, { DOCKERPROXY_WORKERS: `${workers}` });
  const url = archiveUrl(proxy, registry, image);
  await curl([url], options);
  const serving = workers === 1 ? [proxy.pid] : workersOf(proxy);
  if (serving.length !== workers) throw new Error(`${serving.length} of ${workers} workers were found`);
  if (share !== undefined) groups.use(giveSmallCores(serving, share));
  const urls = Array.from({ length: crowd / CURLS }, () => url);
  const download = async (maxSeconds: number): Promise<Transfers> => {
    const all = { ...options, parallel: true, maxSeconds };
    const comesAt = async (at: number): Promise<Transfers> => {
      await pause(at * APART_MS);
      return curl(urls, all);
    };
    const began = performance.now();
    const transfers = await Promise.all(Array.from({ length: CURLS }, (_, at) => comesAt(at)));
    return together(transfers, (performance.now() - began) / 1000);
  };
  await download(WARM_UP_SECONDS);
  const idleSoFar = startIdleMeter();
  const { figures, transfers, details } = await measureServer(
    { pid: proxy.pid, idleBytes: residentBytes(proxy.pid) },
    0,
    () => download(SECONDS),
  );
  const { cpuSeconds = 0, clientCpuShare = 0, seconds } = figures;
  const idleCores = idleSoFar() / seconds;
  const cores = (cpuSeconds / seconds).toFixed(2);
  return {
    id,
    // The clients stop halfway, because only the bytes so far matter.
    figures: { ...figures, imageBytes: transfers.bytes },
    note:
      `${share === undefined ? '' : `each worker on ${share} of a core; `}the server had ${cores} cores, ` +
      `the clients ${clientCpuShare.toFixed(2)}, and ${idleCores.toFixed(2)} of ${availableParallelism()} were left`,
    details: { ...details, serverCores: cpuSeconds / seconds, clientCores: clientCpuShare, idleCores },
  };
}

/** @param seconds from the start of the first transfer to the end of the last */
function together(all: Transfers[], seconds: number): Transfers {
  const sum = (one: (transfers: Transfers) => number) => all.reduce((before, each) => before + one(each), 0);
  const [first] = all;
  if (first === undefined) throw new Error('there are no transfers');
  return {
    transfers: all.flatMap(({ transfers }) => transfers),
    seconds,
    bytes: sum(({ bytes }) => bytes),
    client: { ...first.client, cpuSeconds: sum(({ client }) => client.cpuSeconds) },
  };
}

/** Returns the idle seconds of all cores together. https://man7.org/linux/man-pages/man5/proc_stat.5.html */
function startIdleMeter(): () => number {
  const read = (): number => {
    const [, , , , idle = 0, waiting = 0] = (readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '')
      .split(/\s+/)
      .map(Number);
    return (idle + waiting) / ticksPerSecond;
  };
  const before = read();
  return () => read() - before;
}
