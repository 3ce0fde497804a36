import { createHash, createHmac, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { pollDelay } from '../poll-delay.ts';
import { AcmeProblemError, type AcmeRequest, type AcmeResponse } from '../transport.ts';

/** The clock for polling. */
export interface SessionClock {
  /** Milliseconds since the epoch. */
  now(): number;
  pause(milliseconds: number): Promise<void>;
}

export interface SessionOptions {
  /** The directory URL of the authority. */
  readonly directory: string;
  /** Sends one request. Throws AcmeProblemError for a status of 400 or more. */
  readonly request: (request: AcmeRequest) => Promise<AcmeResponse>;
  /** The private key of the account, as a JSON Web Key of the curve P-256. */
  readonly accountKey: object;
  readonly clock: SessionClock;
}

/** The used fields of a directory. @see https://www.rfc-editor.org/rfc/rfc8555#section-7.1.1 */
export interface Directory {
  readonly newNonce: string;
  readonly newAccount: string;
  readonly newOrder: string;
  readonly renewalInfo?: string;
}

/** The connection of one account to an authority. */
export interface Session {
  readonly directory: Directory;
  /** The account's URL, which signs requests. Undefined until the account is known. */
  accountUrl: string | undefined;
  /** Sends a signed request. Without a payload, it is a POST-as-GET. */
  post(url: string, payload?: object): Promise<AcmeResponse>;
  /** Reads a resource until `isDone`, at the intervals that the authority requests. */
  poll(url: string, isDone: (body: Readonly<Record<string, unknown>>) => boolean): Promise<AcmeResponse>;
  /** The key authorization of a token. @see https://www.rfc-editor.org/rfc/rfc8555#section-8.1 */
  keyAuthorization(token: string): string;
  /** Signs the account's public key by the HMAC key of a customer's account. */
  bind(kid: string, key: string): object;
}

/** Maximum attempts for a request whose nonce is refused. If half of all nonces are refused, one order in a million fails. */
const NONCE_ATTEMPTS = 24;

/** Reads the directory of an authority and prepares signed requests. */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { request, accountKey, clock } = options;
  const key = createPrivateKey({ key: accountKey as Record<string, unknown>, format: 'jwk' });
  const jwk = publicJwk(key);
  const { body } = await request({ url: options.directory });
  const directory = body as Directory;
  const nonces: string[] = [];

  const keepNonce = (nonce: string | undefined): void => {
    if (nonce !== undefined) nonces.push(nonce);
  };
  const freshNonce = async (): Promise<string> => {
    const kept = nonces.pop();
    if (kept !== undefined) return kept;
    const { headers } = await request({ url: directory.newNonce, method: 'HEAD' });
    const nonce = headers['replay-nonce'];
    if (nonce === undefined) throw new Error('the authority sent no nonce');
    return nonce;
  };

  const session: Session = {
    directory,
    accountUrl: undefined,
    async post(url, payload) {
      for (let attempt = 1; ; attempt += 1) {
        const nonce = await freshNonce();
        const signer = session.accountUrl === undefined ? { jwk } : { kid: session.accountUrl };
        const content = payload === undefined ? '' : JSON.stringify(payload);
        const jws = signed({ alg: 'ES256', nonce, url, ...signer }, content, (bytes) =>
          sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }),
        );
        try {
          const headers = { 'content-type': 'application/jose+json' };
          const response = await request({ url, method: 'POST', headers, body: JSON.stringify(jws) });
          keepNonce(response.headers['replay-nonce']);
          return response;
        } catch (error) {
          if (!(error instanceof AcmeProblemError)) throw error;
          keepNonce(error.nonce);
          if (!error.urn.endsWith(':badNonce') || attempt >= NONCE_ATTEMPTS) throw error;
        }
      }
    },
    async poll(url, isDone) {
      for (let polls = 0; ; polls += 1) {
        const response = await session.post(url);
        if (isDone(Object(response.body) as Record<string, unknown>)) return response;
        await clock.pause(pollDelay(polls, response.headers['retry-after'], clock.now()));
      }
    },
    keyAuthorization: (token) => `${token}.${thumbprint(jwk)}`,
    bind: (kid, hmacKey) =>
      signed({ alg: 'HS256', kid, url: directory.newAccount }, JSON.stringify(jwk), (bytes) =>
        createHmac('sha256', Buffer.from(hmacKey, 'base64url')).update(bytes).digest(),
      ),
  };
  return session;
}

interface PublicJwk {
  readonly crv: string;
  readonly kty: string;
  readonly x: string;
  readonly y: string;
}

/** The public part of an account key, in the order of RFC 7638. */
function publicJwk(key: KeyObject): PublicJwk {
  const { crv = '', kty = '', x = '', y = '' } = createPublicKey(key).export({ format: 'jwk' });
  return { crv, kty, x, y };
}

/** The thumbprint of a public key. @see https://www.rfc-editor.org/rfc/rfc7638 */
function thumbprint(jwk: PublicJwk): string {
  return createHash('sha256').update(JSON.stringify(jwk)).digest('base64url');
}

/** A flattened JSON Web Signature. @see https://www.rfc-editor.org/rfc/rfc7515#section-7.2.2 */
function signed(header: object, content: string, signature: (bytes: Buffer) => Buffer): object {
  const head = {
    protected: Buffer.from(JSON.stringify(header)).toString('base64url'),
    payload: Buffer.from(content).toString('base64url'),
  };
  const bytes = Buffer.from(`${head.protected}.${head.payload}`);
  return { ...head, signature: signature(bytes).toString('base64url') };
}
