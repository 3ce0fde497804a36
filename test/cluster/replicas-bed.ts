import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { processTree } from '../../bench/proc.ts';
import { type DockerProxy, type DockerProxyOptions, startDockerProxy } from '../support/dockerproxy.ts';
import { download } from '../support/download.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type Haproxy, startHaproxy } from '../support/haproxy.ts';
import { image, type Layer } from '../support/images.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** The names of the replicas in HAProxy. */
export const NAMES = ['one', 'two', 'three'] as const;
export const WORKERS = 2;
const IMAGES = 12;
const BASE_BYTES = 4_000_000;
const LAYER_BYTES = 12_000_000;

/** An image, by its path at any of the services. */
export interface ServedImage {
  path: string;
  layers: readonly string[];
  sha256: string;
  size: number;
}

/**
 * Three replicas of two workers each, behind HAProxy, with one Redis. They share a registry and a pull-through mirror
 * of it, which they ask first. The connections between them can be broken.
 */
export interface ReplicasBed extends AsyncDisposable {
  redis: RedisServer;
  /** The requests to the registry, from the mirror and from the replicas. */
  origin: FaultProxy;
  /** The requests of the replicas to the mirror. */
  mirror: FaultProxy;
  pullThrough: Registry;
  /** Images that share a base layer, each with one more layer. */
  images: readonly ServedImage[];
  /** Starts three of them, and HAProxy in front. */
  start(settings?: NodeJS.ProcessEnv): Promise<Replicas>;
}

export interface Replicas extends AsyncDisposable {
  front: Haproxy;
  all: readonly DockerProxy[];
  /** Returns a replica by its name in HAProxy. */
  named(name: string): DockerProxy;
  /** Kills a replica and its workers at once, like a power failure. */
  kill(replica: DockerProxy): Promise<void>;
}

export async function startReplicasBed(): Promise<ReplicasBed> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const redis = stack.use(await startRedis());
  const registry = stack.use(await startRegistry());
  const origin = stack.use(await startFaultProxy(registry.url));
  const pullThrough = stack.use(await startRegistry({ mirrorOf: origin.url }));
  const mirror = stack.use(await startFaultProxy(pullThrough.url));
  const settings = join(folder.path, 'settings.toml');
  await writeFile(settings, `[registries."${origin.host}"]\nmirrors = ["${mirror.url}"]\n`);

  const base = stack.use(await randomLayer(BASE_BYTES, 'base'));
  const pushed: { path: string; layers: Layer[] }[] = [];
  for (let at = 0; at < IMAGES; at += 1) {
    const layers = [base, stack.use(await randomLayer(LAYER_BYTES, `layer ${at}`))];
    await push(
      registry.url,
      'team/app',
      `v${at}`,
      image({ platform: { os: 'linux', architecture: 'amd64' }, layers }),
    );
    pushed.push({ path: `/dl?myimage=${origin.host}/team/app:v${at}`, layers });
  }
  const env = { DOCKERPROXY_INSECURE_REGISTRIES: origin.host };
  const images: ServedImage[] = [];
  {
    await using alone = await startDockerProxy({ env: { ...env, DOCKERPROXY_CACHE_SIZE: '0' } });
    for (const { path, layers } of pushed) {
      const { sha256, size } = await download(`${alone.url}${path}`);
      images.push({ path, sha256, size, layers: layers.map(({ descriptor }) => descriptor.digest) });
    }
  }
  origin.requests.length = 0;
  const held = stack.move();
  return {
    ...{ redis, origin, mirror, pullThrough, images },
    start: (more = {}) =>
      startReplicas({
        args: ['--config', settings],
        timeout: 60_000,
        env: {
          ...env,
          DOCKERPROXY_REDIS_URL: redis.url,
          DOCKERPROXY_WORKERS: `${WORKERS}`,
          DOCKERPROXY_TRUST_PROXY: '127.0.0.1',
          ...more,
        },
      }),
    [Symbol.asyncDispose]: () => held[Symbol.asyncDispose](),
  };
}

async function startReplicas(options: DockerProxyOptions): Promise<Replicas> {
  await using stack = new AsyncDisposableStack();
  const all = await Promise.all(NAMES.map(async () => stack.use(await startDockerProxy(options))));
  const front = stack.use(await startHaproxy(all.map(({ url }) => url)));
  const held = stack.move();
  return {
    ...{ front, all },
    named(name) {
      const replica = all[NAMES.indexOf(name as (typeof NAMES)[number])];
      assert.ok(replica !== undefined, name);
      return replica;
    },
    async kill(replica) {
      for (const { pid } of processTree(replica.pid)) process.kill(pid, 'SIGKILL');
      await replica.exited;
    },
    [Symbol.asyncDispose]: () => held[Symbol.asyncDispose](),
  };
}

export interface Answer {
  status: number;
  /** The replica that sent the response. */
  server: string;
  body: Buffer;
}

/** Sends a request through HAProxy from a separate client address. */
export async function ask(
  { front }: Replicas,
  path: string,
  { client = '127.0.0.1', method = 'GET' } = {},
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const options = { agent: false, ca: front.ca, localAddress: client, method };
  get(`${front.url}${path}`, options, resolve).once('error', reject);
  const response = await promise;
  const body = await buffer(response);
  return { status: response.statusCode ?? 0, server: `${response.headers['x-server']}`, body };
}

/** Counts the values by kind. */
export function tally(values: readonly (string | number)[]): Record<string, number> {
  return Object.fromEntries(
    [...new Set(values)].sort().map((one) => [one, values.filter((value) => value === one).length]),
  );
}
