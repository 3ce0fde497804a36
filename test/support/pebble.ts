import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCertificates } from './certificates.ts';
import { httpCall } from './http-request.ts';
import { type RunningProcess, spawnUntil } from './process.ts';
import { reservePort } from './reserve-port.ts';
import { temporaryFolder } from './temporary-folder.ts';
import { waitFor } from './wait-for.ts';

export interface PebbleOptions {
  /** The port on 127.0.0.1 at which all domains serve their challenges. */
  httpPort: number;
  /** The port on 127.0.0.1 at which every domain is asked by TLS-ALPN-01. */
  tlsPort?: number;
  /** Seconds that certificates are valid; 90 days by default. */
  lifetime?: number;
  /** How many of a hundred good nonces are refused; 20 by default. */
  refusedNonces?: number;
  /** Seconds that each validation takes at most, at random; 0 by default. */
  validationSeconds?: number;
  /** How many of a hundred orders reuse a valid authorization; 0 by default. */
  keptAuthorizations?: number;
  /** HMAC keys in base64url by their identifiers. With any, accounts need an external account binding. */
  externalKeys?: Readonly<Record<string, string>>;
  /** Number of further roots, each with a chain of its own. */
  alternateRoots?: number;
  /** The URL of the OCSP responder that its certificates name. */
  ocspUrl?: string;
}

/** A running ACME authority. */
export interface Pebble extends AsyncDisposable {
  directory: string;
  /** The port, for a proxy in front of it. */
  port: number;
  /** The DNS server that it asks: its address, and the URL at which records are set. */
  dns: { server: string; management: string };
  /** Path of the PEM file of the certificate that signs its own; for NODE_EXTRA_CA_CERTS. */
  caFile: string;
  /** The path of the PEM file of the root that signs its certificates. */
  rootFile: string;
  /** Its own HTTPS certificate and key, for a proxy. */
  server: { cert: string; key: string };
  /** How many certificates it has issued. */
  issued(): number;
  /** Reads a root in PEM; 0 is the default. */
  root(index: number): Promise<string>;
  /** Reads the certificate that signs others, and its key, in PEM. */
  signer(): Promise<{ cert: string; key: string }>;
  log(): string;
  stop(): Promise<void>;
}

const NINETY_DAYS_S = 7_776_000;

/**
 * Let's Encrypt's ACME server for tests, with a DNS server that resolves every name to 127.0.0.1. It validates without
 * its usual delays.
 *
 * @see https://github.com/letsencrypt/pebble
 */
export async function startPebble(options: PebbleOptions): Promise<Pebble> {
  const { httpPort, lifetime = NINETY_DAYS_S, refusedNonces = 20, keptAuthorizations = 0 } = options;
  const { externalKeys, alternateRoots = 0, tlsPort = 1, validationSeconds = 0, ocspUrl } = options;
  const folder = await temporaryFolder();
  const { server } = await makeCertificates(folder.path);
  const own = { cert: join(server, 'cert.pem'), key: join(server, 'key.pem') };
  const port = await reservePort();
  const managementPort = await reservePort();
  const dnsPort = await reservePort();
  const configFile = join(folder.path, 'pebble.json');
  await writeFile(
    configFile,
    JSON.stringify({
      pebble: {
        listenAddress: `127.0.0.1:${port}`,
        managementListenAddress: `127.0.0.1:${managementPort}`,
        certificate: own.cert,
        privateKey: own.key,
        httpPort,
        tlsPort,
        certificateValidityPeriod: lifetime,
        ...(ocspUrl !== undefined && { ocspResponderURL: ocspUrl }),
        ...(externalKeys !== undefined && {
          externalAccountBindingRequired: true,
          externalAccountMACKeys: externalKeys,
        }),
      },
    }),
  );
  const started: RunningProcess[] = [];
  const dispose = async (): Promise<void> => {
    await Promise.all(started.map((running) => running.stop()));
    await folder[Symbol.asyncDispose]();
  };
  try {
    const managementOfDns = `127.0.0.1:${await reservePort()}`;
    started.push(await startDns(dnsPort, managementOfDns));
    const pebble = await startServer(configFile, {
      dnsPort,
      refusedNonces,
      keptAuthorizations,
      alternateRoots,
      validationSeconds,
    });
    started.push(pebble);
    const rootFile = join(folder.path, 'root.pem');
    // Its message about listening comes too early, so poll it.
    await answerOf(`https://127.0.0.1:${port}/dir`);
    const managed = async (path: string): Promise<string> =>
      (await answerOf(`https://127.0.0.1:${managementPort}/${path}`)).toString();
    await writeFile(rootFile, await managed('roots/0'));
    const log = (): string => `${pebble.stdout()}${pebble.stderr()}`;
    return {
      directory: `https://127.0.0.1:${port}/dir`,
      port,
      dns: { server: `127.0.0.1:${dnsPort}`, management: `http://${managementOfDns}` },
      caFile: join(folder.path, 'ca.pem'),
      rootFile,
      server: own,
      issued: () => log().match(/Issued certificate serial/g)?.length ?? 0,
      root: (index) => managed(`roots/${index}`),
      signer: async () => ({
        cert: await managed('intermediates/0'),
        key: await managed('intermediate-keys/0'),
      }),
      log,
      stop: () => pebble.stop(),
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

function answerOf(url: string): Promise<Buffer> {
  const ask = (): Promise<Buffer | undefined> =>
    httpCall(url).then(
      ({ body }) => body,
      () => undefined,
    );
  return waitFor(ask, { what: url });
}

async function startDns(port: number, management: string): Promise<RunningProcess> {
  const off = ['-http01', '', '-https01', '', '-tlsalpn01', ''];
  return spawnUntil(
    'pebble-challtestsrv',
    [
      '-defaultIPv4',
      '127.0.0.1',
      '-defaultIPv6',
      '',
      '-dns01',
      `127.0.0.1:${port}`,
      ...off,
      '-management',
      management,
    ],
    (running) => /Starting challenge servers/.test(`${running.stdout()}${running.stderr()}`),
  );
}

function startServer(
  configFile: string,
  {
    dnsPort,
    refusedNonces,
    keptAuthorizations,
    alternateRoots,
    validationSeconds,
  }: Record<
    'dnsPort' | 'refusedNonces' | 'keptAuthorizations' | 'alternateRoots' | 'validationSeconds',
    number
  >,
): Promise<RunningProcess> {
  const env = {
    ...process.env,
    ...(validationSeconds === 0
      ? { PEBBLE_VA_NOSLEEP: '1' }
      : { PEBBLE_VA_SLEEPTIME: `${validationSeconds}` }),
    PEBBLE_WFE_NONCEREJECT: `${refusedNonces}`,
    PEBBLE_AUTHZREUSE: `${keptAuthorizations}`,
    PEBBLE_ALTERNATE_ROOTS: `${alternateRoots}`,
  };
  return spawnUntil(
    'pebble',
    ['-config', configFile, '-dnsserver', `127.0.0.1:${dnsPort}`],
    (running) => /ACME directory available/.test(`${running.stdout()}${running.stderr()}`),
    { env },
  );
}
