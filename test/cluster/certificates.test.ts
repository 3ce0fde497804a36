import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { after, before, suite, test } from 'node:test';
import { connect, type SecureVersion, type TLSSocket } from 'node:tls';
import { type Certificate, makeCertificate } from '../../bench/certificate.ts';
import { certificateOf, forceRenewal, shownBy, startAcmeBed, untilIssued } from '../e2e/acme-bed.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { skipUnless } from '../support/packages.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import { replace, workersOf } from './processes.ts';

const WORKERS = { DOCKERPROXY_WORKERS: '2' };
/** The number of connections, large enough that each worker has some. */
const CONNECTIONS = 16;

/** Returns the fingerprints of the certificates that all workers serve. */
async function allShownBy(proxy: DockerProxy): Promise<string[]> {
  const shown = await Promise.all(Array.from({ length: CONNECTIONS }, () => shownBy(proxy)));
  return [...new Set(shown.map(({ fingerprint256 }) => fingerprint256))];
}

/** Opens connections at all workers, and counts those that resume a session from another worker. */
async function resumedAt(proxy: DockerProxy, maxVersion: SecureVersion): Promise<number> {
  const open = async (session?: Buffer): Promise<TLSSocket> => {
    const { hostname: host, port } = new URL(proxy.url);
    const options = { host, port: Number(port), rejectUnauthorized: false, maxVersion };
    const socket = connect({ ...options, ...(session && { session }) });
    await once(socket, 'secureConnect');
    return socket;
  };
  const first = await open();
  // A TLS 1.3 server sends tickets after the handshake.
  const [session] = (maxVersion === 'TLSv1.2' ? [first.getSession()] : await once(first, 'session')) as [
    Buffer,
  ];
  const others = await Promise.all(Array.from({ length: CONNECTIONS }, () => open(session)));
  const resumed = others.filter((socket) => socket.isSessionReused());
  for (const socket of [first, ...others]) socket.destroy();
  return resumed.length;
}

suite('the certificate of several processes', { skip: skipUnless('openssl'), timeout: 600_000 }, () => {
  const stack = new AsyncDisposableStack();
  let files: Certificate;
  let proxy: DockerProxy;

  before(async () => {
    const folder = stack.use(await temporaryFolder());
    files = await makeCertificate(folder.path);
    const args = ['--tls-cert-file', files.certificate, '--tls-key-file', files.key];
    proxy = stack.use(await startDockerProxy({ args, env: WORKERS }));
  });
  after(() => stack.disposeAsync());

  /** Writes the key of a new certificate, and returns the certificate. */
  const newCertificate = async (): Promise<string> => {
    await using folder = await temporaryFolder();
    const made = await makeCertificate(folder.path);
    await copyFile(made.key, files.key);
    return readFile(made.certificate, 'utf8');
  };
  const untilAllShow = async (pem: string): Promise<void> => {
    const { fingerprint256 } = new X509Certificate(pem);
    await waitFor(async () => (await allShownBy(proxy)).join() === fingerprint256, {
      what: 'the new certificate in all processes',
    });
  };

  test('is read again once, and all processes serve it', async () => {
    const { fingerprint256 } = new X509Certificate(await readFile(files.certificate));
    assert.deepEqual(await allShownBy(proxy), [fingerprint256]);
    const pem = await newCertificate();
    await writeFile(files.certificate, pem);
    process.kill(proxy.pid, 'SIGHUP');
    await untilAllShow(pem);
    assert.equal(proxy.logs().filter(({ msg }) => msg.startsWith('New certificate: ')).length, 1);
  });

  test('lets each process resume sessions, also after a new certificate and a new worker', async () => {
    const assertResumed = async () => {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const)
        assert.equal(await resumedAt(proxy, version), CONNECTIONS, version);
    };
    await assertResumed();
    const pem = await newCertificate();
    await writeFile(files.certificate, pem);
    process.kill(proxy.pid, 'SIGHUP');
    await untilAllShow(pem);
    await assertResumed();
    const [worker = 0] = workersOf(proxy);
    await replace(proxy, worker, 'SIGKILL');
    await assertResumed();
  });

  test('with a half-written chain ends no process, and is served once it is complete', async () => {
    const workers = workersOf(proxy);
    const earlier = await allShownBy(proxy);
    const pem = await newCertificate();
    await writeFile(files.certificate, `${pem}${pem.slice(0, 300)}`);
    const said = () => proxy.logs().find(({ msg }) => /cannot be served with its chain: /.test(msg));
    assert.equal((await waitFor(said, { what: 'the failure' })).code, 'files-unusable');
    assert.deepEqual(await allShownBy(proxy), earlier);
    await writeFile(files.certificate, `${pem}${pem}`);
    await untilAllShow(pem);
    assert.deepEqual(workersOf(proxy), workers);
  });
});

suite('the certificate of several processes, from an authority', {
  skip: skipUnless('pebble'),
  timeout: 200_000,
}, () => {
  test('is ordered by one worker and served by all, and all report its status', async () => {
    await using bed = await startAcmeBed();
    await using proxy = await bed.start(WORKERS);
    assert.equal((await certificateOf(proxy)).state, 'temporary');
    await bed.issued(proxy);
    const issued = () => proxy.logs().filter(({ msg }) => msg.startsWith('New certificate: '));
    const [file = ''] = await bed.files('certificates');
    const { fingerprint256: first } = new X509Certificate(await readFile(file));
    await waitFor(async () => (await allShownBy(proxy)).join() === first, { what: 'the first one in all' });
    await forceRenewal(bed, proxy);
    await untilIssued(proxy, async () => issued().length === 2);
    await waitFor(async () => !(await allShownBy(proxy)).includes(first), {
      what: 'the new certificate in all processes',
    });
    const reports = await Promise.all(Array.from({ length: CONNECTIONS }, () => certificateOf(proxy)));
    assert.deepEqual([...new Set(reports.map(({ state }) => state))], ['valid']);
    assert.deepEqual([...new Set(reports.map(({ nextAttempt }) => nextAttempt))].length, 1);
    assert.equal(issued().length, 2);
    assert.equal(new Set(issued().map(({ pid }) => pid)).size, 1);
  });
});
