import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { type Pebble, startPebble } from '../support/pebble.ts';
import { startRedis } from '../support/redis.ts';
import { reservePort } from '../support/reserve-port.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import { DOMAIN, failureOf, shownBy } from './acme-bed.ts';

/** The number of connections, large enough that each worker has some. */
const CONNECTIONS = 12;

suite('the challenges of an ACME authority', {
  skip: skipUnless('pebble', 'openssl'),
  timeout: 300_000,
}, () => {
  let pebble: Pebble;
  /** The port of all domains, to which the authority connects. */
  let tlsPort: number;
  before(async () => {
    tlsPort = await reservePort();
    pebble = await startPebble({ httpPort: await reservePort(), tlsPort });
  });
  after(async () => pebble[Symbol.asyncDispose]());

  const start = (env: NodeJS.ProcessEnv): Promise<DockerProxy> =>
    startDockerProxy({
      env: {
        DOCKERPROXY_DOMAINS: DOMAIN,
        DOCKERPROXY_ACME_EMAIL: 'ops@example.org',
        DOCKERPROXY_ACME_DIRECTORY: pebble.directory,
        NODE_EXTRA_CA_CERTS: pebble.caFile,
        ...env,
      },
    });
  /** Waits until all workers show the same certificate of the authority. */
  const issued = (proxy: DockerProxy): Promise<unknown> =>
    waitFor(
      async () => {
        const shown = await Promise.all(Array.from({ length: CONNECTIONS }, () => shownBy(proxy)));
        return shown.every(({ issuer }) => /Pebble/.test(issuer)) && shown[0];
      },
      { timeout: 60_000, what: 'a certificate in all workers' },
    );

  test('with a closed port 80, the next attempt validates at port 443, which all workers answer', async () => {
    await using proxy = await start({ DOCKERPROXY_HTTPS_PORT: `${tlsPort}`, DOCKERPROXY_WORKERS: '2' });
    assert.match((await failureOf(proxy, 'challenge-failed')).msg, /port 80/);
    process.kill(proxy.pid, 'SIGHUP');
    await issued(proxy);
  });

  test('a hook and configured resolvers validate a wildcard without a public port, and leave no record', {
    skip: skipUnless('curl'),
  }, async () => {
    await using folder = await temporaryFolder();
    const hook = join(folder.path, 'hook');
    await writeFile(
      hook,
      `#!/bin/sh
       case $1 in present) path=set-txt ;; cleanup) path=clear-txt ;; esac
       echo "$1 $2" >> ${folder.path}/runs
       exec curl -fsS -d "{\\"host\\":\\"$2\\",\\"value\\":\\"$3\\"}" ${pebble.dns.management}/$path`,
      { mode: 0o700 },
    );
    await using proxy = await start({
      DOCKERPROXY_DOMAINS: `${DOMAIN},*.${DOMAIN}`,
      DOCKERPROXY_ACME_CLIENT: 'builtin',
      DOCKERPROXY_ACME_DNS_HOOK: hook,
      DOCKERPROXY_ACME_DNS_RESOLVERS: pebble.dns.server,
    });
    await issued(proxy);
    const { subjectAltName = '' } = await shownBy(proxy);
    assert.deepEqual(subjectAltName.split(', ').sort(), [`DNS:*.${DOMAIN}`, `DNS:${DOMAIN}`]);
    const runs = (await readFile(join(folder.path, 'runs'), 'utf8')).trim().split('\n');
    assert.deepEqual(
      runs,
      ['present', 'present', 'cleanup', 'cleanup'].map((action) => `${action} _acme-challenge.${DOMAIN}.`),
    );
    const { location = '' } = await (async () => {
      const line = await waitFor(() => proxy.logs().find(({ msg }) => msg.endsWith(' redirects to HTTPS')));
      return (await httpCall(`${line.msg.split(' ')[0]}/`, { headers: { host: `x.${DOMAIN}` } })).headers;
    })();
    assert.equal(new URL(location).hostname, DOMAIN, 'links name the primary name, and no wildcard');
  });

  test('a replica answers at port 443 for the one that orders', {
    skip: skipUnless('redis-server'),
  }, async () => {
    await using redis = await startRedis();
    await using folder = await temporaryFolder();
    const key = join(folder.path, 'key');
    await writeFile(key, 'k'.repeat(32));
    const env = {
      DOCKERPROXY_ACME_CHALLENGE: 'tls-alpn-01',
      DOCKERPROXY_REDIS_URL: redis.url,
      DOCKERPROXY_REDIS_KEY_FILE: key,
    };
    await using stack = new AsyncDisposableStack();
    const replicas: DockerProxy[] = [];
    // The last one does not order, because the first has the lock. The authority reaches only the last one.
    for (let each = 0; each < 2; each += 1) {
      replicas.push(stack.use(await start(env)));
    }
    const target = Number(new URL(replicas[1]?.url ?? '').port);
    const balancer = createServer((client) => {
      const upstream = connect(target, '127.0.0.1');
      client.on('error', () => upstream.destroy()).pipe(upstream);
      upstream.on('error', () => client.destroy()).pipe(client);
    });
    stack.defer(() => void balancer.close());
    await once(balancer.listen(tlsPort, '127.0.0.1'), 'listening');
    await Promise.all(replicas.map(issued));
    const orders = replicas.map(
      (replica) => replica.logs().filter(({ msg }) => /^New certificate: /.test(msg)).length,
    );
    assert.deepEqual(orders, [1, 0]);
  });
});
