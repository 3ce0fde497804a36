import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, entryPoint, startDockerProxy } from '../support/dockerproxy.ts';
import { startDownload } from '../support/download.ts';
import { type HttpResponse, httpCall } from '../support/http-request.ts';
import { type Image, image, type Layer, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { basicCredentials, type Registry, registryUser, startRegistry } from '../support/registry.ts';
import { reservePort } from '../support/reserve-port.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { startTokenServer, type TokenServer } from '../support/token-server.ts';
import { waitFor } from '../support/wait-for.ts';

const USERS = { alice: 'secret-of-alice-4711', bob: 'secret-of-bob-0815' };
const platform = { os: 'linux', architecture: 'amd64' };
/** Bytes that a socket does not take while its reader pauses. */
const LARGE = 8 * 2 ** 20;

const basic = (name: string, password: string): Record<string, string> => ({
  authorization: basicCredentials({ name, password }),
});
const alice = basic('alice', USERS.alice);
const bob = basic('bob', USERS.bob);

for (const { replicas, workers } of [
  { replicas: 1, workers: 1 },
  { replicas: 2, workers: 2 },
])
  suite(`private images behind a token server, with ${replicas * workers} processes,`, {
    skip: skipUnless('docker-registry', 'redis-server'),
  }, () => {
    const cleanup = new AsyncDisposableStack();
    let tokens: TokenServer;
    let registry: Registry;
    let redis: RedisServer;
    const proxies: DockerProxy[] = [];
    const metrics: string[] = [];
    let folder: string;
    let large: Layer;
    const images: Record<string, Image> = {};

    before(async () => {
      folder = cleanup.use(await temporaryFolder()).path;
      tokens = cleanup.use(
        await startTokenServer({
          users: USERS,
          anonymous: (repository) => repository.startsWith('public/'),
          mayUse: (user, repository) => repository.startsWith(`${user}/`) || repository.startsWith('public/'),
        }),
      );
      registry = cleanup.use(await startRegistry({ auth: tokens.auth }));
      redis = cleanup.use(await startRedis());
      for (let replica = 0; replica < replicas; replica += 1) {
        const port = await reservePort();
        metrics.push(`http://127.0.0.1:${port}/metrics`);
        const env = {
          DOCKERPROXY_ALLOW: `${registry.host}/**`,
          DOCKERPROXY_INSECURE_REGISTRIES: `${registry.host},${new URL(tokens.url).host}`,
          DOCKERPROXY_REGISTRY_NAMES: `lab=${registry.host}`,
          DOCKERPROXY_REDIS_URL: redis.url,
          DOCKERPROXY_CACHE_DIR: join(folder, `cache-${replica}`),
          DOCKERPROXY_STATE_DIR: join(folder, `state-${replica}`),
          DOCKERPROXY_CLIENT_CREDENTIALS: 'on',
          DOCKERPROXY_WORKERS: `${workers}`,
          DOCKERPROXY_METRICS_PORT: `${port}`,
        };
        proxies.push(cleanup.use(await startDockerProxy({ env })));
      }
      large = cleanup.use(await randomLayer(LARGE, 'large'));
      for (const user of ['alice', 'bob', 'public']) {
        const own = await layer({ files: { [`etc/${user}`]: `private to ${user}` } });
        const made = image({ platform, layers: user === 'alice' ? [large, own] : [own] });
        images[user] = made;
        await push(registry.url, `${user}/app`, 'v1', made, { headers: tokens.headers });
      }
    });

    after(() => cleanup.disposeAsync());

    let sent = 0;
    /** Sends a request to the next replica, whose primary process chooses a worker. */
    const at = (path: string, headers = {}, method = 'GET'): Promise<HttpResponse> => {
      sent += 1;
      return httpCall(new URL(path, proxies[sent % replicas]?.url), { headers, method });
    };
    const nameOf = (user: string): string => `${registry.host}/${user}/app:v1`;
    const pinned = (user: string): string =>
      `${registry.host}/${user}/app@${images[user]?.descriptor.digest ?? ''}`;

    /** All URLs under which something of an image can be read. */
    const urlsOf = (user: string): string[] => {
      const blobs = [
        images[user]?.config.descriptor.digest,
        ...(images[user]?.layers ?? []).map((one) => one.descriptor.digest),
      ];
      return [
        ...[nameOf(user), pinned(user)].flatMap((name) => [
          `/dl?myimage=${name}`,
          `/dl/${name}.tar`,
          `/dl/${name}.tar.sha256`,
          `/dl/${name}.tar.meta4`,
          `/dl?myimage=${name}&format=oci`,
          `/dl?myimage=${name}&format=rootfs`,
          `/dl?myimage=${name}&platform=all&format=oci`,
          `/dl?myimage=${name}&redirect=1`,
          `/dl?myimage=${name}&have=${nameOf('public')}`,
          `/file?myimage=${name}&path=/etc/${user}`,
          `/api/v1/image?myimage=${name}`,
          `/api/v1/files?myimage=${name}`,
          `/api/v1/layers?myimage=${name}`,
          `/api/v1/referrers?myimage=${name}`,
          `/api/v1/delta?myimage=${name}&have=${nameOf('public')}`,
        ]),
        `/api/v1/tags?repository=${registry.host}/${user}/app`,
        `/v2/lab/${user}/app/tags/list`,
        `/v2/lab/${user}/app/manifests/v1`,
        `/v2/lab/${user}/app/manifests/${images[user]?.descriptor.digest}`,
        `/v2/lab/${user}/app/referrers/${images[user]?.descriptor.digest}`,
        ...blobs.map((digest) => `/v2/lab/${user}/app/blobs/${digest}`),
      ];
    };

    test('are downloaded with the credentials of their user, privately', async () => {
      for (const [user, headers] of Object.entries({ alice, bob })) {
        for (const url of urlsOf(user)) {
          const response = await at(url, headers);
          assert.ok(
            response.status === 200 || response.status === 307,
            `${url}: ${response.status} ${response.body}`,
          );
          assert.equal(response.headers['cache-control'], 'private, no-store', url);
          assert.doesNotMatch(String(response.headers.link ?? ''), /duplicate/);
        }
      }
    });

    test('have the same bytes for ranges and revalidation as public images', async () => {
      const url = `/dl?myimage=${nameOf('alice')}`;
      const whole = await at(url, alice);
      const { etag = '' } = whole.headers;
      const range = await at(url, { ...alice, range: 'bytes=1000-2000000', 'if-range': etag });
      assert.equal(range.status, 206);
      assert.ok(range.body.equals(whole.body.subarray(1000, 2_000_001)));
      const again = await at(url, { ...alice, 'if-none-match': etag });
      assert.deepEqual([again.status, again.headers['cache-control']], [304, 'private, no-store']);
      const head = await at(url, alice, 'HEAD');
      assert.deepEqual([head.status, head.headers.etag], [200, etag]);
    });

    test('stay closed to others by every URL, range, condition, and method while they are downloaded', async () => {
      const path = `/dl?myimage=${nameOf('alice')}`;
      const ongoing = startDownload(`${proxies[0]?.url}${path}`, { headers: alice, pauseAt: 100_000 });
      const known = await at(path, alice, 'HEAD');
      const conditions = [{}, { range: 'bytes=0-99' }, { 'if-none-match': known.headers.etag ?? '' }];
      // The answer of another process depends neither on the method nor on the condition.
      const requests = ['GET', 'HEAD']
        .flatMap((method) => conditions.map((more) => ({ method, more })))
        .slice(0, replicas * workers === 1 ? undefined : 1);
      for (const [who, headers] of Object.entries({ bob, nobody: {} })) {
        for (const url of urlsOf('alice')) {
          for (const { method, more } of requests) {
            const { status, body } = await at(url, { ...headers, ...more }, method);
            assert.equal(status, who === 'bob' ? 404 : 401, `${who} ${method} ${url}: ${status} ${body}`);
          }
        }
      }
      ongoing.resume();
      const { size } = await ongoing.done;
      assert.equal(size, Number(known.headers['content-length']));
    });

    test('report their progress to their user alone', async () => {
      const path = `/dl/status?myimage=${nameOf('alice')}`;
      assert.match(`${(await at(path, alice)).body}`, /^event: ready$/m);
      for (const headers of [bob, {}]) {
        const { body } = await at(path, headers);
        assert.match(`${body}`, /^event: error$/m);
        assert.doesNotMatch(`${body}`, /sha256:|ready/);
      }
    });

    // A process that has not seen credentials yet asks for more.
    if (replicas * workers === 1)
      test('cost the registry the same requests, whether their layers are stored or not', async () => {
        const missing = `/v2/lab/alice/app/blobs/${large.descriptor.digest}`;
        const costs = async (): Promise<string[]> => {
          await registry.reset();
          const { status } = await at(missing, basic('bob', USERS.bob));
          assert.equal(status, 404);
          return (await registry.requests()).map(
            ({ method, path, status: theirs }) => `${method} ${path} ${theirs}`,
          );
        };
        const before = await costs();
        const { status } = await at(`/dl?myimage=${nameOf('alice')}`, alice);
        assert.equal(status, 200);
        assert.deepEqual(await costs(), before);
      });

    if (replicas * workers === 1)
      test('are checked at the registry before a layer that a public image has stored is sent', async () => {
        await push(registry.url, 'public/big', 'v1', image({ platform, layers: [large] }), {
          headers: tokens.headers,
        });
        const stored = await at(`/dl?myimage=${registry.host}/public/big:v1`);
        assert.equal(stored.status, 200);
        const hex = large.descriptor.digest.slice(7);
        const names = () => readdir(folder, { recursive: true });
        // The response ends before the layer has its final name.
        await waitFor(async () => (await names()).some((name) => name.endsWith(hex)), { what: 'the layer' });
        await registry.reset();
        const { status } = await at(`/dl?myimage=${nameOf('alice')}`, alice);
        assert.equal(status, 200);
        const ofLayer = (await registry.requests()).filter(({ path }) =>
          path.includes(large.descriptor.digest),
        );
        assert.deepEqual(
          ofLayer.filter(({ status: theirs }) => theirs === 200).map(({ method }) => method),
          ['HEAD'],
        );
      });

    test('ask a client without credentials for them, and browsers without a dialog', async () => {
      const path = `/dl?myimage=${nameOf('alice')}`;
      const asked = await at(path, { accept: '*/*' });
      assert.equal(asked.status, 401);
      assert.equal(asked.headers['www-authenticate'], `Basic realm="${registry.host}", charset="UTF-8"`);
      const browser = await at(path, { 'sec-fetch-mode': 'navigate', accept: 'text/html' });
      assert.deepEqual([browser.status, browser.headers['www-authenticate']], [401, undefined]);
    });

    test('answer wrong credentials with the reason of the registry', async () => {
      const path = `/api/v1/image?myimage=${nameOf('alice')}`;
      const { status, headers, body } = await at(path, basic('alice', 'wrong'));
      assert.equal(status, 401);
      assert.match(headers['www-authenticate'] ?? '', /^Basic /);
      assert.match(`${body}`, /incorrect username or password/);
    });

    test('take a user name with a registry, also for images of several registries', async () => {
      const path = `/dl?myimage=${nameOf('alice')}`;
      const { status } = await at(path, basic(`${registry.host}/alice`, USERS.alice));
      assert.equal(status, 200);
      const elsewhere = await at(path, basic('ghcr.io/alice', USERS.alice));
      assert.equal(elsewhere.status, 404);
    });

    test('refuse unreadable headers', async () => {
      const path = `/dl?myimage=${nameOf('alice')}`;
      for (const authorization of ['Basic', 'Basic !', 'Basic YQ==', 'Digest a=b', 'Bearer abc']) {
        const { status } = await at(path, { authorization });
        assert.equal(status, 400, authorization);
      }
    });

    test('leave no secret in logs, metrics, Redis, or on the disk', async () => {
      const secrets = Object.entries(USERS).flatMap(([name, password]) => [
        password,
        Buffer.from(`${name}:${password}`).toString('base64'),
      ]);
      const files = await readdir(folder, { recursive: true, withFileTypes: true });
      const kept = await Promise.all(
        files
          .filter((file) => file.isFile())
          .map((file) => readFile(join(file.parentPath, file.name), 'latin1')),
      );
      const keys = (await redis.cli('KEYS', '*')).split('\n').filter(Boolean);
      const values = await Promise.all(keys.map((key) => redis.cli('DUMP', key)));
      const measured = await Promise.all(metrics.map(async (url) => `${(await httpCall(url)).body}`));
      assert.ok(measured.every((text) => text.includes('dockerproxy_')));
      const said = await Promise.all(
        [alice, bob, basic('alice', 'wrong')].flatMap((headers) =>
          ['alice', 'bob'].map(async (user) => {
            const { headers: theirs, body } = await at(`/dl/status?myimage=${nameOf(user)}`, headers);
            return `${JSON.stringify(theirs)}${body}`;
          }),
        ),
      );
      const logged = proxies.flatMap((proxy) => [JSON.stringify(proxy.logs()), proxy.stderr()]);
      const all = [...logged, ...measured, ...said, ...kept, ...keys, ...values];
      const digests = ['alice', 'bob'].map((user) => images[user]?.descriptor.digest ?? '');
      for (const secret of secrets)
        assert.ok(
          all.every((text) => !text.includes(secret)),
          secret,
        );
      // Layers and manifests of private images stay in memory.
      for (const digest of digests)
        assert.ok(
          kept.every((text) => !text.includes(digest)),
          digest,
        );
      assert.ok(files.every(({ name }) => digests.every((digest) => !name.includes(digest.slice(7)))));
    });
  });

suite('private images behind a password file', {
  skip: skipUnless('docker-registry'),
}, () => {
  const cleanup = new AsyncDisposableStack();
  let registry: Registry;
  const own = basic(registryUser.name, registryUser.password);
  /** The services without further settings, and with the setting off. */
  let on: DockerProxy;
  let off: DockerProxy;

  before(async () => {
    registry = cleanup.use(await startRegistry({ auth: 'htpasswd' }));
    const made = image({ platform, layers: [await layer({ files: { 'etc/app': 'private' } })] });
    await push(registry.url, 'org/app', 'v1', made, { headers: own });
    [on, off] = await Promise.all([start({}), start({ DOCKERPROXY_CLIENT_CREDENTIALS: 'off' })]);
  });

  after(() => cleanup.disposeAsync());

  const start = async (env: NodeJS.ProcessEnv): Promise<DockerProxy> =>
    cleanup.use(
      await startDockerProxy({
        env: {
          DOCKERPROXY_ALLOW: `${registry.host}/**`,
          DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
          DOCKERPROXY_CLIENT_CREDENTIALS: 'on',
          ...env,
        },
      }),
    );
  const get = (proxy: DockerProxy, headers: Record<string, string>): Promise<HttpResponse> =>
    httpCall(`${proxy.url}/dl?myimage=${registry.host}/org/app:v1`, { headers });

  test('open to the right password alone', async () => {
    assert.equal((await get(on, own)).status, 200);
    assert.equal((await get(on, basic(registryUser.name, 'wrong'))).status, 401);
    assert.equal((await get(on, {})).status, 401);
    assert.equal((await get(on, own)).status, 200);
  });

  test('open by a form with the credentials in its body, and by no other body', async () => {
    const url = `${on.url}/dl?myimage=${registry.host}/org/app:v1`;
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    const post = (fields: Record<string, string>, headers = form): Promise<HttpResponse> =>
      httpCall(url, { method: 'POST', headers, body: Buffer.from(`${new URLSearchParams(fields)}`) });
    const { name: user, password } = registryUser;
    const sent = await post({ user, password });
    assert.deepEqual([sent.status, sent.headers['cache-control']], [200, 'private, no-store']);
    assert.ok(sent.body.equals((await get(on, own)).body));
    assert.equal((await post({ user, password: 'wrong' })).status, 401);
    assert.equal((await post({ user })).status, 400);
    assert.equal((await post({ user, password }, { 'content-type': 'text/plain' })).status, 400);
    assert.equal((await post({ user, password: 'x'.repeat(9000) })).status, 400);
    const allowed = async ({ url: at }: DockerProxy, path: string): Promise<unknown> => {
      const { status, headers } = await httpCall(`${at}${path}`, { method: 'PUT' });
      return [status, headers.allow];
    };
    assert.deepEqual(await allowed(off, '/dl?myimage=a'), [405, 'GET, HEAD']);
    assert.deepEqual(await allowed(on, '/dl?myimage=a'), [405, 'GET, HEAD, POST']);
    assert.deepEqual(await allowed(on, '/dl/a.tar'), [405, 'GET, HEAD']);
    assert.equal((await httpCall(`${off.url}/dl?myimage=a`, { method: 'POST' })).status, 405);
  });

  test('are saved by the command, whose password comes from stdin or the environment', async () => {
    const folder = cleanup.use(await temporaryFolder()).path;
    const settings = ['--insecure-registries', registry.host, '--cache-dir', join(folder, 'cache')];
    const image = `${registry.host}/org/app:v1`;
    const { PATH, NODE_COMPILE_CACHE } = process.env;
    const outer = { PATH, NODE_COMPILE_CACHE };
    const command = (words: string[], env: NodeJS.ProcessEnv, stdin: string) =>
      spawnSync(process.execPath, [entryPoint, ...words, '--user', registryUser.name, ...settings], {
        env: { ...outer, HOME: folder, DOCKER_CONFIG: folder, ...env },
        input: stdin,
        encoding: 'latin1',
      });
    const byVariable = { DOCKERPROXY_PASSWORD: registryUser.password };
    const listed = command(['ls', image, '/etc'], byVariable, '');
    assert.match(listed.stdout, /app/, listed.stderr);
    const printed = command(['cat', image, '/etc/app'], byVariable, '');
    assert.equal(printed.stdout, 'private', printed.stderr);
    const file = join(folder, 'app.tar');
    const saved = command(['save', image, '-o', file, '--password-stdin'], {}, `${registryUser.password}\n`);
    assert.equal(saved.status, 0, saved.stderr);
    assert.ok((await readFile(file)).length > 0);
    const wrong = command(['save', image, '-o', file, '--password-stdin'], {}, 'wrong\n');
    assert.notEqual(wrong.status, 0);
    assert.match(wrong.stderr, /does not accept the credentials/);
    const none = command(['save', image, '-o', file], {}, '');
    assert.match(none.stderr, /--password-stdin/);
  });

  test('are pulled through the registry API by a login to this service', {
    skip: skipUnless('skopeo'),
  }, async () => {
    const proxy = await start({ DOCKERPROXY_REGISTRY_NAMES: `lab=${registry.host}` });
    const ping = await httpCall(`${proxy.url}/v2/`);
    const { host } = new URL(proxy.url);
    assert.equal(ping.status, 401);
    assert.equal(ping.headers['www-authenticate'], `Bearer realm="${proxy.url}/v2/token",service="${host}"`);
    const folder = cleanup.use(await temporaryFolder()).path;
    const copy = (user: string, password: string) =>
      spawnSync(
        'skopeo',
        [
          ...['copy', '--src-tls-verify=false', '--src-creds', `${user}:${password}`],
          ...[`docker://${host}/lab/org/app:v1`, `dir:${join(folder, password)}`],
        ],
        { encoding: 'utf8' },
      );
    const right = copy(registryUser.name, registryUser.password);
    assert.equal(right.status, 0, right.stderr);
    const wrong = copy(registryUser.name, 'wrong');
    assert.notEqual(wrong.status, 0);
    assert.match(wrong.stderr, /does not accept the credentials/);
    const token = await httpCall(`${proxy.url}/v2/token`);
    const { token: anonymous } = JSON.parse(`${token.body}`);
    const headers = { authorization: `Bearer ${anonymous}` };
    assert.equal((await httpCall(`${proxy.url}/v2/`, { headers })).status, 200);
    assert.equal((await httpCall(`${proxy.url}/v2/lab/org/app/manifests/v1`, { headers })).status, 401);
  });

  test('stay closed where the setting is off', async () => {
    assert.equal((await get(off, own)).status, 404);
    assert.equal((await get(off, {})).status, 404);
  });

  test('do not take credentials that came over plain HTTP from afar', async () => {
    const proxy = await start({ DOCKERPROXY_TRUST_PROXY: '127.0.0.1' });
    const from = { 'x-forwarded-for': '198.51.100.7' };
    const plain = await get(proxy, { ...own, ...from });
    assert.equal(plain.status, 403);
    assert.match(`${plain.body}`, /only over HTTPS/);
    const secure = await get(proxy, { ...own, ...from, 'x-forwarded-proto': 'https' });
    assert.equal(secure.status, 200);
    // A proxy that is not trusted cannot vouch for HTTPS.
    assert.equal((await get(on, { ...own, ...from, 'x-forwarded-proto': 'https' })).status, 403);
  });

  test('stop guesses at 25 of a client and at 100 of all, however many workers there are', async () => {
    const proxy = await start({ DOCKERPROXY_WORKERS: '2', DOCKERPROXY_TRUST_PROXY: '127.0.0.1' });
    const guesses = async (count: number, clients: number): Promise<number[]> => {
      const statuses: number[] = [];
      for (let at = 0; at < count; at += 10) {
        const from = (more: number) => `198.51.${clients}.${(at + more) % clients}`;
        const ten = Array.from({ length: 10 }, (_, more) =>
          get(proxy, {
            ...basic(registryUser.name, `guess ${at + more}`),
            ...{ 'x-forwarded-for': from(more), 'x-forwarded-proto': 'https' },
          }),
        );
        statuses.push(...(await Promise.all(ten)).map(({ status }) => status));
      }
      return statuses;
    };
    const counted = (statuses: number[]) =>
      [401, 429].map((status) => statuses.filter((one) => one === status).length);
    assert.deepEqual(counted(await guesses(40, 1)), [25, 15]);
    assert.deepEqual(counted(await guesses(90, 10)), [75, 15]);
  });

  test('count a wrong password like ten requests', async () => {
    const proxy = await start({ DOCKERPROXY_RATE_LIMIT: '25/hour' });
    const wrong = (): Promise<HttpResponse> => get(proxy, basic(registryUser.name, 'wrong'));
    assert.deepEqual([(await wrong()).status, (await wrong()).status], [401, 401]);
    assert.equal((await get(proxy, own)).status, 200);
    assert.equal((await wrong()).status, 401);
    assert.equal((await get(proxy, own)).status, 429);
  });
});
