import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, type TestOptions, test } from 'node:test';
import { type Account, deactivate } from '../support/acme-account.ts';
import type { AcmeFault, AcmeProxy } from '../support/acme-proxy.ts';
import type { DockerProxy } from '../support/dockerproxy.ts';
import { type OngoingDownload, startDownload } from '../support/download.ts';
import { httpCall } from '../support/http-request.ts';
import { image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { run, runOrThrow, spawnUntil } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { startRegistry } from '../support/registry.ts';
import { reservePort } from '../support/reserve-port.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  type AcmeBed,
  type AcmeBedOptions,
  certificateOf,
  DOMAIN,
  failureOf,
  forceRenewal,
  shownBy,
  startAcmeBed as startBed,
  untilIssued,
} from './acme-bed.ts';

const DOWNLOADS = 20;
const LAYER_BYTES = 24 * 2 ** 20;
const FIRST_BYTES = 2 ** 20;
const DAY_MS = 86_400_000;

/** An image that is too large for the network buffers, and paused downloads of it. */
async function startRegistryWithImage() {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry());
  const layer = stack.use(await randomLayer(LAYER_BYTES, 'tls'));
  await push(
    registry.url,
    'large',
    'latest',
    image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [layer] }),
  );
  const owned = stack.move();
  return {
    env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host },
    async begin(bed: AcmeBed, proxy: DockerProxy): Promise<OngoingDownload[]> {
      const { port } = new URL(proxy.url);
      const url = `https://${DOMAIN}:${port}/dl?myimage=${registry.host}/large`;
      const tls = await bed.client();
      const downloads = Array.from({ length: DOWNLOADS }, () =>
        startDownload(url, { tls, pauseAt: FIRST_BYTES }),
      );
      await waitFor(() => downloads.every((download) => download.received() >= FIRST_BYTES), {
        timeout: 30_000,
        what: 'the beginning of every download',
      });
      return downloads;
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function allAreRight(downloads: readonly OngoingDownload[]): Promise<void> {
  for (const download of downloads) download.resume();
  const done = await Promise.all(downloads.map((download) => download.done));
  assert.equal(done.length, DOWNLOADS);
  for (const { status, size, sha256, headers } of done) {
    assert.equal(status, 200);
    assert.equal(`${size}`, headers['content-length']);
    assert.equal(sha256, done[0]?.sha256);
    assert.match(headers['strict-transport-security'] ?? '', /^max-age=/);
  }
}

/** Returns the value of one of the service's metrics. */
async function metricOf(proxy: DockerProxy, name: string): Promise<number> {
  const url = proxy.logs().flatMap(({ msg }) => /^Metrics are at (\S+)$/.exec(msg)?.[1] ?? [])[0] ?? '';
  const { body } = await httpCall(url);
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(body.toString())?.[1]);
}

/** Refuses some paths as for an account without permission. */
function refuse(paths: RegExp): AcmeProxy['alter'] {
  return (answer) => {
    if (!paths.test(answer.path) || answer.body.includes(':badNonce')) return;
    answer.status = 403;
    answer.headers['content-type'] = 'application/problem+json';
    answer.body = JSON.stringify({ type: 'urn:ietf:params:acme:error:unauthorized', detail: 'No.' });
  };
}

const LIMITED = {
  ...{ status: 429, headers: { 'retry-after': '7200' } },
  problem: 'urn:ietf:params:acme:error:rateLimited',
};

const skip = skipUnless('pebble', 'openssl');

for (const client of ['greenlock', 'builtin'])
  suite(`a certificate from an ACME authority through ${client}`, {
    skip,
    concurrency: 4,
    timeout: 900_000,
  }, () => {
    const startAcmeBed = (options: AcmeBedOptions = {}) => startBed({ client, ...options });
    /** A test of what all clients share: the store, the schedule, and the listeners. */
    const once = (name: string, options: TestOptions, work: () => Promise<void>): void => {
      if (client === 'greenlock') test(name, options, work);
    };

    test('the first: HTTPS at once with a temporary one, then the real one, and nothing else left behind', async () => {
      await using bed = await startAcmeBed();
      bed.authority.fault = { status: 503 };
      await using proxy = await bed.start();
      assert.ok(proxy.logs().some(({ level, msg }) => level === 40 && /temporary self-signed/.test(msg)));
      assert.equal((await certificateOf(proxy)).state, 'temporary');
      assert.equal((await shownBy(proxy)).issuer, `CN=${DOMAIN}`);
      await failureOf(proxy, 'ca-failed');
      bed.authority.fault = undefined;
      process.kill(proxy.pid, 'SIGHUP');
      await bed.issued(proxy);

      const { stdout } = await run('openssl', [
        ...['s_client', '-connect', new URL(proxy.url).host, '-servername', DOMAIN],
        ...['-CAfile', bed.rootFile, '-verify_hostname', DOMAIN],
      ]);
      assert.match(stdout, /Verify return code: 0 \(ok\)/);
      assert.match(stdout, /Server public key is 256 bit/);
      assert.equal((await certificateOf(proxy)).lastFailure, undefined);
      assert.deepEqual(await bed.files('challenges'), []);
      const [account = '', ...others] = await bed.files('accounts');
      assert.deepEqual(others, []);
      for (const file of [account, ...(await bed.files('certificates'))]) {
        assert.equal((await stat(file)).mode & 0o777, 0o600);
      }
      const folders = await readdir(join(bed.stateDir, 'tls'));
      assert.deepEqual(folders.sort(), ['accounts', 'attempts', 'certificates', 'challenges', 'failures']);
    });

    once('a restart orders nothing, and serves the same certificate at once', {}, async () => {
      await using bed = await startAcmeBed();
      const first = await bed.startWithCertificate();
      const before = await shownBy(first);
      assert.equal(await first.stop(), 0);
      bed.authority.requests.length = 0;
      await using second = await bed.start();
      assert.equal((await certificateOf(second)).state, 'valid');
      assert.equal((await shownBy(second)).fingerprint256, before.fingerprint256);
      assert.deepEqual(bed.authority.requests, []);
      assert.equal(bed.pebble.issued(), 1);
    });

    for (const workers of [1, 2]) {
      once(
        `a forced renewal breaks none of 20 downloads, and uses the account again: workers ${workers}`,
        {
          skip: skipUnless('docker-registry'),
        },
        async () => {
          await using bed = await startAcmeBed();
          await using registry = await startRegistryWithImage();
          const env = { ...registry.env, DOCKERPROXY_WORKERS: `${workers}` };
          await using proxy = await bed.startWithCertificate(env);
          const before = await shownBy(proxy);
          const downloads = await registry.begin(bed, proxy);
          const begun = proxy.logs().filter(({ msg }) => /^Downloading image: /.test(msg));
          assert.equal(new Set(begun.map(({ pid }) => pid)).size, workers);
          await forceRenewal(bed, proxy);
          await untilIssued(
            proxy,
            async () => (await shownBy(proxy)).fingerprint256 !== before.fingerprint256,
          );
          await allAreRight(downloads);
          const after = await shownBy(proxy);
          assert.notEqual(
            after.publicKey.export({ type: 'spki', format: 'pem' }),
            before.publicKey.export({ type: 'spki', format: 'pem' }),
          );
          assert.equal(
            bed.authority.requests.filter((request) => /sign-me-up/.test(request)).length > 0,
            true,
          );
          assert.equal(bed.pebble.log().match(/There are now \d+ accounts/g)?.length, 1);
          await waitFor(async () => (await bed.files('certificates')).length === 1, {
            what: 'the saved certificate',
          });
        },
      );
    }

    once(
      'a certificate of seconds is renewed again and again, and breaks none of 20 downloads',
      {
        skip: skipUnless('docker-registry'),
      },
      async () => {
        await using bed = await startAcmeBed({ lifetime: 18 });
        await using registry = await startRegistryWithImage();
        await using proxy = await bed.startWithCertificate(registry.env);
        const downloads = await registry.begin(bed, proxy);
        const seen = new Set<string>();
        await untilIssued(proxy, async () => {
          seen.add((await shownBy(proxy)).fingerprint256);
          for (const download of downloads) download.resume(FIRST_BYTES + seen.size * 2 ** 20);
          return seen.size >= 4;
        });
        await allAreRight(downloads);
        const errors = proxy.logs().filter(({ level }) => level >= 50);
        assert.deepEqual(errors, []);
        // One in five is refused, so at least one of more than forty nonces almost certainly is.
        assert.ok(bed.authority.problems.some((type) => type.endsWith(':badNonce')));
      },
    );

    once(
      'several domains are in one certificate; after a change the old one stays until the new one is there',
      {},
      async () => {
        await using bed = await startAcmeBed();
        const first = await bed.startWithCertificate();
        const before = await shownBy(first);
        await first.stop();
        bed.authority.fault = { status: 503 };
        await using second = await bed.start({ DOCKERPROXY_DOMAINS: `${DOMAIN},www.dockerproxy.test` });
        await failureOf(second, 'ca-failed');
        assert.equal((await shownBy(second)).fingerprint256, before.fingerprint256);
        bed.authority.fault = undefined;
        process.kill(second.pid, 'SIGHUP');
        const shown = await untilIssued(second, async () => {
          const certificate = await shownBy(second);
          return certificate.fingerprint256 !== before.fingerprint256 && certificate;
        });
        assert.ok(shown.checkHost(DOMAIN) && shown.checkHost('www.dockerproxy.test'));
      },
    );

    once('one that fails, or takes no more requests, changes nothing that is in use', {}, async () => {
      await using bed = await startAcmeBed();
      await using proxy = await bed.startWithCertificate({ DOCKERPROXY_METRICS_PORT: '0' });
      assert.equal(await metricOf(proxy, 'dockerproxy_certificate_failing'), 0);
      const before = await shownBy(proxy);
      bed.authority.fault = { status: 503 };
      await forceRenewal(bed, proxy);
      assert.match(
        (await failureOf(proxy, 'ca-failed')).msg,
        /failed with status 503.*certificate in use stays; next attempt/,
      );

      bed.authority.fault = LIMITED;
      process.kill(proxy.pid, 'SIGHUP');
      assert.match(
        (await failureOf(proxy, 'ca-rate-limited')).msg,
        /takes no more requests for now\. It says "Come back later\."/,
      );
      const report = await certificateOf(proxy);
      assert.equal(report.lastFailure?.code, 'ca-rate-limited');
      assert.ok(Date.parse(report.nextAttempt) - Date.parse(report.lastFailure?.at ?? '') >= 7_200_000);
      assert.equal(report.state, 'valid');
      assert.equal((await shownBy(proxy)).fingerprint256, before.fingerprint256);
      assert.equal(await metricOf(proxy, 'dockerproxy_certificate_failing'), 1);
      const end = await metricOf(proxy, 'dockerproxy_certificate_expiry_timestamp_seconds');
      assert.equal(end, before.validToDate.getTime() / 1000);

      bed.authority.fault = undefined;
      process.kill(proxy.pid, 'SIGHUP');
      await untilIssued(proxy, async () => bed.pebble.issued() === 2);
      await bed.issued(proxy);
      assert.equal(await metricOf(proxy, 'dockerproxy_certificate_failing'), 0);
    });

    test('one that refuses every nonce is not asked without end', async () => {
      await using bed = await startAcmeBed({ refusedNonces: 100 });
      await using proxy = await bed.start();
      assert.match((await failureOf(proxy, 'ca-failed')).msg, /^127\.0\.0\.1:\d+ refuses every nonce/);
      const { requests, problems } = bed.authority;
      assert.ok(problems.length > 3 && problems.every((type) => type.endsWith(':badNonce')), `${problems}`);
      assert.ok(requests.length < 40, `${requests.length}`);
    });

    once('five attempts within an hour: a restart and SIGHUP say until when they wait', {}, async () => {
      await using bed = await startAcmeBed();
      bed.authority.fault = { status: 503 };
      {
        await using first = await bed.start();
        await failureOf(first, 'ca-failed');
      }
      const [file = ''] = await bed.files('attempts');
      const attempts = [5, 4, 3, 2, 1].map((minutes) => Date.now() - minutes * 60_000);
      await writeFile(file, JSON.stringify(attempts));
      bed.authority.requests.length = 0;

      await using proxy = await bed.start();
      const said = () => proxy.logs().filter(({ code }) => code === 'too-many-attempts');
      const next = new Date((attempts[0] ?? 0) + 3_600_000).toISOString();
      await waitFor(() => said().length === 1);
      assert.equal(said()[0]?.msg, `5 attempts in the last hour have failed; next attempt ${next}`);
      const { lastFailure, nextAttempt } = await certificateOf(proxy);
      assert.deepEqual([lastFailure?.code, nextAttempt], ['too-many-attempts', next]);
      process.kill(proxy.pid, 'SIGHUP');
      await waitFor(() => said().length === 2);
      assert.deepEqual(bed.authority.requests, []);
    });

    const mid: [string, RegExp, AcmeFault, string, RegExp][] = [
      ['an order', /order-plz/, LIMITED, 'ca-rate-limited', /takes no more requests for now/],
      ['a nonce', /nonce-plz/, { status: 503 }, 'ca-failed', /failed with status 503/],
      ['the answer to a challenge', /chalZ/, { status: 503 }, 'ca-failed', /failed with status 503/],
      ['finalization', /finalize-order/, { status: 500 }, 'ca-failed', /failed with status 500/],
      ['the certificate', /certZ/, { status: 503 }, 'ca-failed', /failed with status 503/],
    ];
    for (const [what, path, fault, code, sentence] of mid) {
      test(`one that fails where it is asked for ${what}: no challenge remains, and the next attempt succeeds`, async () => {
        await using bed = await startAcmeBed();
        bed.authority.fault = { ...fault, path };
        await using proxy = await bed.start();
        assert.match((await failureOf(proxy, code)).msg, sentence);
        assert.equal((await certificateOf(proxy)).state, 'temporary');
        assert.deepEqual(await bed.files('challenges'), []);
        bed.authority.fault = undefined;
        process.kill(proxy.pid, 'SIGHUP');
        await bed.issued(proxy);
      });
    }

    test('one that is down', async () => {
      await using bed = await startAcmeBed();
      const directory = `https://127.0.0.1:${await reservePort()}/dir`;
      await using proxy = await bed.start({ DOCKERPROXY_ACME_DIRECTORY: directory });
      assert.match(
        (await failureOf(proxy, 'ca-unreachable')).msg,
        /cannot be reached \(ECONNREFUSED\): check this machine’s DNS/,
      );
      assert.equal((await httpCall(`${proxy.url}/healthz`)).status, 200);
    });

    test('one that does not answer: HTTPS is served meanwhile, and SIGTERM does not wait for it', async () => {
      await using bed = await startAcmeBed();
      bed.authority.fault = {};
      await using proxy = await bed.start();
      await waitFor(() => bed.authority.requests.length > 0, { timeout: 60_000, what: 'the order' });
      assert.equal((await httpCall(`${proxy.url}/healthz`)).status, 200);
      assert.equal((await certificateOf(proxy)).state, 'temporary');
      // An order may take five minutes, but a process that takes 40 s is killed.
      assert.equal(await proxy.stop(), 0);
      assert.equal(proxy.stderr(), '');
    });

    test('one whose own certificate the system trusts', async () => {
      await using bed = await startAcmeBed();
      await using proxy = await bed.startWithCertificate({
        ...{ NODE_EXTRA_CA_CERTS: undefined, SSL_CERT_FILE: bed.pebble.caFile },
      });
      assert.equal((await certificateOf(proxy)).lastFailure, undefined);
    });

    test('a suggested window in the future delays the order, and one in the past causes it at once', async () => {
      // The certificates of today's stand-in have no authorityKeyIdentifier.
      await using bed = await startAcmeBed({ isOld: true });
      const { origin } = new URL(bed.authority.directory);
      const asked = new Set<string>();
      const suggestedWindow = { start: '', end: '' };
      const suggest = (start: number, end: number): void => {
        asked.clear();
        Object.assign(suggestedWindow, {
          start: new Date(start).toISOString(),
          end: new Date(end).toISOString(),
        });
      };
      bed.authority.alter = (answer) => {
        if (answer.path === '/dir') {
          answer.body = JSON.stringify({ ...JSON.parse(answer.body), renewalInfo: `${origin}/renewal-info` });
        }
        if (!answer.path.startsWith('/renewal-info/')) return;
        asked.add(answer.path);
        Object.assign(answer, { status: 200, body: JSON.stringify({ suggestedWindow }) });
      };
      const first = await bed.startWithCertificate();
      await first.stop();
      const later = Date.now() + 10 * DAY_MS;
      suggest(later, later + DAY_MS);
      {
        await using second = await bed.start();
        const isInWindow = async (): Promise<boolean> => {
          const next = Date.parse((await certificateOf(second)).nextAttempt);
          return later <= next && next <= later + DAY_MS;
        };
        await waitFor(isInWindow, { what: 'the suggested time of the next order' });
        assert.equal(bed.pebble.issued(), 1);
        assert.equal(asked.size, 1);
      }
      suggest(Date.now() - 2 * DAY_MS, Date.now() - DAY_MS);
      await using third = await bed.start();
      await untilIssued(third, async () => bed.pebble.issued() === 2);
      await bed.issued(third);
      const [id = ''] = asked;
      assert.match(id, /^\/renewal-info\/[\w-]+\.[\w-]+$/);
      const { replaces } = bed.authority.payloads('order-plz').at(-1) ?? {};
      assert.equal(replaces, client === 'builtin' ? id.replace('/renewal-info/', '') : undefined);
    });

    once('a certificate that the OCSP responder calls revoked is replaced at once', {}, async () => {
      const port = await reservePort();
      await using bed = await startAcmeBed({ isOld: true, ocspUrl: `http://127.0.0.1:${port}` });
      const first = await bed.startWithCertificate();
      const { serialNumber } = await shownBy(first);
      await first.stop();
      await using folder = await temporaryFolder();
      const [index, cert, key] = ['index', 'cert.pem', 'key.pem'].map((name) => join(folder.path, name));
      const signer = await bed.pebble.signer();
      await writeFile(cert ?? '', signer.cert);
      await writeFile(key ?? '', signer.key);
      await writeFile(index ?? '', `R\t491231235959Z\t200101000000Z\t${serialNumber}\tunknown\t/CN=x\n`);
      const responder = await spawnUntil(
        'openssl',
        [
          ...['ocsp', '-port', `${port}`, '-index', index ?? '', '-CA', cert ?? '', '-ndays', '1'],
          ...['-rsigner', cert ?? '', '-rkey', key ?? ''],
        ],
        ({ stdout, stderr }) => /waiting for OCSP client/i.test(`${stdout()}${stderr()}`),
      );
      await using stack = new AsyncDisposableStack();
      stack.defer(() => responder.stop());
      await using second = await bed.start();
      await untilIssued(second, async () => bed.pebble.issued() === 2);
      await bed.issued(second);
    });

    test('a private one, which acme_ca_file trusts', async () => {
      await using bed = await startAcmeBed();
      const { caFile } = bed.pebble;
      const env = { NODE_EXTRA_CA_CERTS: undefined, DOCKERPROXY_ACME_CA_FILE: caFile };
      await using proxy = await bed.startWithCertificate(env);
      assert.equal((await certificateOf(proxy)).lastFailure, undefined);
    });

    test('one whose own certificate is not trusted', async () => {
      await using bed = await startAcmeBed();
      await using proxy = await bed.start({ NODE_EXTRA_CA_CERTS: bed.pebble.rootFile });
      assert.match((await failureOf(proxy, 'ca-unreachable')).msg, /UNABLE_TO_|SELF_SIGNED/);
    });

    test('a challenge that it cannot reach', async () => {
      await using bed = await startAcmeBed({ httpPort: 1 });
      await using proxy = await bed.start();
      const { msg } = await failureOf(proxy, 'challenge-failed');
      assert.match(
        msg,
        /could not connect: port 80 of every address of the domain must reach this server\. It says ".*refused/i,
      );
      assert.deepEqual(await bed.files('challenges'), []);
    });

    test('an account that it has forgotten is made again with the same key', async () => {
      await using bed = await startAcmeBed();
      const first = await bed.startWithCertificate();
      await first.stop();
      const [file = ''] = await bed.files('accounts');
      const account = JSON.parse(await readFile(file, 'utf8'));
      await writeFile(file, JSON.stringify({ ...account, url: `${account.url}0` }));
      await using second = await bed.start();
      await forceRenewal(bed, second);
      await untilIssued(second, async () => bed.pebble.issued() === 2);
      assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), account);
    });

    test('a deactivated account is replaced once', async () => {
      await using bed = await startAcmeBed();
      await using proxy = await bed.startWithCertificate();
      const [file = ''] = await bed.files('accounts');
      const dead: Account = JSON.parse(await readFile(file, 'utf8'));
      await deactivate(bed.authority, dead);
      bed.authority.requests.length = 0;
      await forceRenewal(bed, proxy);
      await untilIssued(proxy, async () => bed.pebble.issued() === 2);
      await bed.issued(proxy);
      const account: Account = JSON.parse(await readFile(file, 'utf8'));
      assert.notEqual(account.key.x, dead.key.x);
      assert.notEqual(account.url, dead.url);
      assert.equal(bed.authority.requests.filter((request) => /sign-me-up/.test(request)).length > 0, true);
      assert.equal(bed.pebble.log().match(/There are now \d+ accounts/g)?.length, 2);
      assert.deepEqual(
        proxy.logs().filter(({ level }) => level >= 50),
        [],
      );
    });

    test('an account and its replacement that are refused are reported, and not tried a third time', async () => {
      await using bed = await startAcmeBed();
      bed.authority.alter = refuse(/order-plz|my-account/);
      await using proxy = await bed.start();
      const { msg } = await failureOf(proxy, 'account-refused');
      assert.match(msg, /refuses the account of this server, and also its replacement\. It says "No\."\./);
      assert.equal((await certificateOf(proxy)).lastFailure?.code, 'account-refused');
      assert.equal(bed.pebble.log().match(/There are now \d+ accounts/g)?.length, 2);
      assert.deepEqual(await bed.files('challenges'), []);
    });

    test('a refused order with another reason keeps its account', async () => {
      await using bed = await startAcmeBed();
      bed.authority.alter = refuse(/order-plz/);
      await using proxy = await bed.start();
      assert.match((await failureOf(proxy, 'ca-refused')).msg, /does not allow it to order this certificate/);
      assert.equal(bed.pebble.log().match(/There are now \d+ accounts/g)?.length, 1);
    });

    test('names of more than 64 characters, with half of the nonces refused', async () => {
      await using bed = await startAcmeBed({ refusedNonces: 50 });
      const long = `${'a-long-label'.repeat(5)}.${'another-long-label'.repeat(3)}.dockerproxy.test`;
      await using proxy = await bed.startWithCertificate({ DOCKERPROXY_DOMAINS: `${long},${DOMAIN}` });
      const shown = await shownBy(proxy);
      assert.ok(shown.checkHost(long) && shown.checkHost(DOMAIN));
      assert.equal(shown.subject, undefined);
    });

    test('an order that becomes ready late, with a Retry-After', async () => {
      await using bed = await startAcmeBed();
      const { alter } = bed.authority;
      const states = ['pending', 'ready', 'processing'];
      bed.authority.alter = (answer) => {
        alter?.(answer);
        if (!/my-order|finalize/.test(answer.path) || answer.status >= 400) return;
        const status = states.shift();
        answer.headers['retry-after'] = '2';
        if (status !== undefined) answer.body = JSON.stringify({ ...JSON.parse(answer.body), status });
      };
      await using proxy = await bed.startWithCertificate();
      assert.equal((await certificateOf(proxy)).lastFailure, undefined);
      assert.deepEqual(states, []);
      assert.equal(bed.authority.requests.filter((request) => /order-plz/.test(request)).length < 5, true);
      assert.deepEqual(
        bed.authority.problems.filter((type) => !type.endsWith(':badNonce')),
        [],
      );
    });

    test('one of 2023, whose answer to finalize has a Location and whose certificates have a common name', async () => {
      await using bed = await startAcmeBed({ isOld: true });
      await using proxy = await bed.startWithCertificate();
      assert.match((await shownBy(proxy)).subject ?? '', /^CN=/);
    });

    test('one that keeps authorizations is not asked to validate again', async () => {
      await using bed = await startAcmeBed({ keptAuthorizations: 100 });
      await using proxy = await bed.startWithCertificate();
      const validations = (): number => bed.pebble.log().match(/authz \S+ set VALID/g)?.length ?? 0;
      const before = validations();
      assert.ok(before > 0);
      await forceRenewal(bed, proxy);
      await untilIssued(proxy, async () => bed.pebble.issued() === 2);
      await bed.issued(proxy);
      assert.equal((await certificateOf(proxy)).lastFailure, undefined);
      assert.equal(validations(), before);
      assert.equal(bed.pebble.log().match(/There are now \d+ accounts/g)?.length, 1);
    });

    test('one whose directory has no meta, which it need not have', async () => {
      await using bed = await startAcmeBed();
      const { alter } = bed.authority;
      bed.authority.alter = (answer) => {
        alter?.(answer);
        if (answer.path === '/dir')
          answer.body = JSON.stringify({ ...JSON.parse(answer.body), meta: undefined });
      };
      await using proxy = await bed.startWithCertificate();
      assert.equal((await certificateOf(proxy)).lastFailure, undefined);
    });

    once('a damaged store is put aside, said, and replaced', {}, async () => {
      await using bed = await startAcmeBed();
      const first = await bed.startWithCertificate();
      const before = await shownBy(first);
      await first.stop();
      for (const kind of ['certificates', 'accounts'] as const) {
        for (const file of await bed.files(kind))
          await writeFile(file, (await readFile(file)).subarray(0, 40));
      }
      await using second = await bed.startWithCertificate();
      assert.notEqual((await shownBy(second)).fingerprint256, before.fingerprint256);
      const said = second.logs().filter(({ msg }) => /is damaged\. It was renamed/.test(msg));
      assert.equal(said.length, 2);
      for (const kind of ['certificates', 'accounts'] as const) {
        assert.ok(
          (await bed.files(kind)).some((file) => file.endsWith('.damaged')),
          kind,
        );
      }
      const [good = ''] = (await bed.files('certificates')).filter((file) => file.endsWith('.pem'));
      assert.ok(new X509Certificate(await readFile(good)).checkHost(DOMAIN));
    });

    once(
      'a full disk starts no orders, and a certificate follows when space is free again',
      {
        skip: process.getuid?.() === 0 ? false : 'a small disk is mounted, which needs root',
      },
      async () => {
        await using folder = await temporaryFolder();
        const stateDir = join(folder.path, 'state');
        await mkdir(stateDir);
        await runOrThrow('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', stateDir]);
        await using bed = await startAcmeBed({ stateDir });
        const filler = join(stateDir, 'filler');
        await writeFile(filler, Buffer.alloc(65_536)).catch(() => {});
        await using proxy = await bed.start();
        assert.match(
          (await failureOf(proxy, 'store-failed')).msg,
          /The state folder cannot be written: ENOSPC.*Free disk space/,
        );
        assert.equal(bed.pebble.log().includes('Added order'), false);
        await writeFile(filler, '');
        process.kill(proxy.pid, 'SIGHUP');
        await bed.issued(proxy);
        assert.equal((await bed.files('certificates')).length, 1);
      },
    );
  });
