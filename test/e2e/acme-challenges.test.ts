import assert from 'node:assert/strict';
import { randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { type Account, deactivate } from '../support/acme-account.ts';
import { startAcmeProxy } from '../support/acme-proxy.ts';
import { createCurrentAuthority } from '../support/current-authority.ts';
import { type DockerProxy, type LogRecord, startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { type PebbleOptions, startPebble } from '../support/pebble.ts';
import { startRedis } from '../support/redis.ts';
import { reservePort } from '../support/reserve-port.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import { certificateOf, DOMAIN, failureOf, shownBy } from './acme-bed.ts';

/** The number of connections, large enough that each worker has some. */
const CONNECTIONS = 12;

/** Each ACME client with each type of challenge that it answers. */
const CELLS = [
  ['greenlock', 'http-01'],
  ['greenlock', 'dns-01'],
  ['builtin', 'http-01'],
  ['builtin', 'tls-alpn-01'],
  ['builtin', 'dns-01'],
] as const;

/** The problem of an order that a CAA record forbids. */
const CAA = { type: 'urn:ietf:params:acme:error:caa', detail: 'Another CA.', status: 403 };

/** Logged after it listens for HTTPS, for which the start waits. */
async function httpPortOf(proxy: DockerProxy): Promise<number> {
  const line = () => proxy.logs().find(({ msg }) => msg.endsWith(' redirects to HTTPS'));
  const { msg } = await waitFor(line, { what: 'the port of HTTP' });
  return Number(new URL(msg.split(' ')[0] ?? '').port);
}

/** Passes the connections to a port to another one. */
async function forward(port: number, target: number): Promise<Disposable> {
  const server = createServer((client) => {
    const upstream = connect(target, '127.0.0.1');
    client.on('error', () => upstream.destroy()).pipe(upstream);
    upstream.on('error', () => client.destroy()).pipe(client);
  });
  await once(server.listen(port, '127.0.0.1'), 'listening');
  return { [Symbol.dispose]: () => void server.close() };
}

/** Logged once the certificate of an order is stored. */
function newCertificates(service: DockerProxy): number {
  return service.logs().filter(({ msg }) => msg.startsWith('New certificate: ')).length;
}

/** How often services have logged that orders failed by this code. */
function failures(code: string, ...services: DockerProxy[]): number[] {
  const isFailure = (line: LogRecord): boolean => line.level === 50 && line.code === code;
  return services.map((service) => service.logs().filter(isFailure).length);
}

/** The only file of one kind in a state folder. */
async function storedIn(folder: string, kind: 'accounts' | 'certificates'): Promise<string> {
  const path = join(folder, 'tls', kind);
  const [name = ''] = await readdir(path);
  return readFile(join(path, name), 'utf8');
}

/** Waits until all workers of some services show the same certificate, and returns it. */
function oneCertificateOf(...services: DockerProxy[]): Promise<X509Certificate> {
  return waitFor(
    async () => {
      // A handshake costs more than a request.
      const reports = await Promise.all(services.map(certificateOf));
      if (reports.some(({ state }) => state !== 'valid')) return false;
      const connections = services.flatMap((service) =>
        Array.from({ length: CONNECTIONS }, () => shownBy(service)),
      );
      const [first, ...others] = await Promise.all(connections);
      return others.every((shown) => shown.fingerprint256 === first?.fingerprint256) && first;
    },
    { timeout: 90_000, what: 'one certificate in all workers' },
  );
}

/** An authority that behaves as current ones do, and the ports at which it validates all domains. */
async function startScene(options: Partial<PebbleOptions> = {}) {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const [httpPort, tlsPort] = [await reservePort(), await reservePort()];
  const pebble = stack.use(
    await startPebble({ httpPort, tlsPort, refusedNonces: 50, validationSeconds: 2, ...options }),
  );
  const authority = stack.use(await startAcmeProxy(pebble));
  const current = createCurrentAuthority();
  /** The next responses about an order say this instead. */
  const states: { status: string; error?: object }[] = [{ status: 'processing' }];
  /** The times of the orders that the authority has accepted. */
  const orders: number[] = [];
  authority.alter = (answer) => {
    current.alter(answer);
    if (answer.path === '/order-plz' && answer.status === 201) orders.push(Date.now());
    if (!/my-order|finalize/.test(answer.path) || answer.status >= 400) return;
    const state = states.shift();
    if (state === undefined) return;
    answer.headers['retry-after'] = new Date(Date.now() + 1000).toUTCString();
    answer.body = JSON.stringify({ ...JSON.parse(answer.body), ...state });
  };
  const bed = stack.move();
  return {
    ...{ pebble, authority, httpPort, tlsPort, states, orders, folder: folder.path },
    start: (env: NodeJS.ProcessEnv): Promise<DockerProxy> =>
      startDockerProxy({
        env: {
          DOCKERPROXY_DOMAINS: DOMAIN,
          DOCKERPROXY_ACME_EMAIL: 'ops@example.org',
          DOCKERPROXY_ACME_DIRECTORY: authority.directory,
          NODE_EXTRA_CA_CERTS: pebble.caFile,
          ...env,
        },
      }),
    /** Writes a hook that sets the records of the authority's DNS, and returns its settings. */
    async withHook(): Promise<NodeJS.ProcessEnv> {
      const hook = join(folder.path, 'hook');
      await writeFile(
        hook,
        `#!/bin/sh
         case $1 in present) path=set-txt ;; cleanup) path=clear-txt ;; esac
         runs=${folder.path}/runs
         echo "$1 $2" >> $runs
         # That server removes all values of a name at once.
         [ $1 = present ] || [ $(grep -c present $runs) = $(grep -c cleanup $runs) ] || exit 0
         exec curl -fsS -d "{\\"host\\":\\"$2\\",\\"value\\":\\"$3\\"}" ${pebble.dns.management}/$path`,
        { mode: 0o700 },
      );
      return {
        DOCKERPROXY_DOMAINS: `${DOMAIN},*.${DOMAIN}`,
        DOCKERPROXY_ACME_DNS_HOOK: hook,
        DOCKERPROXY_ACME_DNS_RESOLVERS: pebble.dns.server,
      };
    },
    /** The runs of this hook so far. */
    runs: async () => (await readFile(join(folder.path, 'runs'), 'utf8')).trim().split('\n'),
    [Symbol.asyncDispose]: () => bed.disposeAsync(),
  };
}

suite('the challenges of an ACME authority', {
  skip: skipUnless('pebble'),
  concurrency: 3,
  timeout: 600_000,
}, () => {
  test('with a closed port 80, the next attempt validates at port 443, which all workers answer', async () => {
    await using scene = await startScene();
    await using proxy = await scene.start({
      DOCKERPROXY_HTTPS_PORT: `${scene.tlsPort}`,
      DOCKERPROXY_WORKERS: '2',
    });
    assert.match((await failureOf(proxy, 'challenge-failed')).msg, /port 80/);
    process.kill(proxy.pid, 'SIGHUP');
    await oneCertificateOf(proxy);
  });

  for (const [client, challenge] of CELLS) {
    test(`replicas order once for all, and recover from each failure: ${client}, ${challenge}`, {
      skip: skipUnless('redis-server', 'curl'),
    }, async () => {
      const isBuiltin = client === 'builtin';
      const externalKey = randomBytes(32).toString('base64url');
      await using scene = await startScene({
        alternateRoots: 1,
        ...(isBuiltin && { externalKeys: { 'kid-1': externalKey } }),
      });
      await using redis = await startRedis();
      const { authority, pebble, orders, states, folder } = scene;
      const [key, eabKey] = [join(folder, 'key'), join(folder, 'eab-key')];
      const folders = [join(folder, 'one'), join(folder, 'other')] as const;
      await writeFile(key, 'k'.repeat(32));
      await writeFile(eabKey, externalKey);
      const root = new X509Certificate(await pebble.root(1));
      const env = {
        DOCKERPROXY_ACME_CLIENT: client,
        DOCKERPROXY_ACME_CHALLENGE: challenge,
        DOCKERPROXY_REDIS_URL: redis.url,
        DOCKERPROXY_REDIS_KEY_FILE: key,
        ...(challenge === 'dns-01' && (await scene.withHook())),
        ...(isBuiltin && {
          DOCKERPROXY_ACME_EAB_KID: 'kid-1',
          DOCKERPROXY_ACME_EAB_KEY_FILE: eabKey,
          DOCKERPROXY_ACME_PROFILE: 'shortlived',
          DOCKERPROXY_ACME_PREFERRED_CHAIN: root.subject.replace(/^CN=/, ''),
        }),
      };
      await using stack = new AsyncDisposableStack();
      const opened = Promise.withResolvers<void>();
      authority.opened = opened.promise;
      // The first one orders, because it has the lock. The authority reaches only the other one.
      const one = stack.use(await scene.start({ ...env, DOCKERPROXY_STATE_DIR: folders[0] }));
      const workers = { DOCKERPROXY_WORKERS: '2', DOCKERPROXY_STATE_DIR: folders[1] };
      const other = stack.use(await scene.start({ ...env, ...workers }));
      const otherHttp = await httpPortOf(other);
      stack.use(await forward(scene.httpPort, otherHttp));
      stack.use(await forward(scene.tlsPort, Number(new URL(other.url).port)));
      opened.resolve();
      const first = await oneCertificateOf(one, other);
      assert.match(first.issuer, /authority of today/);
      assert.deepEqual([newCertificates(one), newCertificates(other), orders.length], [1, 0, 1]);
      assert.equal(states.length, 0);
      if (isBuiltin) assert.equal(authority.payloads('order-plz')[0]?.profile, 'shortlived');
      if (challenge === 'dns-01') {
        const actions = ['present', 'present', 'cleanup', 'cleanup'];
        const expected = actions.map((action) => `${action} _acme-challenge.${DOMAIN}.`);
        assert.deepEqual(
          await waitFor(async () => {
            const runs = await scene.runs();
            return runs.length === expected.length && runs;
          }),
          expected,
        );
        const { subjectAltName = '' } = first;
        assert.deepEqual(subjectAltName.split(', ').sort(), [`DNS:*.${DOMAIN}`, `DNS:${DOMAIN}`]);
        const link = { headers: { host: `x.${DOMAIN}` } };
        const { location = '' } = (await httpCall(`http://127.0.0.1:${otherHttp}/`, link)).headers;
        assert.equal(new URL(location).hostname, DOMAIN, 'links name the primary name, and no wildcard');
      }

      // A rate limit: the replica that ordered waits, and dies.
      const date = Math.ceil(Date.now() / 1000) * 1000 + 8000;
      authority.fault = {
        ...{ path: /order-plz/, status: 429, problem: 'urn:ietf:params:acme:error:rateLimited' },
        headers: { 'retry-after': new Date(date).toUTCString() },
      };
      const refused = (): number => authority.requests.filter((each) => /order-plz/.test(each)).length;
      const before = refused();
      const [stored = ''] = (await redis.cli('--scan', '--pattern', '*:tls:certificates:*')).split('\n');
      await redis.cli('del', stored);
      process.kill(one.pid, 'SIGHUP');
      const limited = await failureOf(one, 'ca-rate-limited');
      const [, next = ''] = / next attempt (\S+)$/.exec(limited.msg) ?? [];
      assert.ok(Date.parse(next) >= date, `${next} is before ${new Date(date).toISOString()}`);
      assert.deepEqual(failures('ca-rate-limited', one, other), [1, 0]);
      for (const replica of [one, other])
        assert.equal((await shownBy(replica)).fingerprint256, first.fingerprint256);
      // The other one has to order, too. It tries to take the lock at the second time that it reports.
      process.kill(other.pid, 'SIGHUP');
      const tries = new Set<string>();
      await waitFor(async () => {
        const { nextAttempt } = await certificateOf(other);
        if (Date.parse(nextAttempt) < Date.now() + 60_000) tries.add(nextAttempt);
        return tries.size > 1;
      });
      process.kill(one.pid, 'SIGKILL');
      await one.exited;
      assert.equal(refused(), before + 1);
      authority.fault = undefined;
      states.push({ status: 'invalid', error: CAA });

      // Its lease is over within 30 s, which this test does not wait for.
      const leases = (await redis.cli('--scan', '--pattern', '*:turn:*')).split('\n');
      assert.equal(leases.length, 1);
      const left = Number(await redis.cli('pttl', leases[0] ?? ''));
      assert.ok(left > 0 && left <= 30_000, `${left}`);
      await redis.cli('pexpire', leases[0] ?? '', '1');
      assert.match((await failureOf(other, 'ca-refused')).msg, /CAA record.* next attempt /);
      assert.equal(orders.length, 2);
      assert.ok((orders[1] ?? 0) >= date, 'no order before the date of the authority');
      assert.equal((await oneCertificateOf(other)).fingerprint256, first.fingerprint256);

      // An account that its owner has deactivated.
      const dead: Account = JSON.parse(await storedIn(folders[0], 'accounts'));
      await deactivate(authority, dead);
      authority.alter = undefined;
      process.kill(other.pid, 'SIGHUP');
      await waitFor(() => newCertificates(other) === 1, { timeout: 90_000, what: 'the next certificate' });
      await waitFor(async () => (await oneCertificateOf(other)).fingerprint256 !== first.fingerprint256);
      const [top = ''] = (await storedIn(folders[1], 'certificates')).split(/(?=-----BEGIN)/).slice(-1);
      assert.equal(new X509Certificate(top).checkIssued(root), isBuiltin, 'the preferred chain');
      assert.deepEqual(failures('ca-refused', one, other), [0, 1]);
      assert.equal(pebble.log().match(/There are now \d+ accounts/g)?.length, 2);
    });
  }
});
