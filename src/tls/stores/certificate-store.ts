import { createHash } from 'node:crypto';
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type FileOwner, replaceFile } from '../../util/atomic-file.ts';
import { type Certificate, parseCertificate } from '../certificate.ts';
import type { CertificateFailure } from '../certificate-provider.ts';

/** An account with an ACME authority. */
export interface AcmeAccount {
  /** Its private key, as a JSON Web Key. */
  readonly key: object;
  /** Its URL; undefined if the authority does not know the key yet. */
  readonly url: string | undefined;
}

/** The renewal that an authority suggests for a certificate. All times are in milliseconds since the epoch. */
export interface StoredSuggestion {
  /** The fingerprint of the certificate. */
  readonly fingerprint: string;
  readonly start: number;
  readonly end: number;
  /** The time at which the authority wants to be asked again. */
  readonly askAt: number;
  /** The time of the last order that the authority suggested; undefined before the first one. */
  readonly orderedAt?: number | undefined;
}

/**
 * Stores certificates, accounts, and attempts by authority: the directory URL of an ACME authority, or another name.
 * Each write is atomic.
 */
export interface CertificateStore {
  certificate(authority: string): Promise<Certificate | undefined>;
  putCertificate(authority: string, certificate: Certificate): Promise<void>;
  account(authority: string): Promise<AcmeAccount | undefined>;
  putAccount(authority: string, account: AcmeAccount): Promise<void>;
  /** The times of attempts that failed, in milliseconds since the epoch. */
  attempts(authority: string): Promise<readonly number[]>;
  putAttempts(authority: string, attempts: readonly number[]): Promise<void>;
  /** The failure of the last attempt; undefined after a success. */
  failure(authority: string): Promise<CertificateFailure | undefined>;
  putFailure(authority: string, failure: CertificateFailure | undefined): Promise<void>;
  /** The time of an operator's request for a renewal, until the service takes it; milliseconds since the epoch. */
  request(authority: string): Promise<number | undefined>;
  putRequest(authority: string, at: number | undefined): Promise<void>;
  suggestion(authority: string): Promise<StoredSuggestion | undefined>;
  putSuggestion(authority: string, suggestion: StoredSuggestion): Promise<void>;
}

/** The storage of a certificate store. Each text has a kind and an authority, and is written atomically. */
export interface EncryptedStore {
  /**
   * Reads a text; undefined if absent or unusable.
   *
   * @param parse throws if the text is invalid
   */
  load<T>(kind: VaultKind, authority: string, parse: (content: string) => T): Promise<T | undefined>;
  save(kind: VaultKind, authority: string, content: string): Promise<void>;
}

export type VaultKind = 'certificates' | 'accounts' | 'attempts' | 'failures' | 'requests' | 'suggestions';

export interface DiskStoreOptions {
  readonly folder: string;
  /** Called with a damaged file, which was renamed to `….damaged`. */
  readonly onDamage: (path: string, error: Error) => void;
  /** The owner of new files, if it is another user. */
  readonly owner?: FileOwner | undefined;
}

const KEY_BLOCK = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----\n?/;

/**
 * Encodes a certificate as its key and chain in one PEM text, so that the two always match. Encodes an account as
 * `{"directory": "https://…", "url": "https://…", "key": {…}}`, attempts as `[1795472635262]`, and failures as
 * `{"at": 1795472635262, "code": "ca-slow", "message": "…"}`. `null` takes the place of a failure or request that is over.
 */
export function createCertificateStore({ load, save }: EncryptedStore): CertificateStore {
  return {
    certificate: (authority) => load('certificates', authority, parsePem),
    putCertificate: (authority, { key, cert }) => save('certificates', authority, `${key.trim()}\n${cert}`),
    account: (authority) => load('accounts', authority, parseAccount),
    putAccount: (authority, { url, key }) =>
      save('accounts', authority, JSON.stringify({ directory: authority, url, key })),
    attempts: async (authority) => (await load('attempts', authority, parseAttempts)) ?? [],
    putAttempts: (authority, attempts) => save('attempts', authority, JSON.stringify(attempts)),
    failure: async (authority) => (await load('failures', authority, parseFailure)) ?? undefined,
    putFailure: (authority, failure) => save('failures', authority, JSON.stringify(failure ?? null)),
    request: async (authority) => (await load('requests', authority, parseRequest)) ?? undefined,
    putRequest: (authority, at) => save('requests', authority, JSON.stringify(at ?? null)),
    suggestion: (authority) => load('suggestions', authority, parseSuggestion),
    putSuggestion: (authority, suggestion) => save('suggestions', authority, JSON.stringify(suggestion)),
  };
}

/**
 * Stores the texts in files that only their user can read:
 *
 *     certificates/acme-v02.api.letsencrypt.org-1a2b3c4d.pem
 *     accounts/acme-v02.api.letsencrypt.org-1a2b3c4d.json
 *     attempts/acme-v02.api.letsencrypt.org-1a2b3c4d.json
 *     failures/acme-v02.api.letsencrypt.org-1a2b3c4d.json
 *     requests/acme-v02.api.letsencrypt.org-1a2b3c4d.json
 *     suggestions/acme-v02.api.letsencrypt.org-1a2b3c4d.json
 */
export function createDiskStore({ folder, onDamage, owner }: DiskStoreOptions): CertificateStore {
  const pathOf = (kind: VaultKind, authority: string): string =>
    join(folder, kind, `${authorityName(authority)}.${kind === 'certificates' ? 'pem' : 'json'}`);
  return createCertificateStore({
    async load(kind, authority, parse) {
      const path = pathOf(kind, authority);
      const content = await readIfThere(path);
      if (content === undefined) return undefined;
      try {
        return parse(content);
      } catch (error) {
        // Renames the damaged file for an analysis. If that fails, the next write overwrites it.
        await rename(path, `${path}.damaged`).catch(() => {});
        onDamage(path, error as Error);
        return undefined;
      }
    },
    save: (kind, authority, content) =>
      replaceFile(pathOf(kind, authority), content, { isDurable: true, owner }),
  });
}

/** A readable name for an authority, unique to it. */
export function authorityName(authority: string): string {
  const host = URL.parse(authority)?.hostname ?? '';
  const hash = createHash('sha256').update(authority).digest('hex').slice(0, 8);
  return host === '' ? authority : `${host.replace(/[^a-z0-9.-]/g, '_')}-${hash}`;
}

function parsePem(content: string): Certificate {
  const [key = ''] = KEY_BLOCK.exec(content) ?? [];
  return parseCertificate(content.replace(KEY_BLOCK, ''), key);
}

function parseAccount(content: string): AcmeAccount {
  const { key, url } = JSON.parse(content) as { key?: unknown; url?: unknown };
  if (typeof key !== 'object' || key === null || !('d' in key)) throw new Error('The private key is missing');
  return { key, url: typeof url === 'string' ? url : undefined };
}

function parseAttempts(content: string): number[] {
  const attempts: unknown = JSON.parse(content);
  if (!Array.isArray(attempts) || !attempts.every(Number.isFinite))
    throw new Error('The text is not a list of times');
  return attempts as number[];
}

function parseFailure(content: string): CertificateFailure | null {
  const parsed: unknown = JSON.parse(content);
  if (parsed === null) return null;
  const { at, code, message, since, waits } = Object(parsed) as Record<string, unknown>;
  if (typeof at !== 'number' || typeof code !== 'string' || typeof message !== 'string')
    throw new Error('The text is not a failure');
  return {
    ...{ at, code, message },
    since: typeof since === 'number' ? since : undefined,
    waits: waits === undefined ? undefined : Object.fromEntries(Object.entries(Object(waits)).filter(isTime)),
  };
}

function isTime(entry: [string, unknown]): entry is [string, number] {
  return Number.isFinite(entry[1]);
}

function parseRequest(content: string): number | null {
  const at: unknown = JSON.parse(content);
  if (at !== null && typeof at !== 'number') throw new Error('The text is not a time');
  return at;
}

function parseSuggestion(content: string): StoredSuggestion {
  const { fingerprint, start, end, askAt, orderedAt } = Object(JSON.parse(content)) as Record<
    string,
    unknown
  >;
  if (typeof fingerprint !== 'string' || typeof start !== 'number' || typeof end !== 'number')
    throw new Error('The text is not a suggestion');
  return {
    ...{ fingerprint, start, end },
    askAt: typeof askAt === 'number' ? askAt : 0,
    orderedAt: typeof orderedAt === 'number' ? orderedAt : undefined,
  };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
