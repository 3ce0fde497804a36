import assert from 'node:assert/strict';
import { createHash, hash } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Download, download, type OngoingDownload, startDownload } from '../support/download.ts';
import { expectedArchive } from '../support/expected-archive.ts';
import { type FaultProxy, type ProxiedRequest, startFaultProxy } from '../support/fault-proxy.ts';
import { image, type Layer } from '../support/images.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

interface BlobOfImage {
  digest: string;
  size: number;
}

/** An image of random layers, and the expected bytes of its download. */
export interface PublishedImage {
  name: string;
  layers: BlobOfImage[];
  /** The first of the layers. */
  layer: BlobOfImage;
  config: string;
  manifest: string;
  expected: Pick<Download, 'sha256' | 'size'>;
}

/** A DockerProxy with its cache folder. */
export interface CachingProxy extends DockerProxy {
  folder: string;
}

/** A registry behind a proxy that injects faults, and DockerProxies with their cache folders. */
export interface CacheBed extends AsyncDisposable {
  registry: Registry;
  upstream: FaultProxy;
  /** Pushes an image with layers of about these sizes, and forgets the requests so far. */
  publish(name: string, sizes: readonly number[], tag?: string): Promise<PublishedImage>;
  /** Forgets the faults and requests so far, and returns the path of a new cache folder, which its user creates. */
  newFolder(): Promise<string>;
  start(folder: string, env?: NodeJS.ProcessEnv): Promise<CachingProxy>;
  /** Starts a DockerProxy with a new cache folder. */
  startAnew(env?: NodeJS.ProcessEnv): Promise<CachingProxy>;
  url(proxy: DockerProxy, published: PublishedImage): string;
  get(proxy: DockerProxy, published: PublishedImage): Promise<Download>;
  begin(proxy: DockerProxy, published: PublishedImage, pauseAt?: number): OngoingDownload;
  /** GET requests for a blob or a manifest, in order. */
  gets(reference: string): ProxiedRequest[];
  /** Downloads and checks that every byte is right. */
  check(proxy: DockerProxy, published: PublishedImage): Promise<void>;
  /** Holds the first request for a blob back after a number of bytes, until the returned function is called. */
  holdFirst(blob: { digest: string }, bytes: number): () => void;
  /** Forgets the faults and requests so far. */
  reset(): void;
}

const platform = { os: 'linux', architecture: 'amd64' };

export async function startCacheBed(): Promise<CacheBed> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry());
  const upstream = stack.use(await startFaultProxy(registry.url));
  const folder = stack.use(await temporaryFolder());
  const env = { DOCKERPROXY_INSECURE_REGISTRIES: upstream.host };
  const made = new Map<string, Layer>();
  const layerOf = async (size: number, seed: string): Promise<Layer> => {
    const known = made.get(`${seed} ${size}`);
    if (known !== undefined) return known;
    const layer = bed.use(await randomLayer(size, seed));
    made.set(`${seed} ${size}`, layer);
    return layer;
  };
  const url = (proxy: DockerProxy, { name }: { name: string }): string =>
    `${proxy.url}/dl?myimage=${upstream.host}/${name}`;
  const reset = (): void => {
    upstream.inject(undefined);
    upstream.requests.length = 0;
  };
  const newFolder = async (): Promise<string> => {
    reset();
    return join(await mkdtemp(join(folder.path, 'cache-')), 'folder');
  };
  const start = async (cache: string, more: NodeJS.ProcessEnv = {}): Promise<CachingProxy> => {
    const proxy = await startDockerProxy({ env: { ...env, DOCKERPROXY_CACHE_DIR: cache, ...more } });
    return Object.assign(proxy, { folder: cache });
  };
  const bed = stack.move();
  return {
    registry,
    upstream,
    publish: async (name, sizes, tag = 'latest') => {
      const layers: Layer[] = [];
      for (const [at, size] of sizes.entries()) layers.push(await layerOf(size, `${name} ${at}`));
      const pushed = image({ platform, layers });
      await push(registry.url, name, tag, pushed);
      const archive = expectedArchive(`${upstream.host}/${name}:${tag}`, pushed);
      reset();
      const descriptors = pushed.layers.map(({ descriptor }) => descriptor);
      return {
        name: tag === 'latest' ? name : `${name}:${tag}`,
        layers: descriptors,
        layer: descriptors[0] as BlobOfImage,
        config: pushed.config.descriptor.digest,
        manifest: pushed.descriptor.digest,
        expected: { sha256: hash('sha256', archive), size: archive.length },
      };
    },
    newFolder,
    start,
    startAnew: async (more) => start(await newFolder(), more),
    url,
    get: (proxy, published) => download(url(proxy, published)),
    begin: (proxy, published, pauseAt) =>
      startDownload(url(proxy, published), pauseAt === undefined ? {} : { pauseAt }),
    gets: (wanted) =>
      upstream.requests.filter(({ method, path }) => method === 'GET' && path.endsWith(`/${wanted}`)),
    check: async (proxy, published) => isRight(await download(url(proxy, published)), published),
    holdFirst: ({ digest }, bytes) => {
      const gate = Promise.withResolvers<void>();
      let isFirst = true;
      upstream.inject(({ path }) => {
        if (!isFirst || !path.endsWith(digest)) return undefined;
        isFirst = false;
        return { kind: 'stall', after: bytes, until: gate.promise };
      });
      return gate.resolve;
    },
    reset,
    [Symbol.asyncDispose]: () => bed.disposeAsync(),
  };
}

export function isRight({ status, sha256, size }: Download, { expected }: PublishedImage): void {
  assert.deepEqual({ status, sha256, size }, { status: 200, ...expected });
}

/** Ends a process as a crash would. */
export async function kill(proxy: DockerProxy): Promise<void> {
  process.kill(proxy.pid, 'SIGKILL');
  await proxy.exited;
}

/** Lists all files below a folder with their sizes, without locks. Skips files that disappear meanwhile. */
export async function filesOf(folder: string): Promise<Map<string, number>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const sizes = await Promise.all(paths.map(async (path) => (await stat(path).catch(() => undefined))?.size));
  return new Map(
    paths.flatMap((path, at) => {
      const size = sizes[at];
      return size === undefined || /\.lock(-journal)?$/.test(path)
        ? []
        : [[path.slice(folder.length + 1), size]];
    }),
  );
}

/** Checks that each file with the final name of a blob has the right content. */
export async function onlyVerified(folder: string): Promise<void> {
  for (const file of (await filesOf(folder)).keys()) {
    if (!file.startsWith('blobs/')) continue;
    const hash = createHash('sha256').update(await readFile(join(folder, file)));
    assert.equal(hash.digest('hex'), file.split('/').at(-1), 'a blob that is not what its name says');
  }
}

export function blobPath(folder: string, digest: string): string {
  const hex = digest.slice('sha256:'.length);
  return join(folder, 'blobs', 'sha256', hex.slice(0, 2), hex);
}

export function incomingPath(folder: string, { digest, size }: { digest: string; size: number }): string {
  const incoming = join(folder, 'incoming');
  const pattern = new RegExp(`^${digest.replace(':', '-')}\\.[0-9a-f]{16}\\.${size}$`);
  const name = existsSync(incoming) && readdirSync(incoming).find((file) => pattern.test(file));
  return join(incoming, name || 'nothing');
}

/** Bytes of a file; undefined if absent. */
export async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}

export async function isKept(folder: string, { digest }: { digest: string }): Promise<void> {
  const path = blobPath(folder, digest);
  await waitFor(async () => (await sizeOf(path)) !== undefined, { what: `${digest} to be kept` });
}

/** Counts the files of its cache folder that a process has open, including removed ones. */
export async function openFiles({ pid, folder }: CachingProxy): Promise<number> {
  const descriptors = await readdir(`/proc/${pid}/fd`);
  const links = await Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
  return links.filter((link) => link.startsWith(folder)).length;
}

/** Checks that no open file and no lock remains of readers and fetches, and that the process is healthy. */
export async function isQuiet(proxy: CachingProxy): Promise<void> {
  await waitFor(async () => (await openFiles(proxy)) === 0, { what: 'all files to be closed' });
  const locks = async () =>
    (await readdir(join(proxy.folder, 'incoming')).catch(() => [])).filter((name) => name.includes('.lock'));
  await waitFor(async () => (await locks()).length === 0, { what: 'all locks to be gone' });
  livesWell(proxy);
}

export function livesWell(proxy: DockerProxy): void {
  process.kill(proxy.pid, 0);
  const fatal = proxy.logs().filter(({ level }) => level >= 50);
  assert.deepEqual(fatal, [], 'errors in the log');
}

/** The Range of a request as its first byte; 0 without one. */
export function startOf({ headers }: ProxiedRequest): number {
  return Number(/^bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0);
}
