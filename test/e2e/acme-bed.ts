import assert from 'node:assert/strict';
import type { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { LookupFunction } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { type AcmeProxy, startAcmeProxy } from '../support/acme-proxy.ts';
import { createCurrentAuthority } from '../support/current-authority.ts';
import { type DockerProxy, type LogRecord, startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { type Pebble, type PebbleOptions, startPebble } from '../support/pebble.ts';
import { reservePort } from '../support/reserve-port.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

export const DOMAIN = 'dl.dockerproxy.test';
const ISSUE_MS = 90_000;

/** A pebble, a proxy in front of it that injects faults, and DockerProxies that get their certificates from it. */
export interface AcmeBed extends AsyncDisposable {
  pebble: Pebble;
  authority: AcmeProxy;
  /** Path of the PEM file with the root certificate. */
  rootFile: string;
  /** The state folder, the same for all. */
  stateDir: string;
  /** The settings of each DockerProxy, as variables. */
  settings: NodeJS.ProcessEnv;
  start(env?: NodeJS.ProcessEnv): Promise<DockerProxy>;
  /** Starts one and waits for its certificate. */
  startWithCertificate(env?: NodeJS.ProcessEnv): Promise<DockerProxy>;
  /** Waits until a certificate is obtained and saved. It is served before it is saved. */
  issued(proxy: DockerProxy): Promise<void>;
  /** The files of one kind in the state folder, as paths. */
  files(kind: 'certificates' | 'accounts' | 'attempts' | 'challenges'): Promise<string[]>;
  /** Client options for trusting the root and finding the domain. */
  client(): Promise<{ ca: Buffer; lookup: LookupFunction }>;
}

export interface CertificateReport {
  ready: boolean;
  state: string;
  notAfter: string;
  nextAttempt: string;
  lastFailure?: { code: string; at: string };
}

export interface AcmeBedOptions extends Partial<PebbleOptions> {
  stateDir?: string;
  /** The ACME client that orders. Without it, the default. */
  client?: string;
  /** True if the authority answers like those of 2023 instead of today's. */
  isOld?: boolean;
}

export async function startAcmeBed(options: AcmeBedOptions = {}): Promise<AcmeBed> {
  await using stack = new AsyncDisposableStack();
  const httpPort = await reservePort();
  const folder = stack.use(await temporaryFolder());
  const stateDir = options.stateDir ?? join(folder.path, 'state');
  const pebble = stack.use(await startPebble({ httpPort, ...options }));
  const authority = stack.use(await startAcmeProxy(pebble));
  const current = createCurrentAuthority();
  const rootFile = options.isOld ? pebble.rootFile : join(folder.path, 'root.pem');
  if (!options.isOld) {
    authority.alter = current.alter;
    await writeFile(rootFile, current.root);
  }
  const settings = {
    DOCKERPROXY_PORT: `${httpPort}`,
    DOCKERPROXY_DOMAINS: DOMAIN,
    DOCKERPROXY_ACME_EMAIL: 'ops@example.org',
    DOCKERPROXY_ACME_DIRECTORY: authority.directory,
    DOCKERPROXY_ACME_CLIENT: options.client,
    DOCKERPROXY_STATE_DIR: stateDir,
    NODE_EXTRA_CA_CERTS: pebble.caFile,
  };
  const start = (env: NodeJS.ProcessEnv = {}): Promise<DockerProxy> =>
    startDockerProxy({ env: { ...settings, ...env } });
  const files: AcmeBed['files'] = async (kind) => {
    const names = await readdir(join(stateDir, 'tls', kind)).catch(() => []);
    return names.sort().map((name) => join(stateDir, 'tls', kind, name));
  };
  const issued = async (proxy: DockerProxy): Promise<void> => {
    await untilIssued(proxy, async () => {
      const isSaved = (await files('certificates')).some((file) => file.endsWith('.pem'));
      return isSaved && (await certificateOf(proxy)).state === 'valid';
    });
  };
  const bed = stack.move();
  return {
    pebble,
    authority,
    rootFile,
    stateDir,
    settings,
    start,
    async startWithCertificate(env) {
      await using stack = new AsyncDisposableStack();
      const proxy = stack.use(await start(env));
      await issued(proxy);
      stack.move();
      return proxy;
    },
    issued,
    files,
    client: async () => ({
      ca: await readFile(rootFile),
      lookup: (_host, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
    }),
    [Symbol.asyncDispose]: () => bed.disposeAsync(),
  };
}

/** Returns the certificate's state from the readiness report, and the status of the response. */
export async function certificateOf(proxy: DockerProxy): Promise<CertificateReport> {
  const { status, body } = await httpCall(`${proxy.url}/readyz`);
  const { certificate } = JSON.parse(body.toString()).checks as { certificate: CertificateReport };
  assert.equal(status === 200, certificate.ready);
  return certificate;
}

/** Returns the certificate of a new connection, from any issuer. */
export async function shownBy(proxy: DockerProxy): Promise<X509Certificate> {
  const { port } = new URL(proxy.url);
  const socket = connect({
    host: '127.0.0.1',
    port: Number(port),
    servername: DOMAIN,
    rejectUnauthorized: false,
  });
  await once(socket, 'secureConnect');
  const certificate = socket.getPeerX509Certificate();
  socket.destroy();
  assert.ok(certificate !== undefined);
  return certificate;
}

/** Waits for a result of an order. If it does not come, the error contains the log. */
export async function untilIssued<T>(proxy: DockerProxy, condition: () => Promise<T | false>): Promise<T> {
  try {
    return (await waitFor(condition, { timeout: ISSUE_MS, what: 'a certificate' })) as T;
  } catch (cause) {
    const log = proxy.logs().map(({ time, msg }) => `${time} ${msg}`);
    throw new Error(`There is no certificate:\n${log.join('\n')}`, { cause });
  }
}

/** Waits for the log line of a failure. */
export function failureOf(proxy: DockerProxy, code: string): Promise<LogRecord> {
  const found = (): LogRecord | undefined => proxy.logs().find((line) => line.code === code);
  return waitFor(found, { timeout: ISSUE_MS, what: `the failure ${code}` });
}

/** Replaces a valid certificate early. */
export async function forceRenewal(bed: AcmeBed, proxy: DockerProxy): Promise<void> {
  for (const file of await bed.files('certificates')) await rm(file);
  process.kill(proxy.pid, 'SIGHUP');
}
