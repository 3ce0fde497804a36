import { readFile } from 'node:fs/promises';
import { whyNot } from '../test/support/packages.ts';
import { type RedisServer, startRedis } from '../test/support/redis.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { curl } from './curl.ts';
import { archiveUrl, startOverTls } from './dockerproxy-over-tls.ts';
import type { RowId } from './figures.ts';
import { usageOf } from './proc.ts';
import { sendRequests } from './request-client.ts';
import { startMeter } from './server-meter.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

const REQUESTS = 4000;
/** The first byte of an image, which costs the same as the whole image, except for the transfer. */
const DOWNLOADS = 1000;
/** Requests of each kind until the engine has compiled the code for them. */
const WARM_UP = { requests: 4000, downloads: 500 };

/** Enables all limits that each request counts, with values that the benchmark does not reach. */
const LIMITS = {
  DOCKERPROXY_RATE_LIMIT: '100000000/hour',
  DOCKERPROXY_DOWNLOADS_PER_IP: '100000',
  DOCKERPROXY_MAX_DOWNLOADS: '100000',
  DOCKERPROXY_DAILY_BYTES: '1000TiB',
};

/** Measures requests that only count, and downloads of one byte, with counters in a file and in Redis. */
export function redisWays(stage: Stage, repetitions: number): Way[] {
  return [
    { ids: ['dockerproxy-requests'], repetitions, measure: async () => [await measure(stage)] },
    {
      ids: ['dockerproxy-requests-redis'],
      absent: whyNot('redis-server'),
      repetitions,
      async measure() {
        await using redis = await startRedis();
        return [await measure(stage, redis)];
      },
    },
  ];
}

async function measure(stage: Stage, redis?: RedisServer): Promise<Measurement> {
  const { registry, signal, image, certificate } = stage;
  const id: RowId = redis === undefined ? 'dockerproxy-requests' : 'dockerproxy-requests-redis';
  await using folder = await temporaryFolder();
  const env = { ...LIMITS, ...(redis && { DOCKERPROXY_REDIS_URL: redis.url }) };
  await using proxy = await startOverTls(stage, folder, env);
  const url = archiveUrl(proxy, registry, image);
  await curl([url], { signal, certificate: certificate.certificate });
  const ca = await readFile(certificate.certificate);
  const info = `${proxy.url}/api/v1/info`;
  const firstByte = { range: 'bytes=0-0' };
  await sendRequests(info, WARM_UP.requests, ca);
  await sendRequests(url, WARM_UP.downloads, ca, firstByte);

  const costSoFar = startMeter(proxy.pid, proxy.memory());
  const cost = redis && startRedisMeter(redis);
  const asked = await sendRequests(info, REQUESTS, ca);
  const { cpuSeconds, peakBytes } = costSoFar();
  const ofRequest = await cost?.(REQUESTS);
  const costOfDownloads = redis && startRedisMeter(redis);
  const downloaded = await sendRequests(url, DOWNLOADS, ca, firstByte);
  const ofDownload = await costOfDownloads?.(DOWNLOADS);
  const micros = (seconds: number): string => `${Math.round(seconds * 1e6)} µs`;
  return {
    id,
    figures: { firstByteMs: asked.median, seconds: asked.seconds, imageBytes: 0, cpuSeconds, peakBytes },
    note: [
      `${Math.round(REQUESTS / asked.seconds)} requests a second, ${micros(cpuSeconds / REQUESTS)} of CPU each`,
      `the first byte of ${Math.round(DOWNLOADS / downloaded.seconds)} downloads a second`,
      ...(ofRequest && ofDownload
        ? [
            `of Redis, ${ofRequest.scripts.toFixed(1)} scripts and ${micros(ofRequest.cpuSeconds)} of CPU for a request`,
            `${ofDownload.scripts.toFixed(1)} and ${micros(ofDownload.cpuSeconds)} for a download`,
          ]
        : []),
    ].join('; '),
    details: {
      requestsPerSecond: REQUESTS / asked.seconds,
      downloadsPerSecond: DOWNLOADS / downloaded.seconds,
      cpuSecondsPerRequest: cpuSeconds / REQUESTS,
      ...(ofRequest && {
        redisScriptsPerRequest: ofRequest.scripts,
        redisCpuPerRequest: ofRequest.cpuSeconds,
      }),
      ...(ofDownload && {
        redisScriptsPerDownload: ofDownload.scripts,
        redisCpuPerDownload: ofDownload.cpuSeconds,
      }),
    },
  };
}

/** Returns a meter that divides the work of Redis since the call by a number of requests. */
function startRedisMeter(
  redis: RedisServer,
): (count: number) => Promise<{ scripts: number; cpuSeconds: number }> {
  const cpu = (): number => usageOf(redis.pid)?.cpuSeconds ?? Number.NaN;
  const before = { scripts: scriptsOf(redis), cpuSeconds: cpu() };
  return async (count) => ({
    scripts: ((await scriptsOf(redis)) - (await before.scripts)) / count,
    cpuSeconds: (cpu() - before.cpuSeconds) / count,
  });
}

async function scriptsOf({ cli }: RedisServer): Promise<number> {
  const [, calls] = /^cmdstat_evalsha:calls=(\d+)/m.exec(await cli('info', 'commandstats')) ?? [];
  return Number(calls ?? 0);
}
