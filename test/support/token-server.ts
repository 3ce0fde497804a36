import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { listen } from './listen.ts';
import { runOrThrow } from './process.ts';
import type { PushHeaders } from './push.ts';
import { registryUser, type TokenAuth } from './registry.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface TokenServerOptions {
  service?: string;
  issuer?: string;
  algorithm?: 'ES256' | 'RS256';
  /** Name → password; `registryUser` by default. A user may do everything in the repositories of `mayUse`. */
  users?: Record<string, string>;
  /** Repositories that a user may use; all by default. */
  mayUse?: (user: string, repository: string) => boolean;
  /** Repositories that anonymous clients may pull; all by default. */
  anonymous?: (repository: string) => boolean;
  /** Seconds; also the registry refuses the token afterwards. Undefined leaves `expires_in` out (60 by the spec). */
  expiresIn?: number;
  /** The member of the answer that carries the token. */
  tokenField?: 'token' | 'access_token' | 'both';
}

export interface TokenRequest {
  method: string;
  /** The parameters of the query, or of the form with POST. */
  parameters: URLSearchParams;
  headers: IncomingMessage['headers'];
  /** The user whose password or refresh token was accepted. */
  user: string | undefined;
  status: number;
}

export interface TokenServer extends AsyncDisposable {
  url: string;
  /** The `auth` option of `startRegistry`. */
  auth: TokenAuth;
  requests: TokenRequest[];
  /** A token of any scope, for a test's own requests. */
  token(scopes: Access[]): string;
  /** Lets `push` write to any repository. */
  headers: PushHeaders;
  /** Changes the answers from the next request on. */
  configure(options: TokenServerOptions): void;
  close(): Promise<void>;
}

export interface Access {
  type: string;
  name: string;
  actions: string[];
}

/** A refresh token is only this prefix and the user's name, because tests do not attack it. */
const refreshPrefix = 'refresh-';

/**
 * A token server whose tokens a real registry accepts.
 * https://distribution.github.io/distribution/spec/auth/token/ and …/auth/oauth/
 */
export async function startTokenServer(initial: TokenServerOptions = {}): Promise<TokenServer> {
  let options = initial;
  const { service = 'test-service', issuer = 'test-issuer', algorithm = 'ES256' } = initial;
  const folder = await temporaryFolder();
  const identity = await makeIdentity(folder.path, algorithm);
  const requests: TokenRequest[] = [];

  const mint = (subject: string, access: Access[], lifetime = 60): string => {
    const now = Math.ceil(Date.now() / 1000);
    // The registry forgives 60 seconds of clock skew; counting them in makes a token end when it says.
    const [exp, past] = [now + lifetime - 60, now - 120];
    const claims = { iss: issuer, sub: subject, aud: service, exp, nbf: past, iat: past, jti: randomUUID() };
    const header = { typ: 'JWT', alg: algorithm, x5c: [identity.certificate] };
    const unsigned = `${base64url(header)}.${base64url({ ...claims, access })}`;
    const key = { key: identity.key, dsaEncoding: 'ieee-p1363' as const };
    return `${unsigned}.${sign('sha256', Buffer.from(unsigned), key).toString('base64url')}`;
  };

  const serve = async (client: IncomingMessage, response: ServerResponse) => {
    const { method = 'GET', headers } = client;
    const query = new URL(client.url ?? '/', 'http://localhost').searchParams;
    const parameters = method === 'POST' ? new URLSearchParams(await text(client)) : query;
    const user = userOf(parameters, headers, options.users ?? { [registryUser.name]: registryUser.password });
    const answer = (status: number, body: object) => {
      requests.push({ method, parameters, headers, user: user ?? undefined, status });
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (user === null) return answer(401, { details: 'incorrect username or password' });
    if (parameters.get('service') !== service) return answer(400, { details: 'unknown service' });
    const access = parameters
      .getAll('scope')
      .flatMap((scope) => scope.split(' '))
      .map(parseScope)
      .map((one) => granted(one, user, options));
    const token = mint(user ?? '', access, options.expiresIn);
    const { tokenField = method === 'POST' ? 'access_token' : 'token', expiresIn } = options;
    const wantsRefresh =
      user && (parameters.has('offline_token') || parameters.get('access_type') === 'offline');
    answer(200, {
      ...(tokenField === 'access_token' ? {} : { token }),
      ...(tokenField === 'token' ? {} : { access_token: token }),
      ...(expiresIn === undefined ? {} : { expires_in: expiresIn }),
      ...(wantsRefresh ? { refresh_token: `${refreshPrefix}${user}` } : {}),
      issued_at: new Date().toISOString(),
    });
  };

  const server = createServer((client, response) => void serve(client, response));
  const listening = await listen(server);
  const url = `http://${listening.host}/token`;
  const token = (scopes: Access[]) => mint(registryUser.name, scopes, 3600);
  const close = async () => {
    await listening[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  return {
    url,
    auth: { realm: url, service, issuer, certificate: identity.path },
    requests,
    token,
    headers: (name) => ({
      authorization: `Bearer ${token([{ type: 'repository', name, actions: ['pull', 'push'] }])}`,
    }),
    configure: (next) => {
      options = { ...options, ...next };
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Returns the user; undefined without credentials, null for wrong ones. */
function userOf(
  parameters: URLSearchParams,
  headers: IncomingMessage['headers'],
  users: Record<string, string>,
): string | undefined | null {
  const check = (name: string, password: string) => (users[name] === password ? name : null);
  const grant = parameters.get('grant_type');
  if (grant === 'password') return check(parameters.get('username') ?? '', parameters.get('password') ?? '');
  if (grant === 'refresh_token') {
    const name = (parameters.get('refresh_token') ?? '').replace(refreshPrefix, '');
    return name in users ? name : null;
  }
  const basic = /^Basic (.+)$/i.exec(headers.authorization ?? '')?.[1];
  if (basic === undefined) return undefined;
  const [name = '', ...rest] = Buffer.from(basic, 'base64').toString().split(':');
  return check(name, rest.join(':'));
}

/** `repository:library/busybox:pull,push`; the name itself may contain a colon. */
function parseScope(scope: string): Access {
  const [, type = '', name = '', actions = ''] = /^([^:]+):(.+):([^:]*)$/.exec(scope) ?? [];
  return { type, name, actions: actions.split(',').filter(Boolean) };
}

/** As the spec has it, what may not be granted is omitted of the token; the registry then refuses. */
function granted(
  access: Access,
  user: string | undefined,
  { anonymous = () => true, mayUse = () => true }: TokenServerOptions,
): Access {
  if (user !== undefined && mayUse(user, access.name)) return access;
  const actions = anonymous(access.name) ? access.actions.filter((action) => action === 'pull') : [];
  return { ...access, actions };
}

async function makeIdentity(folder: string, algorithm: 'ES256' | 'RS256') {
  const path = join(folder, 'certificate.pem');
  const keyPath = join(folder, 'key.pem');
  const kind = algorithm === 'ES256' ? ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'] : ['rsa:2048'];
  const names = ['-subj', '/CN=test-issuer', '-days', '2'];
  const files = ['-keyout', keyPath, '-out', path];
  await runOrThrow('openssl', ['req', '-x509', '-nodes', '-newkey', ...kind, ...names, ...files]);
  const certificate = new X509Certificate(await readFile(path)).raw.toString('base64');
  return { path, key: createPrivateKey(await readFile(keyPath)), certificate };
}

const base64url = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
