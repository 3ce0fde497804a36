import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { httpCall } from './http-request.ts';
import { type RunningProcess, spawnUntil } from './process.ts';
import type { PushHeaders } from './push.ts';
import { reservePort } from './reserve-port.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { waitFor } from './wait-for.ts';

export interface TokenAuth {
  realm: string;
  service: string;
  issuer: string;
  /** Path of the PEM bundle of certificates whose tokens the registry accepts. */
  certificate: string;
}

export interface RegistryOptions {
  /** `htpasswd` accepts only `registryUser`. */
  auth?: 'htpasswd' | TokenAuth;
  /** A loopback address; 127.0.0.1 by default. */
  address?: string;
  /** A reserved port by default, which no other program gets while the registry restarts. */
  port?: number;
  /** Paths of PEM files; with them the registry speaks TLS. */
  tls?: { certificate: string; key: string };
  /** The root of its file storage, which another registry may have filled; by default an empty folder. */
  storage?: string;
  /** Makes it a read-through mirror of another registry's URL. */
  mirrorOf?: string;
}

/** One line of the registry's own access log. */
export interface RegistryRequest {
  method: string;
  path: string;
  status: number;
  /** Bytes of the response's body, as the registry counted them. */
  bytes: number;
  userAgent: string;
}

export interface Registry extends AsyncDisposable {
  host: string;
  url: string;
  /** The root of its file storage. */
  dir: string;
  pid: number;
  /** The headers that `push` must send: the user's credentials with htpasswd, else empty. */
  headers: PushHeaders;
  /** All requests since the start or the last `reset`, in the order in which they ended. */
  requests(): Promise<RegistryRequest[]>;
  reset(): Promise<void>;
  stop(): Promise<void>;
  /** Restarts it with the same port and storage, and a new log. */
  restart(): Promise<void>;
}

export const registryUser = { name: 'alice', password: 'wonderland' };

/** bcrypt of the password above: the only form that the registry takes from an htpasswd file. */
const passwordHash = '$2b$05$dockerproxytestsalt.oOIfaXysGoI9RjQ2z1VUgiYa6UrVMCiP.';

/** Starts Debian's docker-registry (distribution 2.8) on a port that the kernel chose. */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const folder = await temporaryFolder();
  const dir = options.storage ?? join(folder.path, 'storage');
  const configFile = join(folder.path, 'config.yml');
  await mkdir(dir, { recursive: true });
  await writeFile(join(folder.path, 'htpasswd'), `${registryUser.name}:${passwordHash}\n`);
  const address = options.address ?? '127.0.0.1';

  const port = options.port ?? (await reservePort(address));
  const host = `${address}:${port}`;
  // JSON is YAML, and needs no library.
  await writeFile(configFile, JSON.stringify(configuration({ ...options, storage: dir }, folder.path, host)));

  const launch = (): Promise<RunningProcess> =>
    spawnUntil('docker-registry', ['serve', configFile], isListening, { env: withoutOverrides() });

  let running = await launch().catch(async (error) => {
    await folder[Symbol.asyncDispose]();
    throw error;
  });
  const url = `${options.tls ? 'https' : 'http'}://${host}`;
  let seen = 0;
  let marks = 0;

  /** The log is written after the response: a request of our own, once logged, shows that it has caught up. */
  const settledLog = async (): Promise<RegistryRequest[]> => {
    const mark = `/v2/?mark=${marks++}`;
    await httpCall(`${url}${mark}`);
    const caughtUp = () => parseLog(running.stdout()).some((request) => request.path === mark);
    await waitFor(caughtUp, { what: "the registry's log" });
    return parseLog(running.stdout());
  };
  const requests = async () =>
    (await settledLog()).slice(seen).filter((request) => !request.path.startsWith('/v2/?mark='));

  return {
    host,
    url,
    dir,
    get pid() {
      return running.pid;
    },
    headers: options.auth === 'htpasswd' ? { authorization: basicCredentials() } : {},
    requests,
    reset: async () => {
      seen = (await settledLog()).length;
    },
    stop: () => running.stop(),
    restart: async () => {
      await running.stop();
      seen = 0;
      running = await launch();
    },
    [Symbol.asyncDispose]: async () => {
      await running.stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The Authorization header of a user, `registryUser` by default. */
export function basicCredentials({ name, password } = registryUser): string {
  return `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
}

function configuration(options: RegistryOptions, folder: string, addr: string): object {
  const { auth, tls, mirrorOf } = options;
  return {
    version: '0.1',
    log: { level: 'info', formatter: 'json' },
    storage: {
      filesystem: { rootdirectory: options.storage },
      delete: { enabled: true },
      maintenance: { uploadpurging: { enabled: false } },
    },
    http: {
      addr,
      secret: 'test',
      ...(tls ? { tls: { certificate: tls.certificate, key: tls.key } } : {}),
    },
    // Foreign layers are refused unless their addresses are allowed.
    validation: { manifests: { urls: { allow: ['.*'] } } },
    ...(mirrorOf ? { proxy: { remoteurl: mirrorOf } } : {}),
    ...(auth ? { auth: authentication(auth, folder) } : {}),
  };
}

function authentication(auth: 'htpasswd' | TokenAuth, folder: string): object {
  if (auth === 'htpasswd') return { htpasswd: { realm: 'test', path: join(folder, 'htpasswd') } };
  const { realm, service, issuer, certificate } = auth;
  return { token: { realm, service, issuer, rootcertbundle: certificate } };
}

/** The registry lets environment variables override its configuration: the outer ones must not. */
function withoutOverrides(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !name.startsWith('REGISTRY_'));
  return { ...Object.fromEntries(entries), OTEL_TRACES_EXPORTER: 'none' };
}

function isListening(running: RunningProcess): boolean {
  return /"listening on [^"]*:\d+/.test(`${running.stderr()}${running.stdout()}`);
}

/** Apache's combined format: `127.0.0.1 - - [date] "GET /v2/ HTTP/1.1" 200 2 "referer" "agent"`. */
function parseLog(text: string): RegistryRequest[] {
  const line = /^\S+ - \S+ \[[^\]]*\] "(\S+) (\S+) [^"]*" (\d+) (\d+) "[^"]*" "([^"]*)"$/gm;
  return [...text.matchAll(line)].map(([, method = '', path = '', status, bytes, userAgent = '']) => ({
    method,
    path,
    status: Number(status),
    bytes: Number(bytes),
    userAgent,
  }));
}
