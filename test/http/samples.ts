import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after } from 'node:test';
import { pino } from 'pino';
import { FORMAT_NAMES } from '../../src/archive/format.ts';
import { createChecksums } from '../../src/download/checksums.ts';
import type { ServiceInfo } from '../../src/http/api/info.ts';
import type { ConnectionLimits } from '../../src/http/listener/connections.ts';
import { createDrain, type Drain } from '../../src/http/listener/drain.ts';
import type { RequestTimeouts } from '../../src/http/listener/parser-options.ts';
import type { PressureLimits } from '../../src/http/plugins/load-shedding.ts';
import type { HttpMetrics } from '../../src/http/protocol/metrics-port.ts';
import type { Addresses } from '../../src/http/protocol/own-address.ts';
import { createServer } from '../../src/http/server.ts';
import type { CountingStore } from '../../src/limits/counting-store.ts';
import { createLimits, type LimitOptions } from '../../src/limits/limits.ts';
import { createMemoryCountingStore } from '../../src/limits/memory-counting-store.ts';
import { sha256 } from '../../src/oci/digest.ts';
import { parseNamePattern } from '../../src/oci/name-pattern.ts';
import { createAllowlist } from '../../src/policy/allowlist.ts';
import { type ClientList, createClientList } from '../../src/policy/client-list.ts';
import type { RepositorySearch } from '../../src/registry/hub-search.ts';
import type { TagList } from '../../src/registry/tag-list.ts';
import type { ImageDetails, ImageInspector } from '../../src/sources/image-catalogue.ts';
import type {
  Archive,
  ArchiveRequest,
  ImageSource,
  LiveArchive,
  SourceTraits,
} from '../../src/sources/image-source.ts';
import { NOT_CHECKED } from '../../src/sources/signatures/image-signatures.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { createReadiness } from '../../src/telemetry/readiness.ts';
import { parseAddressRange } from '../../src/util/ip-address.ts';
import { createMemoryCaches, type MemoryCaches } from '../../src/util/memory-caches.ts';

const DEADLINE_MS = 30_000;

/** A file of 10,000 bytes without repetitions. */
export const FILE = Buffer.from(Array.from({ length: 2000 }, (_, at) => `${at}`.padStart(5, '0')).join(''));
export const ETAG = '"1-file"';
export const DIGEST = sha256(FILE);

export const INFO: ServiceInfo = {
  version: '1.2.3',
  operator: { name: 'Example Labs', contact: 'mailto:images@example.org' },
  source: 'registry',
  defaultPlatform: 'linux/amd64',
  allowed: ['**'],
  denied: [],
  policy: [],
  maxImageSize: null,
  maxImages: 10,
  clientCredentials: false,
  registryApi: true,
  search: false,
};

/** An archive in memory, of which a test replaces some properties. */
export function sampleArchive(parts: Partial<Archive> = {}): Archive {
  return {
    filename: 'busybox.tar',
    size: FILE.length,
    etag: ETAG,
    digests: [DIGEST],
    zstd: false,
    staleSince: undefined,
    read: (range) => Readable.from(chunksOf(FILE.subarray(range?.start, range?.end))),
    ...parts,
  };
}

function chunksOf(bytes: Buffer): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / 777) }, (_, at) =>
    bytes.subarray(at * 777, (at + 1) * 777),
  );
}

/** The description of an image; a test replaces the parts that matter to it. */
export function sampleDetails(parts: Partial<ImageDetails> = {}): ImageDetails {
  return {
    kind: 'image',
    format: 'docker',
    digest: DIGEST,
    indexDigest: undefined,
    platform: 'linux/amd64',
    platforms: ['linux/amd64', 'linux/arm64'],
    filename: 'busybox.tar',
    size: FILE.length,
    etag: ETAG,
    layers: [{ digest: DIGEST, size: FILE.length }],
    created: new Date('2026-01-01T00:00:00Z'),
    config: {
      ...{
        entrypoint: undefined,
        command: ['sh'],
        workingDir: '/',
        user: undefined,
        exposedPorts: ['80/tcp'],
        truncated: false,
      },
    },
    zstd: false,
    signature: NOT_CHECKED,
    staleSince: undefined,
    ...parts,
  };
}

export function sampleTags(tags: readonly string[]): TagList {
  return { tags, isComplete: true };
}

type Archived = Archive | LiveArchive;

export interface ServerSetup {
  open?: (request: ArchiveRequest, signal: AbortSignal) => Archived | Promise<Archived>;
  allow?: readonly string[];
  deny?: readonly string[];
  trustProxy?: readonly string[];
  clients?: ClientList;
  catalogue?: Partial<ImageInspector>;
  search?: RepositorySearch;
  connections?: Partial<ConnectionLimits>;
  pressure?: PressureLimits;
  caches?: MemoryCaches;
  timeouts?: RequestTimeouts;
  tls?: { cert: Buffer; key: Buffer };
  logLevel?: 'info' | 'debug';
  /** The limits to set; unlimited by default. */
  limits?: Partial<LimitOptions>;
  store?: CountingStore;
  /** The clock for bandwidth limits, in monotonic milliseconds; the clock of this process by default. */
  uptime?: () => number;
  traits?: Partial<SourceTraits>;
  contentsOnDemand?: number;
  meter?: HttpMetrics;
  /** The folder of checksums; not stored by default. */
  checksumFolder?: string;
  addresses?: Addresses;
  drain?: Drain;
  info?: () => ServiceInfo;
}

export const NO_CONNECTION_LIMITS: ConnectionLimits = {
  maxConnections: 0,
  connectionsPerClient: 0,
  exempt: [],
  slowestClient: { bytesPerSecond: 0, patience: 0 },
};

/** No limits, because other work on the machine can delay the event loop. */
export const NO_PRESSURE_LIMITS: PressureLimits = {
  maxDelay: 0,
  memory: [],
  collectGarbage: () => {},
  interval: 200,
};

const NO_LIMITS: LimitOptions = {
  rateLimit: { limit: 0, window: 60_000 },
  pageRateLimit: { limit: 0, window: 60_000 },
  downloadsPerIp: 0,
  connectionsPerDownload: 0,
  maxDownloads: 0,
  dailyBytes: 0,
  bandwidthPerIp: 0,
};

export interface LogLine {
  level: number;
  msg: string;
  [field: string]: unknown;
}

export interface RunningServer extends AsyncDisposable {
  port: number;
  /** The requests to the source, in order, without their callback for slots. */
  requests: ArchiveRequest[];
  log: LogLine[];
  /** Waits for the first log line that matches. */
  logged(message: RegExp): Promise<LogLine>;
  get(path: string, headers?: Record<string, string>): Promise<Answer>;
  send(method: string, path: string, headers?: Record<string, string>): Promise<Answer>;
  closeConnections(): void;
}

/** For immediate results: the signal aborts a wait that takes longer. */
export function soon(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(DEADLINE_MS) };
}

/** The real server over a source in memory, on a port of the kernel's choice. */
export async function startServer(setup: ServerSetup = {}): Promise<RunningServer> {
  const { open = () => sampleArchive(), allow = ['**'], deny = [], trustProxy = [] } = setup;
  const { clients = createClientList({ allow: undefined, deny: [] }) } = setup;
  const { connections, tls, pressure = NO_PRESSURE_LIMITS, timeouts, logLevel = 'info' } = setup;
  const { store = createMemoryCountingStore(Date.now) } = setup;
  const limits = createLimits(
    { ...NO_LIMITS, ...setup.limits },
    {
      ...{ store, holder: 'test', uptime: setup.uptime ?? (() => performance.now()) },
      caches: setup.caches ?? createMemoryCaches(() => performance.now()),
    },
  );
  const requests: ArchiveRequest[] = [];
  const source: ImageSource = {
    traits: { formats: FORMAT_NAMES, preparesArchives: false, isReproducible: true, ...setup.traits },
    async open(request, signal) {
      const { onCostly: _, ...asked } = request;
      requests.push(asked);
      return open(request, signal);
    },
  };
  const log: LogLine[] = [];
  const stream = new Writable({
    write(line: Buffer, _encoding, done) {
      log.push(JSON.parse(line.toString()) as LogLine);
      stream.emit('line');
      done();
    },
  });
  const app = await createServer({
    tls: tls && { context: tls, isTrusted: true },
    connections: { ...NO_CONNECTION_LIMITS, ...connections },
    pressure,
    ...(setup.caches && { caches: setup.caches }),
    ...(timeouts && { timeouts }),
    readiness: createReadiness({}),
    info: setup.info ?? (() => INFO),
    trustProxy: trustProxy.map(parseAddressRange),
    clients,
    limits,
    contentsOnDemand: setup.contentsOnDemand ?? 0,
    files: undefined,
    meter:
      setup.meter ??
      createMetrics({
        version: '0',
        isKnownRegistry: () => false,
        certificateEnd: () => undefined,
        isCertificateFailing: () => false,
      }).http,
    drain: setup.drain ?? createDrain(),
    logger: pino({ level: logLevel }, stream),
    source,
    checksums: createChecksums(
      setup.checksumFolder,
      createMemoryCaches(() => performance.now()),
    ),
    addresses: () => setup.addresses ?? { replicas: [], domains: [] },
    referrers: async () => ({ referrers: [], isComplete: true }),
    catalogue: {
      describe: async () => sampleDetails(),
      tags: async () => sampleTags([]),
      ...setup.catalogue,
    },
    search: setup.search,
    allowlist: createAllowlist({ allow: allow.map(parseNamePattern), deny: deny.map(parseNamePattern) }),
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const address = app.server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const { port } = address;
  const send = (method: string, path: string, headers: Record<string, string> = {}): Promise<Answer> =>
    speak(port, requestHead(method, path, headers));
  return {
    port,
    requests,
    log,
    async logged(message) {
      for (;;) {
        const line = log.find(({ msg }) => message.test(msg));
        if (line !== undefined) return line;
        await once(stream, 'line', soon());
      }
    },
    get: (path, headers) => send('GET', path, headers),
    send,
    closeConnections: () => app.server.closeAllConnections(),
    [Symbol.asyncDispose]: async () => {
      app.server.closeAllConnections();
      await app.close();
    },
  };
}

let shared: Promise<RunningServer> | undefined;
let openShared: NonNullable<ServerSetup['open']>;
after(async () => (await shared)?.[Symbol.asyncDispose]());

/**
 * Starts one server for all tests of the process, because a start takes more time than most tests. Its disposal only
 * closes the connections. Tests that run at the same time must not share it.
 */
export async function sharedServer(
  open: NonNullable<ServerSetup['open']> = () => sampleArchive(),
): Promise<RunningServer> {
  openShared = open;
  shared ??= startServer({ open: (request, signal) => openShared(request, signal) });
  const server = await shared;
  server.requests.length = 0;
  server.log.length = 0;
  return { ...server, [Symbol.asyncDispose]: async () => server.closeConnections() };
}

/** A response as received. */
export interface Answer {
  status: number;
  reason: string;
  /** The status line and headers as received. */
  head: string;
  header(name: string): string | undefined;
  /** The received bytes until the connection closed, whether or not they are complete. */
  body: Buffer;
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  help: string;
  retryAfter?: number;
}

export function problemOf(answer: Answer): Problem {
  assert.match(answer.header('content-type') ?? '', /^application\/problem\+json(?:; charset=utf-8)?$/);
  return JSON.parse(answer.body.toString()) as Problem;
}

export function requestHead(method: string, path: string, headers: Record<string, string> = {}): string {
  const lines = Object.entries({ host: 'dl.example', connection: 'close', ...headers });
  return `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
}

/** Sends bytes unchanged, and reads until the server closes the connection in any way. */
export async function speak(port: number, request: string): Promise<Answer> {
  const socket = connect(port, '127.0.0.1');
  // A reset ends the response as a close does, and the bytes before it count.
  const chunks: Buffer[] = [];
  socket.on('error', () => {}).on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.write(request, 'latin1');
  await once(socket, 'close', soon());
  return parseAnswer(await buffer(Readable.from(chunks)));
}

function parseAnswer(bytes: Buffer): Answer {
  const end = bytes.indexOf('\r\n\r\n');
  const head = bytes.subarray(0, end).toString('latin1');
  const [statusLine = '', ...lines] = head.split('\r\n');
  const [, status, reason = ''] = /^HTTP\/1\.1 (\d{3}) (.*)$/.exec(statusLine) ?? [];
  const headers = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
  );
  return {
    status: Number(status),
    reason,
    head,
    header: (name) => headers.get(name),
    body: bytes.subarray(end + 4),
  };
}
