import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, before, beforeEach, suite, test } from 'node:test';
import type { HttpClient } from '../../src/net/http.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseReference, type Reference } from '../../src/oci/reference.ts';
import { createAuthorizer } from '../../src/registry/authorizer.ts';
import type { Credentials } from '../../src/registry/credentials.ts';
import { createMemoryCaches } from '../../src/util/memory-caches.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { type Image, image, layer } from '../support/images.ts';
import { listen } from '../support/listen.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { type Registry, registryUser, startRegistry } from '../support/registry.ts';
import { startTokenServer, type TokenServer } from '../support/token-server.ts';
import { createStack, type Stack, type StackOptions } from './stack.ts';

const never = new AbortController().signal;
const { name: username, password } = registryUser;
const alice: Credentials = { kind: 'password', username, password };

async function smallImage(): Promise<Image> {
  const layers = [await layer({ files: { one: '1' } }), await layer({ files: { two: '2' } })];
  return image({ platform: { os: 'linux', architecture: 'amd64' }, layers });
}

const blobsOf = ({ config, layers }: Image): Descriptor[] =>
  [config, ...layers].map(({ descriptor: { mediaType, digest, size } }) => ({
    mediaType,
    digest: parseDigest(digest),
    size,
  }));

suite('tokens, from a real token server for a real registry', {
  skip: skipUnless('docker-registry', 'openssl'),
}, () => {
  let server: TokenServer;
  let registry: Registry;
  let made: Image;

  before(async () => {
    server = await startTokenServer({ anonymous: (name) => name.startsWith('public/') });
    registry = await startRegistry({ auth: server.auth });
    made = await smallImage();
    for (const repository of ['public/a', 'public/b', 'private/a']) {
      await push(registry.url, repository, 'latest', made, { headers: server.headers });
    }
  });

  after(async () => {
    await registry[Symbol.asyncDispose]();
    await server.close();
  });

  beforeEach(() => {
    server.requests.length = 0;
    server.configure({ expiresIn: 300, tokenField: 'token' });
  });

  const stack = (options: Partial<StackOptions> = {}): Stack =>
    createStack({ hosts: [registry.host], trusted: [server.url], ...options });
  const reference = (repository: string): Reference => parseReference(`${registry.host}/${repository}`);
  const pull = async ({ client }: Stack, repository = 'public/a'): Promise<void> => {
    const { digest } = await client.manifest(reference(repository), 'latest', never);
    assert.equal(digest, made.descriptor.digest);
  };

  test('anyone may pull what is public', async () => {
    await using anonymous = stack();
    await pull(anonymous);
    const [request, ...others] = server.requests;
    assert.deepEqual(others, []);
    assert.equal(request?.method, 'GET');
    assert.equal(request.headers.authorization, undefined);
    assert.deepEqual(Object.fromEntries(request.parameters), {
      service: 'test-service',
      scope: 'repository:public/a:pull',
    });
  });

  test('a password is sent to the token server and gives a token', async () => {
    await using ours = stack({ credentials: alice });
    await pull(ours, 'private/a');
    assert.deepEqual(
      server.requests.map(({ method, user, status }) => ({ method, user, status })),
      [{ method: 'GET', user: username, status: 200 }],
    );
  });

  test('an identity token is sent by POST, and never in a URL', async () => {
    await using ours = stack({ credentials: { kind: 'identity-token', token: `refresh-${username}` } });
    await pull(ours, 'private/a');
    const [request, ...others] = server.requests;
    assert.deepEqual(others, []);
    assert.equal(request?.method, 'POST');
    assert.equal(request.user, username);
    assert.deepEqual(Object.fromEntries(request.parameters), {
      service: 'test-service',
      scope: 'repository:private/a:pull',
      grant_type: 'refresh_token',
      refresh_token: `refresh-${username}`,
      client_id: 'dockerproxy',
    });
  });

  test('a registry token goes to the registry as it is', async () => {
    const token = server.token([{ type: 'repository', name: 'private/a', actions: ['pull'] }]);
    await using ours = stack({ credentials: { kind: 'registry-token', token } });
    await pull(ours, 'private/a');
    assert.deepEqual(server.requests, []);
  });

  for (const tokenField of ['token', 'access_token', 'both'] as const) {
    test(`the token may come as ${tokenField}`, async () => {
      server.configure({ tokenField });
      await using ours = stack();
      await pull(ours);
      assert.equal(server.requests.length, 1);
    });
  }

  test('many pulls at once ask for one token', async () => {
    await using ours = stack();
    await Promise.all(Array.from({ length: 20 }, () => pull(ours)));
    assert.equal(server.requests.length, 1);
    await pull(ours);
    assert.equal(server.requests.length, 1);
  });

  test('each repository has its own token', async () => {
    await using ours = stack({ credentials: alice });
    for (const repository of ['public/a', 'public/b', 'private/a']) await pull(ours, repository);
    await pull(ours, 'public/a');
    assert.deepEqual(
      server.requests.map(({ parameters }) => parameters.get('scope')),
      ['public/a', 'public/b', 'private/a'].map((name) => `repository:${name}:pull`),
    );
  });

  test('once the challenge is known, a request does without the 401', async () => {
    await using ours = stack();
    await pull(ours, 'public/a');
    await registry.reset();
    await pull(ours, 'public/b');
    assert.deepEqual(
      (await registry.requests()).map(({ status }) => status),
      [200],
    );
  });

  test('a token is renewed shortly before its time is over', async () => {
    let time = 1000;
    await using ours = stack({ now: () => time });
    await pull(ours);
    time += 269_000;
    await pull(ours);
    assert.equal(server.requests.length, 1);
    await registry.reset();
    time += 2000;
    await Promise.all([pull(ours), pull(ours), pull(ours)]);
    assert.equal(server.requests.length, 2);
    assert.deepEqual(
      (await registry.requests()).map(({ status }) => status),
      [200, 200, 200],
      'no request was sent with the old token',
    );
  });

  test('a token that is revoked in the middle of an image is renewed, and the image goes on', async () => {
    await using proxy = await startFaultProxy(registry.url);
    await using ours = stack({ hosts: [proxy.host], credentials: alice });
    const blobs = ours.client.blobs(parseReference(`${proxy.host}/private/a`));
    const read = async (blob: Descriptor): Promise<number> =>
      (await buffer(await blobs.read(blob, undefined, never))).length;
    const [config, ...layers] = blobsOf(made);
    assert.ok(config);
    assert.equal(await read(config), config.size);
    assert.equal(server.requests.length, 1);

    const revoked = proxy.requests.at(-1)?.headers.authorization;
    assert.match(revoked ?? '', /^Bearer /);
    const challenge = `Bearer realm="${server.url}",service="test-service",error="invalid_token"`;
    const headers = { 'www-authenticate': challenge };
    proxy.inject((request) =>
      request.headers.authorization === revoked ? { kind: 'answer', status: 401, headers } : undefined,
    );
    const rest = [...layers, ...layers, config];
    assert.deepEqual(
      await Promise.all(rest.map(read)),
      rest.map(({ size }) => size),
    );
    assert.equal(server.requests.length, 2, 'one renewal for all of them');
  });

  test('a token that the registry takes for expired is replaced', async () => {
    await using ours = stack({ now: () => 0 });
    server.configure({ expiresIn: -61 });
    await assert.rejects(pull(ours), { code: 'image-not-found' });
    server.configure({ expiresIn: 300 });
    await pull(ours);
    assert.equal(server.requests.length, 2);
  });

  test('wrong credentials are reported as wrong, and not cached', async () => {
    await using ours = stack({ credentials: { ...alice, password: 'wrong' } as Credentials });
    for (const repository of ['private/a', 'public/a']) {
      await assert.rejects(pull(ours, repository), {
        code: 'registry-credentials-refused',
        status: 502,
        message: `The credentials configured for ${registry.host} are refused.`,
      });
    }
    assert.deepEqual(
      server.requests.map(({ status }) => status),
      [401, 401],
    );
  });

  test('a wrong identity token too', async () => {
    await using ours = stack({ credentials: { kind: 'identity-token', token: 'refresh-mallory' } });
    await assert.rejects(pull(ours), { code: 'registry-credentials-refused' });
  });

  test('a private repository and a missing one look the same to a stranger', async () => {
    await using ours = stack();
    for (const repository of ['private/a', 'private/none']) {
      await assert.rejects(pull(ours, repository), {
        code: 'image-not-found',
        message: `The image ${registry.host}/${repository} is missing or private.`,
      });
    }
  });

  test('a tag that a public repository lacks is missing', async () => {
    await using ours = stack();
    await assert.rejects(ours.client.manifest(reference('public/a'), 'none', never), {
      code: 'image-not-found',
      message: `The image ${registry.host}/public/a:none does not exist.`,
    });
  });

  test('a token server that the guard refuses is not asked', async () => {
    await using ours = stack({ trusted: [], credentials: alice });
    await assert.rejects(pull(ours), { code: 'address-refused', message: /127\.0\.0\.1/ });
    assert.deepEqual(server.requests, []);
  });

  test('one failed renewal fails its waiters only: the next request tries again', async () => {
    await using ours = stack({ credentials: alice });
    server.configure({ users: {} });
    const refused = await Promise.allSettled([pull(ours), pull(ours), pull(ours)]);
    assert.deepEqual(
      refused.map(({ status }) => status),
      ['rejected', 'rejected', 'rejected'],
    );
    server.configure({ users: { [username]: password } });
    await pull(ours);
  });
});

suite('Basic, by a real registry with htpasswd', { skip: skipUnless('docker-registry') }, () => {
  let registry: Registry;
  let made: Image;

  before(async () => {
    registry = await startRegistry({ auth: 'htpasswd' });
    made = await smallImage();
    await push(registry.url, 'private/a', 'latest', made, { headers: registry.headers });
  });

  after(() => registry[Symbol.asyncDispose]());

  const pull = ({ client }: Stack): Promise<unknown> =>
    client.manifest(parseReference(`${registry.host}/private/a`), 'latest', never);

  test('the password is sent once it is asked for, and unasked afterwards', async () => {
    await using ours = createStack({ hosts: [registry.host], credentials: alice });
    await registry.reset();
    await pull(ours);
    await pull(ours);
    assert.deepEqual(
      (await registry.requests()).map(({ status }) => status),
      [401, 200, 200],
    );
  });

  test('a password that is refused is not sent twice in a row', async () => {
    const credentials: Credentials = { kind: 'password', username, password: 'wrong' };
    await using ours = createStack({ hosts: [registry.host], credentials });
    await registry.reset();
    await assert.rejects(pull(ours));
    await assert.rejects(pull(ours));
    assert.deepEqual(
      (await registry.requests()).map(({ status }) => status),
      [401, 401, 401],
    );
  });

  test('a request without credentials reports that the image is missing or private', async () => {
    await using ours = createStack({ hosts: [registry.host] });
    await assert.rejects(pull(ours), { code: 'image-not-found', message: /missing or private/ });
  });

  test('a wrong password is reported as wrong', async () => {
    for (const credentials of [
      { kind: 'password', username, password: 'wrong' },
      { kind: 'registry-token', token: 'wrong' },
    ] satisfies Credentials[]) {
      await using ours = createStack({ hosts: [registry.host], credentials });
      await assert.rejects(pull(ours), { code: 'registry-credentials-refused' });
    }
  });
});

suite('a token server that misbehaves', () => {
  interface Odd extends AsyncDisposable {
    host: string;
    requests: string[];
    /** The Authorization header of each request. */
    authorizations: (string | undefined)[];
  }

  /** Starts a registry that wants a token for everything, with a token server that answers as the test chooses. */
  async function startOdd(
    answer: { status?: number; body?: string; headers?: Record<string, string> },
    challenge?: (origin: string) => string | string[],
  ): Promise<Odd> {
    const requests: string[] = [];
    const authorizations: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url}`);
      authorizations.push(request.headers.authorization);
      const origin = `http://${request.headers.host}`;
      const wanted = challenge?.(origin) ?? `Bearer realm="${origin}/token?account=a",service="s"`;
      if (request.headers.authorization === 'Bearer good') response.end('{}');
      else if (request.url?.startsWith('/token'))
        response.writeHead(answer.status ?? 200, answer.headers).end(answer.body ?? '{"token":"good"}');
      else response.writeHead(401, { 'www-authenticate': wanted }).end();
    });
    return { ...(await listen(server)), requests, authorizations };
  }

  const pull = async (host: string, options: Partial<StackOptions> = {}): Promise<unknown> => {
    await using ours = createStack({ hosts: [host], ...options });
    return await ours.client.manifest(parseReference(`${host}/a/b`), 'latest', never);
  };

  test('the query in the realm’s own URL is kept', async () => {
    await using odd = await startOdd({});
    await pull(odd.host);
    assert.deepEqual(odd.requests, [
      'GET /v2/a/b/manifests/latest',
      'GET /token?account=a&service=s&scope=repository%3Aa%2Fb%3Apull',
      'GET /v2/a/b/manifests/latest',
    ]);
  });

  const answers: [title: string, answer: Parameters<typeof startOdd>[0], code: string][] = [
    ['no JSON', { body: 'token' }, 'registry-failed'],
    ['no token', { body: '{}' }, 'registry-failed'],
    ['a token that is no string', { body: '{"token":5}' }, 'registry-failed'],
    ['a token that would end the header', { body: '{"token":"a\\r\\nX: y"}' }, 'registry-failed'],
    ['an empty token', { body: '{"token":""}' }, 'registry-failed'],
    ['more than 64 KiB', { body: JSON.stringify({ token: 'x'.repeat(65_536) }) }, 'registry-failed'],
    ['500', { status: 500, body: '' }, 'registry-failed'],
    ['429', { status: 429, headers: { 'retry-after': '7' }, body: '' }, 'registry-rate-limited'],
    ['503', { status: 503, body: '' }, 'registry-unavailable'],
    ['403', { status: 403, body: '' }, 'image-not-found'],
    [
      'a redirect into the inside',
      { status: 302, headers: { location: 'http://127.0.0.1:9/' } },
      'address-refused',
    ],
  ];
  for (const [title, answer, code] of answers) {
    test(`it sends ${title}: ${code}`, async () => {
      await using odd = await startOdd(answer);
      await assert.rejects(pull(odd.host), { code });
    });
  }

  test('a password does not follow a redirect of the token server', async () => {
    await using elsewhere = await startOdd({});
    const target = `http://${elsewhere.host}/token`;
    await using odd = await startOdd({ status: 302, headers: { location: target } });
    await pull(odd.host, { trusted: [target], credentials: alice });
    assert.deepEqual(odd.authorizations, [
      undefined,
      `Basic ${btoa(`${username}:${password}`)}`,
      'Bearer good',
    ]);
    assert.deepEqual(elsewhere.requests, ['GET /token']);
    assert.deepEqual(elsewhere.authorizations, [undefined]);
  });

  suite('credentials stay with the registry that they belong to', () => {
    /** A registry that sends its blobs elsewhere, where another one asks for credentials. */
    async function redirecting(challenge: (origin: string) => string) {
      const thief = await startOdd({}, challenge);
      const server = createServer((_request, response) => {
        response.writeHead(307, { location: `http://${thief.host}/blob` }).end();
      });
      const listening = await listen(server);
      return {
        thief,
        host: listening.host,
        async [Symbol.asyncDispose]() {
          await listening[Symbol.asyncDispose]();
          await thief[Symbol.asyncDispose]();
        },
      };
    }

    for (const [title, challenge] of [
      ['a token server of its own', (origin: string) => `Bearer realm="${origin}/token",service="s"`],
      ['a password', () => 'Basic realm="give"'],
    ] as const) {
      test(`a redirect target that asks for ${title} gets no credentials (CVE-2020-15157)`, async () => {
        await using registry = await redirecting(challenge);
        const trusted = [`http://${registry.thief.host}`];
        await assert.rejects(pull(registry.host, { trusted, credentials: alice }), { status: 404 });
        assert.deepEqual(registry.thief.requests, ['GET /blob']);
        assert.deepEqual(registry.thief.authorizations, [undefined]);
      });
    }
  });

  suite('a listed address is not a way inside for unlisted registries', () => {
    test('a realm at a listed registry, named by one that is not listed', async () => {
      await using inside = await startOdd({});
      await using stranger = await startOdd({}, () => `Bearer realm="http://${inside.host}/token"`);
      const origin = `http://${stranger.host}`;
      // The guard considers this address public, but it is not listed.
      await using ours = createStack({ hosts: [stranger.host], listed: [inside.host], open: [origin] });
      await assert.rejects(ours.client.manifest(parseReference(`${stranger.host}/a/b`), 'latest', never), {
        code: 'address-refused',
      });
      assert.deepEqual(inside.requests, []);
    });

    test('the same realm, named by a listed registry, is where its tokens come from', async () => {
      await using inside = await startOdd({});
      await using registry = await startOdd({}, () => `Bearer realm="http://${inside.host}/token"`);
      await pull(registry.host, { trusted: [`http://${inside.host}`] });
      assert.equal(inside.requests.length, 1);
    });
  });

  test('a challenge for one repository that leads nowhere does not spoil the others', async () => {
    await using odd = await startOdd({}, (origin) =>
      odd.requests.length === 1
        ? 'Bearer realm="http://127.0.0.1:9/token"'
        : `Bearer realm="${origin}/token"`,
    );
    await using ours = createStack({ hosts: [odd.host] });
    const pullFrom = (path: string) =>
      ours.client.manifest(parseReference(`${odd.host}/${path}`), 'latest', never);
    await assert.rejects(pullFrom('evil/a'), { code: 'address-refused' });
    await pullFrom('good/a');
    assert.deepEqual(odd.requests.slice(1), [
      'GET /v2/good/a/manifests/latest',
      'GET /token?scope=repository%3Agood%2Fa%3Apull',
      'GET /v2/good/a/manifests/latest',
    ]);
  });

  test('a token that is too large for a header is refused', async () => {
    await using odd = await startOdd({ body: JSON.stringify({ token: 'x'.repeat(17_000) }) });
    await assert.rejects(pull(odd.host), { code: 'registry-failed' });
  });

  test('a token without a lifetime has a minute', async () => {
    await using odd = await startOdd({});
    let time = 0;
    await using ours = createStack({ hosts: [odd.host], now: () => time });
    for (const [at, requests] of [
      [0, 3],
      [53_000, 4],
      [60_000, 6],
    ] as const) {
      time = at;
      await ours.client.manifest(parseReference(`${odd.host}/a/b`), 'latest', never);
      assert.equal(odd.requests.length, requests);
    }
  });

  const challenges: [title: string, header: (origin: string) => string | string[], code: string][] = [
    ['no realm', () => 'Bearer service="s"', 'registry-failed'],
    ['a realm that is no URL', () => 'Bearer realm="token"', 'registry-failed'],
    ['a realm inside', () => 'Bearer realm="http://127.0.0.1:9/token"', 'address-refused'],
    ['a realm that is a file', () => 'Bearer realm="file:///etc/passwd"', 'address-refused'],
    ['a scheme that nobody here knows', () => 'Negotiate', 'image-not-found'],
    ['nothing at all', () => '', 'image-not-found'],
  ];
  for (const [title, header, code] of challenges) {
    test(`the challenge has ${title}: ${code}`, async () => {
      await using odd = await startOdd({}, header);
      await assert.rejects(pull(odd.host), { code });
      assert.equal(odd.requests.length, 1);
    });
  }

  test('an empty token beside an access_token is ignored', async () => {
    await using odd = await startOdd({ body: '{"token":"","access_token":"good"}' });
    await pull(odd.host);
  });

  for (const [how, listed] of [
    ['in one header', (realm: string) => `Basic realm="r", Bearer realm="${realm}",service="s"`],
    ['in two header lines', (realm: string) => ['Basic realm="r"', `Bearer realm="${realm}",service="s"`]],
  ] as const) {
    test(`Basic listed before Bearer, ${how}, gets a token without credentials`, async () => {
      await using odd = await startOdd({}, (origin) => [listed(`${origin}/token`)].flat());
      await pull(odd.host);
      assert.deepEqual(odd.authorizations, [undefined, undefined, 'Bearer good']);
    });

    test(`Basic listed before Bearer, ${how}, gets a token with the password`, async () => {
      await using odd = await startOdd({}, (origin) => [listed(`${origin}/token`)].flat());
      await pull(odd.host, { credentials: alice });
      const sent = `Basic ${btoa(`${username}:${password}`)}`;
      assert.deepEqual(odd.authorizations, [undefined, sent, 'Bearer good']);
    });
  }

  test('Basic without credentials means missing or private, after one request', async () => {
    await using odd = await startOdd({}, () => 'Basic realm="r"');
    await assert.rejects(pull(odd.host), { code: 'image-not-found', message: /missing or private/ });
    assert.equal(odd.requests.length, 1);
  });

  test('a realm over plain HTTP is refused with a message that names the token server', async () => {
    await using odd = await startOdd({}, () => 'Bearer realm="http://auth.test/token",service="s"');
    await assert.rejects(pull(odd.host, { credentials: alice }), {
      code: 'address-refused',
      message: `The token server of ${odd.host}, "http://auth.test", is refused. "auth.test" is not fetched: its URL does not use HTTPS.`,
    });
    assert.deepEqual(odd.authorizations, [undefined]);
  });

  test('a challenge in a second header line counts too', async () => {
    await using odd = await startOdd({}, (origin) => ['Negotiate', `Bearer realm="${origin}/token"`]);
    await pull(odd.host);
  });

  test('a registry that refuses the token it asked for is not asked forever', async () => {
    await using odd = await startOdd({ body: '{"token":"bad"}' });
    await assert.rejects(pull(odd.host), { code: 'image-not-found' });
    assert.equal(odd.requests.length, 3);
  });
});

suite('tokens and challenges in memory', () => {
  test('have a maximum size, regardless of what clients request', async () => {
    const now = (): number => 0;
    const caches = createMemoryCaches(now);
    const body = JSON.stringify({ token: 'x'.repeat(16_000), expires_in: 300 });
    const http: HttpClient = {
      request: async (url) => ({
        ...{ status: 200, url, header: () => undefined, release() {} },
        body: Readable.from([Buffer.from(body)]),
      }),
      close: async () => {},
    };
    const credentials = { find: async () => undefined };
    const authorizer = createAuthorizer({ http, credentials, now, caches });
    const challenge = `Bearer realm="https://tokens.example/",service="${'s'.repeat(2000)}"`;
    for (let count = 0; count < 500; count++) {
      const repository = parseReference(`registry-${count}.example/image`);
      const header = await authorizer.challenged(repository, 'https://a.example', challenge, undefined);
      assert.equal(header?.length, 'Bearer '.length + 16_000);
    }
    for (const name of ['registry-tokens', 'registry-challenges']) {
      const use = caches.uses().find((one) => one.name === name);
      assert.ok(use && use.bytes > 0.1 * use.limit && use.bytes <= use.limit, `${name} ${use?.bytes}`);
    }
  });
});
