/**
 * Makes greenlock 4 follow RFC 8555, and stops its side effects. It runs in greenlock's thread, and patches modules of
 * greenlock and Node.js before greenlock is loaded. It first checks everything that it patches, so that an incompatible
 * version fails immediately.
 */
import { createPrivateKey } from 'node:crypto';
import dns from 'node:dns';
import { setTimeout as pause } from 'node:timers/promises';
import type { AcmeAccount } from '../../stores/certificate-store.ts';
import { answersAtOnce } from '../answers-at-once.ts';
import type { ChallengeType } from '../challenge.ts';
import { FIRST_POLL_MS } from '../poll-delay.ts';
import { POLLS, pollingRight } from '../polling.ts';
import { isLiveAccount } from '../renew-account.ts';
import { makeSigningRequest } from '../signing-request.ts';
import {
  type AcmeProblem,
  AcmeProblemError,
  type AcmeResponse,
  acmeFetch,
  isAccountProblem,
  problemOf,
} from '../transport.ts';

type Greenlock = typeof import('greenlock');

export interface ContainedGreenlock {
  readonly greenlock: Greenlock;
  /** The last problem of the authority, because greenlock's own errors omit most of it. */
  lastProblem(): AcmeProblem | undefined;
  /** The cause of the last failed request. */
  lastError(): Error | undefined;
  /** Asks the authority whether it accepts requests from an account. */
  takesAccount(account: AcmeAccount): Promise<boolean>;
}

/** Milliseconds that `@root/acme` waits for DNS records, which an HTTP challenge does not have. */
const DNS_WAIT_MS = 5000;

/** The order for which greenlock runs in this thread. */
export interface ContainedOrder {
  readonly domains: readonly string[];
  readonly challenge: ChallengeType | undefined;
  /** Milliseconds that one request to the authority may take. */
  readonly requestTimeout: number;
  /** Waits until the authority can see all answers that were presented. */
  readonly spread: () => Promise<void>;
}

/** Loads greenlock with these patches. */
export async function containGreenlock(order: ContainedOrder): Promise<ContainedGreenlock> {
  // Greenlock looks up the mail host of its maintainer, and exits the process if DNS does not answer.
  dns.resolveMx = Object.assign(
    (_host: string, callback: (error: null, records: dns.MxRecord[]) => void) => callback(null, []),
    { __promisify__: dns.resolveMx.__promisify__ },
  );
  const { default: acme } = await import('@root/acme');
  const { default: utils } = await import('@root/acme/utils.js');
  const { default: maintainers } = await import('@root/acme/maintainers.js');
  const { default: csr } = await import('@root/csr');
  const { default: rc } = await import('@root/greenlock/lib/rc.js');
  const { default: greenlockUtils } = await import('@root/greenlock/utils.js');
  expectFunctions({
    'acme.create': acme.create,
    'acme._wait': acme._wait,
    'utils._jwsRequest': utils._jwsRequest,
    'utils._setNonce': utils._setNonce,
    'csr.csr': csr.csr,
    'csr._info': csr._info,
    'greenlockUtils._attachCertInfo': greenlockUtils._attachCertInfo,
  });
  expectFunctions({ 'maintainers.init': maintainers.init, 'rc._initSync': rc._initSync });

  // Greenlock sends its maintainer the operator's email address and host.
  maintainers.init = () => {};
  // Greenlock writes a file into the folder of its package.
  rc._initSync = (_folder, manager, configDir) => ({ manager, configDir });
  // Greenlock's own request has the first domain as the common name, which authorities refuse above 64 characters.
  csr.csr = async ({ jwk, domains }) =>
    makeSigningRequest(createPrivateKey({ key: jwk, format: 'jwk' }), domains);
  // Greenlock's parsers misread one public key in 170, whose bytes look like DER, and throw for a certificate without a
  // common name. Node.js reads the certificate after the order, so the parsers are not needed.
  const [subject = ''] = order.domains;
  csr._info = () => ({ subject, altnames: order.domains });
  greenlockUtils._attachCertInfo = (pems) => Object.assign(pems, { subject, altnames: order.domains });
  const wait = acme._wait;
  acme._wait = (milliseconds) => (milliseconds === DNS_WAIT_MS ? Promise.resolve() : wait(milliseconds));

  let problem: AcmeProblem | undefined;
  let failure: Error | undefined;
  let client: object | undefined;
  const create = acme.create;
  acme.create = (options) => {
    client = create({
      ...options,
      retryPoll: POLLS,
      retryInterval: FIRST_POLL_MS,
      // Greenlock would first request its own challenge from this machine, which fails behind some NAT routers. Only
      // the authority's request matters.
      skipDryRun: true,
      skipChallengeTest: true,
      __request: async (request) => {
        problem = undefined;
        failure = undefined;
        try {
          const response = withMeta(await acmeFetch(request, order.requestTimeout));
          // The problem of a failed challenge or order.
          const { error } = Object(response.body) as { error?: unknown };
          if (error) problem = { ...problemOf(error, response.statusCode), isOfRequest: false };
          return response;
        } catch (error) {
          if (error instanceof AcmeProblemError) {
            problem = error.problem;
            // The error response contains the nonce for the next attempt:
            // https://www.rfc-editor.org/rfc/rfc8555#section-6.5
            if (client !== undefined && error.nonce !== undefined) utils._setNonce(client, error.nonce);
          } else failure = error as Error;
          throw error;
        }
      },
    });
    return client;
  };
  const { challenge = 'http-01', spread } = order;
  const signedRequest = answersAtOnce(pollingRight(utils._jwsRequest, { now: Date.now, pause }, challenge), {
    challenge,
    spread,
  });
  utils._jwsRequest = signedRequest;
  const { default: greenlock } = await import('greenlock');
  return {
    greenlock,
    lastProblem: () => problem,
    lastError: () => failure,
    async takesAccount({ key: accountKey, url }) {
      if (client === undefined || url === undefined) return false;
      try {
        const request = { accountKey, url, protected: { kid: url }, payload: '' };
        const { body } = await signedRequest(client, request);
        return isLiveAccount(body);
      } catch (error) {
        if (error instanceof AcmeProblemError) return !isAccountProblem(error.problem);
        throw error;
      }
    },
  };
}

/**
 * `@root/acme` reads the `meta` of a directory, which an authority may leave out.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-7.1.1
 */
function withMeta(response: AcmeResponse): AcmeResponse {
  const body = Object(response.body) as object;
  return 'newNonce' in body ? { ...response, body: { meta: {}, ...body } } : response;
}

function expectFunctions(functions: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(functions)) {
    if (typeof value !== 'function')
      throw new Error(`greenlock is not built as expected: ${name} is missing`);
  }
}
