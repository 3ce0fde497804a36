import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { memoryOf } from '../bench/proc.ts';
import { formatTargets } from '../bench/table.ts';
import type { Target } from '../bench/targets.ts';
import { type DockerProxy, startDockerProxy } from '../test/support/dockerproxy.ts';
import { type HostileRegistry, startHostileRegistry } from '../test/support/hostile-registry.ts';
import { blob, type Image, image, layerMediaType, sha256 } from '../test/support/images.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { hostileKinds } from './kinds.ts';
import type { Resources } from './resources-monitor.ts';
import { type SlowClients, startSlowClients } from './slow-clients.ts';
import { createCaller, sendTraffic, type Tally } from './traffic.ts';

/** The duration, the number of concurrent slow downloads, and the rate of other requests. */
const seconds = Number(process.env.LOAD_SECONDS ?? 45);
const downloads = Number(process.env.LOAD_DOWNLOADS ?? 1000);
const rate = Number(process.env.LOAD_RATE ?? 500);
/** Bytes a second of a slow client, which are far above the minimum rate. */
const PACE = 16 * 1024;
const LAYER_BYTES = 32 * 1024 * 1024;
const SETTLE_MS = 20_000;
/** Readings of the resources during the load. */
const SAMPLES = 20;
/** Maximum bytes of unused buffers for the next downloads. */
const LEFT_MAX = 50e6;
const HUGE = 900_000_000;
const monitor = pathToFileURL(join(import.meta.dirname, 'resources-monitor.ts')).href;

await using folder = await temporaryFolder();
await using registry = await startHostileRegistry();
const socket = join(folder.path, 'resources.sock');
await using proxy = await startDockerProxy({
  env: {
    DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
    // These limits count every request, but the load does not reach them.
    DOCKERPROXY_CONNECTIONS_PER_CLIENT: '100000',
    DOCKERPROXY_RATE_LIMIT: `${HUGE}/hour`,
    DOCKERPROXY_DOWNLOADS_PER_IP: `${HUGE}`,
    DOCKERPROXY_MAX_DOWNLOADS: `${HUGE}`,
    DOCKERPROXY_DAILY_BYTES: `${HUGE}MiB`,
    DOCKERPROXY_LOG_LEVEL: 'info',
    ...{ NODE_OPTIONS: `--import=${monitor}`, RESOURCES_SOCKET: socket },
  },
});
process.stdout.write(`${downloads} slow downloads and ${rate} requests/s for ${seconds} s on loopback …\n\n`);
const targets = await run(proxy, registry);
process.stdout.write(`${formatTargets(targets)}\n`);
if (targets.some(({ reached }) => reached === false)) process.exitCode = 1;

async function run({ url, pid }: DockerProxy, registry: HostileRegistry): Promise<Target[]> {
  const origin = new URL(url);
  const served = serveLargeImage(registry);
  const archive = `/dl?myimage=${registry.host}/large@${served.descriptor.digest}`;
  const caller = createCaller(origin);
  const kinds = hostileKinds({ origin, registry, archive, caller });
  // The modules that the first request loads, and the cached layer, do not belong to the load.
  await caller.call('GET', archive);
  await sendTraffic(kinds, 50, 4);
  await settled(() => true);
  const before = { ...(await resources()), descriptors: descriptors(pid) };

  const slow = await startSlowClients(new URL(archive, origin), downloads, PACE);
  const memory: number[] = [];
  const watch = setInterval(() => memory.push(memoryOf(pid, 'VmRSS')), 500);
  const end = new AbortController();
  const samples = sampleResources(end.signal);
  const tally = await sendTraffic(kinds, rate, seconds);
  clearInterval(watch);
  end.abort();
  const result = [
    ...verdicts(tally, slow, memory, await samples),
    ...(await countedVerdicts(origin, tally, slow)),
  ];
  slow.leave();
  caller.close();
  const after = await settled(
    ({ active, bytes }) =>
      descriptors(pid) <= before.descriptors &&
      timers(active) <= timers(before.active) &&
      bytes - before.bytes <= LEFT_MAX,
  );
  return [
    ...result,
    most('descriptors left behind', descriptors(pid) - before.descriptors, 0),
    most('timers left behind', timers(after.active) - timers(before.active), 0),
    most('MB left behind', (after.bytes - before.bytes) / 1e6, LEFT_MAX / 1e6),
  ];

  async function settled(isCalm: (now: Resources) => boolean): Promise<Resources> {
    const deadline = performance.now() + SETTLE_MS;
    // Idle connections to registries close by themselves.
    await pause(6_000);
    for (;;) {
      const now = await resources();
      if (isCalm(now) || performance.now() > deadline) return now;
      await pause(500);
    }
  }
}

function verdicts(tally: Tally, slow: SlowClients, memory: number[], samples: Resources[]): Target[] {
  const latencies = tally.latencies.toSorted((a, b) => a - b);
  const wrong = [...tally.wrong].map(([what, count]) => `${what} (${count})`);
  if (wrong.length > 0) process.stdout.write(`Unexpected answers: ${wrong.join(', ')}\n\n`);
  return [
    least('slow downloads that are still served', slow.alive(), downloads),
    least('KB that the slowest of them received', slow.fewest() / 1000, (PACE * seconds * 0.5) / 1000),
    least('other requests a second', tally.answered / seconds, rate * 0.9),
    most('errors of our own', tally.ours, 0),
    most(
      'unexpected answers',
      [...tally.wrong.values()].reduce((a, b) => a + b, 0),
      0,
    ),
    most(
      'ms, the 99th percentile of good answers',
      latencies[Math.floor(latencies.length * 0.99)] ?? 0,
      2000,
    ),
    most(
      'ms, delay of the event loop (99th percentile)',
      Math.max(...samples.map(({ lateMs }) => lateMs)),
      500,
    ),
    most('MB of memory, at most', Math.max(...memory) / 1e6, 1000),
    // Resident memory depends on the time of garbage collection, so the test compares the memory in use.
    most(
      '% growth of the memory in use in the last half',
      growth(samples.map(({ bytes }) => bytes)) * 100,
      10,
    ),
  ];
}

/** Compares the least of the last quarter with that of the second, because chunks in flight come on top. */
function growth(values: number[]): number {
  const quarter = Math.floor(values.length / 4);
  return Math.min(...values.slice(-quarter)) / Math.min(...values.slice(quarter, 2 * quarter)) - 1;
}

/** The limits that remain for a client, as the service reports them. */
interface ClientLimits {
  requests: { limit: number; remaining: number };
  downloads: { active: number };
  bytes: { limit: number; remaining: number };
}

/** True if the limits have counted the requests. */
async function countedVerdicts(origin: URL, tally: Tally, slow: SlowClients): Promise<Target[]> {
  const busy = await limitsOf(origin, '127.0.0.1');
  const each = await Promise.all(
    slow.some().map(async ({ address, bytes }) => ({ bytes, limits: await limitsOf(origin, address) })),
  );
  const missing = each.map(({ bytes, limits }) => bytes - used(limits.bytes));
  return [
    // The page, health checks and malformed requests do not count.
    least('requests that were counted', used(busy.requests), tally.sent * 0.7),
    least('MB of their answers that were counted', used(busy.bytes) / 1e6, (tally.sent * 0.2 * 65_536) / 1e6),
    least('slow clients of 10 whose one download is counted', each.filter(hasOne).length, each.length),
    most('bytes of slow clients that were not counted', Math.max(...missing, 0), 0),
  ];

  function hasOne({ limits: { downloads, requests } }: (typeof each)[number]): boolean {
    return downloads.active === 1 && used(requests) >= 1;
  }
}

function used({ limit, remaining }: { limit: number; remaining: number }): number {
  return limit - remaining;
}

async function limitsOf(origin: URL, localAddress: string): Promise<ClientLimits> {
  const asked = get(new URL('/api/v1/limits', origin), { localAddress, agent: false });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return JSON.parse(await text(response)) as ClientLimits;
}

function serveLargeImage(registry: HostileRegistry): Image {
  const bytes = createCipheriv('aes-256-ctr', Buffer.alloc(32), Buffer.alloc(16)).update(
    Buffer.alloc(LAYER_BYTES),
  );
  const layer = { ...blob(layerMediaType.gzip, bytes), diffId: sha256(bytes) };
  const made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [layer] });
  const contents = new Map(
    [made.config, layer].map((one) => [one.descriptor.digest, one.content as Uint8Array]),
  );
  registry.misbehave('large', {
    manifest: (_request, response) => void response.end(made.bytes),
    blob: (request, response) => void response.end(contents.get((request.url ?? '').replace(/.*\//, ''))),
  });
  return made;
}

/** Reads the resources at regular intervals until the signal. */
async function sampleResources(ended: AbortSignal): Promise<Resources[]> {
  const samples: Resources[] = [];
  while (!ended.aborted) {
    await pause((seconds * 1000) / SAMPLES);
    samples.push(await resources());
  }
  return samples;
}

async function resources(): Promise<Resources> {
  return JSON.parse(await text(connect(socket))) as Resources;
}

function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function timers(active: Resources['active']): number {
  return active.Timeout ?? 0;
}

function least(name: string, value: number, limit: number): Target {
  return { name, value: shown(value), wanted: `≥ ${shown(limit)}`, reached: value >= limit };
}

function most(name: string, value: number, limit: number): Target {
  return { name, value: shown(value), wanted: `≤ ${shown(limit)}`, reached: value <= limit };
}

function shown(value: number): string {
  return String(Math.round(value * 10) / 10);
}
