import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { type AcmeProxy, startAcmeProxy } from '../support/acme-proxy.ts';
import { createCurrentAuthority } from '../support/current-authority.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { type Pebble, startPebble } from '../support/pebble.ts';
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

suite('the challenges of an ACME authority', {
  skip: skipUnless('pebble', 'openssl'),
  timeout: 600_000,
}, () => {
  let pebble: Pebble;
  let authority: AcmeProxy;
  /** The ports of all domains, to which the authority connects. */
  let httpPort: number;
  let tlsPort: number;
  const current = createCurrentAuthority();
  before(async () => {
    [httpPort, tlsPort] = [await reservePort(), await reservePort()];
    pebble = await startPebble({ httpPort, tlsPort, refusedNonces: 50, validationSeconds: 1 });
    authority = await startAcmeProxy(pebble);
  });
  beforeEach(() => {
    authority.opened = Promise.resolve();
    let isProcessing = false;
    authority.alter = (answer) => {
      current.alter(answer);
      if (!/finalize/.test(answer.path) || answer.status >= 400 || isProcessing) return;
      isProcessing = true;
      answer.headers['retry-after'] = new Date(Date.now() + 1000).toUTCString();
      answer.body = JSON.stringify({ ...JSON.parse(answer.body), status: 'processing' });
    };
  });
  after(async () => {
    await authority[Symbol.asyncDispose]();
    await pebble[Symbol.asyncDispose]();
  });

  const start = (env: NodeJS.ProcessEnv): Promise<DockerProxy> =>
    startDockerProxy({
      env: {
        DOCKERPROXY_DOMAINS: DOMAIN,
        DOCKERPROXY_ACME_EMAIL: 'ops@example.org',
        DOCKERPROXY_ACME_DIRECTORY: authority.directory,
        NODE_EXTRA_CA_CERTS: pebble.caFile,
        ...env,
      },
    });
  /** Waits until all workers of some services show the same certificate of the authority. */
  const issued = (...services: DockerProxy[]): Promise<unknown> =>
    waitFor(
      async () => {
        const connections = services.flatMap((service) =>
          Array.from({ length: CONNECTIONS }, () => shownBy(service)),
        );
        const shown = await Promise.all(connections);
        const isReal = shown.every(({ issuer }) => /authority of today/.test(issuer));
        return isReal && new Set(shown.map(({ fingerprint256 }) => fingerprint256)).size === 1;
      },
      { timeout: 90_000, what: 'one certificate in all workers' },
    );
  /** Writes a hook that sets the records of the authority's DNS, and returns its settings. */
  const withHook = async (folder: string): Promise<NodeJS.ProcessEnv> => {
    const hook = join(folder, 'hook');
    await writeFile(
      hook,
      `#!/bin/sh
       case $1 in present) path=set-txt ;; cleanup) path=clear-txt ;; esac
       echo "$1 $2" >> ${folder}/runs
       exec curl -fsS -d "{\\"host\\":\\"$2\\",\\"value\\":\\"$3\\"}" ${pebble.dns.management}/$path`,
      { mode: 0o700 },
    );
    return { DOCKERPROXY_ACME_DNS_HOOK: hook, DOCKERPROXY_ACME_DNS_RESOLVERS: pebble.dns.server };
  };
  const runsOf = async (folder: string): Promise<string[]> =>
    (await readFile(join(folder, 'runs'), 'utf8')).trim().split('\n');

  test('with a closed port 80, the next attempt validates at port 443, which all workers answer', async () => {
    await using proxy = await start({ DOCKERPROXY_HTTPS_PORT: `${tlsPort}`, DOCKERPROXY_WORKERS: '2' });
    assert.match((await failureOf(proxy, 'challenge-failed')).msg, /port 80/);
    process.kill(proxy.pid, 'SIGHUP');
    await issued(proxy);
  });

  for (const client of ['greenlock', 'builtin']) {
    test(`a hook and configured resolvers validate a wildcard without a public port, and leave no record: ${client}`, {
      skip: skipUnless('curl'),
    }, async () => {
      await using folder = await temporaryFolder();
      await using proxy = await start({
        DOCKERPROXY_DOMAINS: `${DOMAIN},*.${DOMAIN}`,
        DOCKERPROXY_ACME_CLIENT: client,
        ...(await withHook(folder.path)),
      });
      await issued(proxy);
      const { subjectAltName = '' } = await shownBy(proxy);
      assert.deepEqual(subjectAltName.split(', ').sort(), [`DNS:*.${DOMAIN}`, `DNS:${DOMAIN}`]);
      assert.deepEqual(
        await waitFor(async () => {
          const runs = await runsOf(folder.path);
          return runs.length === 4 && runs;
        }),
        ['present', 'present', 'cleanup', 'cleanup'].map((action) => `${action} _acme-challenge.${DOMAIN}.`),
      );
      const url = `http://127.0.0.1:${await httpPortOf(proxy)}/`;
      const { location = '' } = (await httpCall(url, { headers: { host: `x.${DOMAIN}` } })).headers;
      assert.equal(new URL(location).hostname, DOMAIN, 'links name the primary name, and no wildcard');
    });
  }

  for (const [client, challenge] of CELLS) {
    test(`a replica answers for the one that orders, and all workers serve the certificate: ${client}, ${challenge}`, {
      skip: skipUnless('redis-server', 'curl'),
    }, async () => {
      await using redis = await startRedis();
      await using folder = await temporaryFolder();
      const key = join(folder.path, 'key');
      await writeFile(key, 'k'.repeat(32));
      const env = {
        DOCKERPROXY_ACME_CLIENT: client,
        DOCKERPROXY_ACME_CHALLENGE: challenge,
        DOCKERPROXY_REDIS_URL: redis.url,
        DOCKERPROXY_REDIS_KEY_FILE: key,
        ...(challenge === 'dns-01' && (await withHook(folder.path))),
      };
      await using stack = new AsyncDisposableStack();
      const opened = Promise.withResolvers<void>();
      authority.opened = opened.promise;
      // The first one orders, because it has the lock. The authority reaches only the other one.
      const one = stack.use(await start(env));
      const other = stack.use(await start({ ...env, DOCKERPROXY_WORKERS: '2' }));
      stack.use(await forward(httpPort, await httpPortOf(other)));
      stack.use(await forward(tlsPort, Number(new URL(other.url).port)));
      opened.resolve();
      await issued(one, other);
      const orders = [one, other].map(
        (replica) => replica.logs().filter(({ msg }) => /^New certificate: /.test(msg)).length,
      );
      assert.deepEqual(orders, [1, 0]);
      for (const replica of [one, other]) assert.equal((await certificateOf(replica)).state, 'valid');
    });
  }
});
