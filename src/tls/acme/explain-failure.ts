import { quote } from '../../errors.ts';
import { SHARED_STORE_FAILED } from '../stores/encrypted-redis-store.ts';
import type { ChallengeType } from './challenge.ts';
import { DNS_FAILED } from './dns-error.ts';
import type { FailureCode, IssueFailure } from './issuer.ts';
import { type AcmeProblem, isAccountProblem } from './transport.ts';

export interface WhatHappened {
  readonly error: Error;
  /** The problem that the authority reported, if any. */
  readonly problem: AcmeProblem | undefined;
  /** The directory URL of the authority. */
  readonly directory: string;
  /** The type of the challenges; by default HTTP-01. */
  readonly challenge?: ChallengeType | undefined;
  /** True if the authority refuses the account and also a new one. */
  readonly isAccountRefused: boolean;
}

const DNS_HINT =
  'it found no TXT record of _acme-challenge with the right value: check the program of --acme-dns-hook, and the delegation of the domain';

/** Why an authority could not validate a domain through a port, by the last part of the problem's type. */
function portHints(port: number, tls: string): ReadonlyMap<string, string> {
  const other = `another server answered: check the A and AAAA records of the domain, and the program that uses port ${port}`;
  return new Map([
    [
      'connection',
      `it could not connect: port ${port} of every address of the domain must reach this server`,
    ],
    ['dns', 'the domain has no address that it can find: check its A and AAAA records'],
    ['unauthorized', other],
    ['incorrectResponse', other],
    ['tls', tls],
  ]);
}

const CHALLENGE_HINTS: Readonly<Record<ChallengeType, ReadonlyMap<string, string>>> = {
  'http-01': portHints(80, 'something in front of this server redirected it to HTTPS'),
  'tls-alpn-01': portHints(
    443,
    'a proxy in front of this server terminates TLS, which TLS-ALPN-01 does not allow',
  ),
  'dns-01': new Map([
    ...['dns', 'unauthorized', 'incorrectResponse', 'connection'].map((kind) => [kind, DNS_HINT] as const),
  ]),
};

const REFUSALS = new Map([
  [
    'unauthorized',
    'it recognizes the account of this server, but does not allow it to order this certificate',
  ],
  ['rejectedIdentifier', 'it does not issue for this domain'],
  ['unsupportedIdentifier', 'it does not issue for this domain'],
  ['caa', 'a CAA record of the domain allows other authorities only'],
  [
    'externalAccountRequired',
    'it requires an external account binding: set --acme-eab-kid and --acme-eab-key-file',
  ],
  ['invalidContact', 'it does not accept the e-mail address'],
  ['unsupportedContact', 'it does not accept the e-mail address'],
  ['invalidProfile', 'it does not have this profile: check --acme-profile'],
  ['userActionRequired', 'its terms of service have changed'],
]);

const DISK_CODES = new Set([
  ...['ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS', 'EACCES', 'EPERM', 'EIO', 'ESTALE', 'EBUSY', 'EMFILE', 'ENFILE'],
  ...['ENOENT', 'ENOTDIR', 'EISDIR', 'EEXIST', 'ELOOP'],
]);

/** Explains a failed order in a sentence that its operator can act on. */
export function explainFailure(happened: WhatHappened): IssueFailure {
  const { error, problem, directory } = happened;
  const authority = URL.parse(directory)?.host ?? directory;
  return problem === undefined
    ? explainError(error, authority)
    : explainProblem(problem, authority, happened);
}

/** Explains an error of a store and what to do; undefined for any other error. */
export function explainStoreError(error: Error): IssueFailure | undefined {
  const code = codeOf(error);
  const failure = (message: string): IssueFailure => ({
    code: 'store-failed',
    message,
    retryAfter: undefined,
  });
  if (code === SHARED_STORE_FAILED) return failure(`${error.message}.`);
  if (!DISK_CODES.has(code)) return undefined;
  return failure(
    `The state folder cannot be written: ${error.message}. Free disk space, or make the folder writable.`,
  );
}

function explainProblem(
  problem: AcmeProblem,
  authority: string,
  { isAccountRefused, challenge = 'http-01' }: Pick<WhatHappened, 'isAccountRefused' | 'challenge'>,
): IssueFailure {
  const { type, detail, status, retryAfter, isOfRequest } = problem;
  const kind = type.replace(/^.*:/, '');
  const said = detail === '' ? '' : ` It says ${quote(detail, 300)}.`;
  const failure = (code: FailureCode, message: string): IssueFailure => ({
    code,
    message: `${message}${said}`,
    retryAfter,
  });

  if (kind === 'rateLimited' || status === 429) {
    return failure('ca-rate-limited', `${authority} takes no more requests for now.`);
  }
  if (kind === 'badNonce') {
    return failure('ca-failed', `${authority} refuses every nonce, even one that it has just issued.`);
  }
  if (status >= 500 || kind === 'serverInternal') {
    return failure('ca-failed', `${authority} failed with status ${status}.`);
  }
  if (isAccountRefused && isAccountProblem(problem)) {
    return failure(
      'account-refused',
      `${authority} refuses the account of this server, and also its replacement.`,
    );
  }
  const hint = isOfRequest ? undefined : CHALLENGE_HINTS[challenge].get(kind);
  if (hint !== undefined)
    return failure('challenge-failed', `${authority} could not validate the domain: ${hint}.`);
  const refusal = REFUSALS.get(kind) ?? `its answer had status ${status}`;
  return failure('ca-refused', `${authority} refuses the certificate: ${refusal}.`);
}

function explainError(error: Error, authority: string): IssueFailure {
  const failure = (code: FailureCode, message: string): IssueFailure => ({
    code,
    message,
    retryAfter: undefined,
  });
  if (error.name === 'TimeoutError') return failure('ca-slow', `${authority} did not answer in time.`);
  const cause = error.cause instanceof Error ? error.cause : error;
  // A firewall refuses with codes that files have, too.
  if (error.message === 'fetch failed') {
    return failure(
      'ca-unreachable',
      `${authority} cannot be reached (${codeOf(cause) || cause.message}): check this machine’s DNS, its firewall and --acme-directory.`,
    );
  }
  const storeFailure = explainStoreError(cause);
  if (storeFailure !== undefined) return storeFailure;
  if (codeOf(error) === DNS_FAILED) return failure('dns-failed', error.message);
  const said = `The order at ${authority} failed: ${quote(error.message, 300)}.`;
  return failure(isMistakeOfClient(error) ? 'client-failed' : 'ca-failed', said);
}

/** Tells whether an ACME client did not understand a response, as greenlock does by an error in its own code. */
function isMistakeOfClient(error: Error): boolean {
  return /^(?:Type|Reference|Range)Error$/.test(error.name) || /please open an issue/i.test(error.message);
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}
