import assert from 'node:assert/strict';
import { chown, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { entryPoint } from '../support/dockerproxy.ts';
import { skipUnless } from '../support/packages.ts';
import { run } from '../support/process.ts';
import { reservePort } from '../support/reserve-port.ts';
import { waitFor } from '../support/wait-for.ts';
import { type AcmeBed, certificateOf, DOMAIN, shownBy, startAcmeBed } from './acme-bed.ts';

/** Runs `dockerproxy certificate` with the settings of a service. */
async function certificate(action: string, env: NodeJS.ProcessEnv) {
  const { code, stdout, stderr } = await run(
    process.execPath,
    [entryPoint, 'certificate', ...action.split(' ')],
    {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    },
  );
  return { code, stdout, stderr };
}

async function snapshot(bed: AcmeBed): Promise<string[]> {
  const kinds = ['certificates', 'accounts', 'attempts', 'challenges'] as const;
  const files = (await Promise.all(kinds.map((kind) => bed.files(kind)))).flat();
  return Promise.all(files.map(async (file) => `${file} ${(await readFile(file)).toString('hex')}`));
}

suite('dockerproxy certificate', { skip: skipUnless('pebble'), timeout: 300_000 }, () => {
  test('describes, tests, and renews the certificate of a running service', async () => {
    await using bed = await startAcmeBed({ refusedNonces: 0 });
    const local = {
      DOCKERPROXY_HOST: '127.0.0.1',
      DOCKERPROXY_HTTPS_PORT: `${await reservePort()}`,
    };
    const env = { ...bed.settings, ...local };
    const untouched = await certificate('test', env);
    assert.equal(
      untouched.stdout,
      `127.0.0.1:${new URL(bed.authority.directory).port} issued a certificate for ${DOMAIN}. It was discarded.\n`,
    );
    assert.deepEqual(await snapshot(bed), [], 'the test without a service wrote nothing');
    assert.match((await certificate('renew', env)).stderr, /does not respond on this machine/);
    assert.deepEqual(
      (({ code, stdout }) => [code, /Service: does not respond.*\nCertificate: none/.test(stdout)])(
        await certificate('status', env),
      ),
      [1, true],
    );

    await using proxy = await bed.startWithCertificate(local);
    const before = await shownBy(proxy);
    // The next order changes once the service knows that the authority suggests no time.
    const { code, stdout } = await waitFor(async () => {
      const status = await certificate('status', env);
      const { nextAttempt } = await certificateOf(proxy);
      return status.stdout.includes(`Service: certificate valid; next order ${nextAttempt}\n`) && status;
    });
    assert.equal(code, 0);
    assert.ok(stdout.includes(`SHA-256: ${before.fingerprint256}\n`), stdout);
    assert.match(stdout, new RegExp(`Certificate: for ${DOMAIN}, issued by CN=`));
    assert.match(stdout, /Renewal information \(ARI\): the authority offers none/);
    assert.match(stdout, /Last failure: none since the last success/);

    const files = await snapshot(bed);
    assert.equal((await certificate('test', env)).code, 0);
    assert.deepEqual(await snapshot(bed), files, 'the test with a service changed nothing');
    assert.equal((await shownBy(proxy)).fingerprint256, before.fingerprint256);

    const isRoot = process.getuid?.() === 0;
    // The service of this test runs as root, so it can still read the folder.
    if (isRoot) await chown(join(bed.stateDir, 'tls'), 1234, 1235);
    const renewed = await certificate('renew', env);
    assert.match(renewed.stdout, new RegExp(`^New certificate for ${DOMAIN}, valid until .*Z\\.\n$`));
    assert.notEqual((await shownBy(proxy)).fingerprint256, before.fingerprint256);

    const { uid, gid } = await stat(join(bed.stateDir, 'tls', 'requests'));
    if (isRoot) assert.deepEqual([uid, gid], [1234, 1235], 'root gives its files to the user of the service');

    bed.authority.fault = { status: 503 };
    const failed = await certificate('renew', env);
    assert.deepEqual([failed.code, failed.stdout], [1, '']);
    assert.match(failed.stderr, /failed with status 503\. .*\[ca-failed\]/);
    assert.match((await certificate('status', env)).stdout, /Last failure: .*Z, ca-failed: .*status 503/);
    const tried = await certificate('test', env);
    assert.deepEqual([tried.code, /\[ca-failed\]/.test(tried.stderr)], [1, true]);
  });

  test('refuses unknown actions, and renewals of certificates that no authority issues', async () => {
    assert.match(
      (await certificate('revoke', {})).stderr,
      /^Unknown action "revoke"\. Actions: status, renew, test\.\nSee dockerproxy certificate --help\.\n$/,
    );
    const selfSigned = await certificate('renew --tls self-signed', {});
    assert.deepEqual([selfSigned.code, /not from an ACME authority/.test(selfSigned.stderr)], [1, true]);
  });
});
