/**
 * Makes greenlock 4 keep to RFC 8555 and to itself. It is for the thread that greenlock runs in: it changes modules
 * of greenlock and of Node, before greenlock is loaded. All that it relies on is checked first, so that a version that
 * is built otherwise fails at once and loudly.
 */
import dns from 'node:dns';
import { type AcmeProblem, AcmeProblemError, type AcmeResponse, acmeFetch, problemOf } from './transport.ts';

type Greenlock = typeof import('greenlock');
type JwsRequest = typeof import('@root/acme/utils.js')['_jwsRequest'];
type SignedRequest = Parameters<JwsRequest>[1];

export interface ContainedGreenlock {
  readonly greenlock: Greenlock;
  /** What the authority complained of last: greenlock's own errors leave most of it out. */
  lastProblem(): AcmeProblem | undefined;
  /** What kept the last request from being answered. */
  lastError(): Error | undefined;
}

/** Answers to a challenge, or to finalize, are polled for this long: a second apart. */
const POLLS = 120;
/** How often a request is made whose nonce is refused; with one refused in two, one order in four hundred fails. */
const NONCE_ATTEMPTS = 12;
/** Retries after which `@root/acme` makes none. Its own come through the function that is wrapped here, so that they would multiply. */
const NO_RETRIES = 2;
/** Milliseconds that `@root/acme` waits for DNS records, which an HTTP challenge does not have. */
const DNS_WAIT_MS = 5000;

/** What it is contained for. */
export interface ContainedOrder {
  readonly domains: readonly string[];
  /** Milliseconds that one request to the authority may take. */
  readonly requestTimeout: number;
}

/** Loads greenlock, contained. */
export async function containGreenlock(order: ContainedOrder): Promise<ContainedGreenlock> {
  // It looks up whether the mail host of its maintainer exists, and ends the process where DNS does not answer.
  dns.resolveMx = Object.assign(
    (_host: string, callback: (error: null, records: dns.MxRecord[]) => void) => callback(null, []),
    { __promisify__: dns.resolveMx.__promisify__ },
  );
  const { default: acme } = await import('@root/acme');
  const { default: utils } = await import('@root/acme/utils.js');
  const { default: maintainers } = await import('@root/acme/maintainers.js');
  const { default: csr } = await import('@root/csr');
  const { default: rc } = await import('@root/greenlock/lib/rc.js');
  expectFunctions({
    'acme.create': acme.create,
    'acme._wait': acme._wait,
    'utils._jwsRequest': utils._jwsRequest,
    'csr._info': csr._info,
  });
  expectFunctions({ 'maintainers.init': maintainers.init, 'rc._initSync': rc._initSync });

  // It tells the maintainer of greenlock who runs it, and where.
  maintainers.init = () => {};
  // It writes a file into the folder of the package.
  rc._initSync = (_folder, manager, configDir) => ({ manager, configDir });
  // It reads again what it has just written, to compare the domains, and takes one public key in 170, whose bytes happen
  // to be DER, for a structure. The certificate is looked at when it is there.
  csr._info = () => ({ subject: order.domains[0] ?? '', altnames: order.domains });
  const wait = acme._wait;
  acme._wait = (milliseconds) => (milliseconds === DNS_WAIT_MS ? Promise.resolve() : wait(milliseconds));

  let problem: AcmeProblem | undefined;
  let failure: Error | undefined;
  const create = acme.create;
  acme.create = (options) =>
    create({
      ...options,
      retryPoll: POLLS,
      // It would ask this machine for its own challenge first, which a NAT without a way back in does not let through.
      // The authority is the only judge that counts.
      skipDryRun: true,
      skipChallengeTest: true,
      __request: async (request) => {
        problem = undefined;
        failure = undefined;
        try {
          const response = withMeta(await acmeFetch(request, order.requestTimeout));
          // Of a challenge or an order that has failed.
          const { error } = Object(response.body) as { error?: unknown };
          if (error) problem = { ...problemOf(error), status: response.statusCode, retryAfter: undefined };
          return response;
        } catch (error) {
          if (error instanceof AcmeProblemError) problem = error.problem;
          else failure = error as Error;
          throw error;
        }
      },
    });
  utils._jwsRequest = pollingRight(utils._jwsRequest);
  const { default: greenlock } = await import('greenlock');
  return { greenlock, lastProblem: () => problem, lastError: () => failure };
}

/**
 * `@root/acme` posts its answer to a challenge again while that is `pending`, and finalizes an order again while that
 * is `processing`. RFC 8555 wants both polled by POST-as-GET: a challenge at its own URL, an order at the one of the
 * Location header. It answers challenges that are valid, too, of an authorization that the authority has kept.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-7.5.1
 * @see https://www.rfc-editor.org/rfc/rfc8555#section-7.4
 */
export function pollingRight(jwsRequest: JwsRequest): JwsRequest {
  /** Finalize URLs that were posted to → the URL of their order. */
  const orders = new Map<string, string>();
  /** URLs of challenges that need no answer. */
  const valid = new Set<string>();
  return async (acme, request) => {
    const order = orders.get(request.url);
    const isRead = order !== undefined || valid.has(request.url);
    const actual = isRead ? { ...request, url: order ?? request.url, payload: '' } : request;
    const response = await withFreshNonces(() => jwsRequest(acme, actual), actual);
    const { status, type, finalize, challenges } = (response.body ?? {}) as Record<string, unknown>;
    for (const url of validOf(challenges)) valid.add(url);
    if (typeof finalize === 'string' && finalize === request.url && response.headers.location !== undefined) {
      orders.set(finalize, response.headers.location);
    }
    const isAnsweredChallenge = typeof type === 'string' && status === 'pending';
    return isAnsweredChallenge ? withStatus(response, 'processing') : response;
  };
}

/** The URLs of challenges that are valid. */
function validOf(challenges: unknown): string[] {
  if (!Array.isArray(challenges)) return [];
  const valid = (challenges as { url: string; status: string }[]).filter(({ status }) => status === 'valid');
  return valid.map(({ url }) => url);
}

async function withFreshNonces<T>(post: () => Promise<T>, request: SignedRequest): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    request._retries = NO_RETRIES;
    try {
      return await post();
    } catch (error) {
      const isNonce = error instanceof AcmeProblemError && error.urn.endsWith(':badNonce');
      if (!isNonce || attempt >= NONCE_ATTEMPTS) throw error;
    }
  }
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

function withStatus(response: AcmeResponse, status: string): AcmeResponse {
  return { ...response, body: { ...(response.body as object), status } };
}

function expectFunctions(functions: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(functions)) {
    if (typeof value !== 'function')
      throw new Error(`greenlock is not built as expected: there is no ${name}`);
  }
}
