import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { makeCertificate } from '../../bench/certificate.ts';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { type RunResult, run } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

/**
 * TLS 1.2 cipher suites by the type of the certificate's key: those that a server must accept, and those that it must
 * refuse.
 */
const SUITES = {
  ec: {
    strong: [
      'ECDHE-ECDSA-AES128-GCM-SHA256',
      'ECDHE-ECDSA-AES256-GCM-SHA384',
      'ECDHE-ECDSA-CHACHA20-POLY1305',
    ],
    weak: ['ECDHE-ECDSA-AES128-SHA', 'ECDHE-ECDSA-AES128-SHA256', 'ECDHE-ECDSA-AES256-CCM8'],
  },
  rsa: {
    strong: ['ECDHE-RSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES256-GCM-SHA384', 'ECDHE-RSA-CHACHA20-POLY1305'],
    weak: [
      ...['ECDHE-RSA-AES128-SHA', 'ECDHE-RSA-AES128-SHA256', 'ECDHE-RSA-AES256-SHA384'],
      ...['AES128-SHA', 'AES128-SHA256', 'AES256-GCM-SHA384', 'AES128-CCM', 'CAMELLIA128-SHA'],
      ...['DHE-RSA-AES128-SHA', 'DHE-RSA-AES256-GCM-SHA384', 'DHE-RSA-CHACHA20-POLY1305'],
    ],
  },
};
const ALWAYS_WEAK = [
  'AES128-GCM-SHA256',
  'DHE-RSA-AES128-GCM-SHA256',
  'AECDH-AES128-SHA',
  'NULL',
  'aNULL',
  'PSK',
];

/** The server with a certificate from files, and openssl as its client. */
async function startWithFiles(kind: keyof typeof SUITES = 'ec') {
  const folder = await temporaryFolder();
  const { certificate, key } = await makeCertificate(folder.path, kind);
  const proxy = await startDockerProxy({ args: ['--tls-cert-file', certificate, '--tls-key-file', key] });
  const plain = (): string => {
    const line = proxy.logs().find(({ msg }) => / redirects to HTTPS$/.test(msg))?.msg ?? '';
    return line.replace(/ redirects to HTTPS$/, '');
  };
  await waitFor(plain, { what: 'the port for HTTP' });
  const openssl = (args: string[], input = ''): Promise<RunResult> =>
    run('openssl', ['s_client', '-connect', new URL(proxy.url).host, ...args], { input, timeout: 20_000 });
  return {
    proxy,
    openssl,
    files: { certificate, key },
    folder: folder.path,
    plainUrl: plain(),
    [Symbol.asyncDispose]: async () => {
      await proxy[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

suite('TLS, as openssl sees it', { skip: skipUnless('openssl'), timeout: 600_000 }, () => {
  for (const kind of ['ec', 'rsa'] as const) {
    test(`versions 1.2 and 1.3 alone, with forward secrecy and authenticated encryption: ${kind}`, async () => {
      await using server = await startWithFiles(kind);
      for (const version of ['-tls1', '-tls1_1']) {
        const { code, stderr } = await server.openssl([version, '-cipher', 'ALL:@SECLEVEL=0']);
        assert.notEqual(code, 0);
        assert.match(stderr, /alert protocol version/, version);
      }
      const { strong, weak } = SUITES[kind];
      for (const cipher of strong) {
        const { stdout } = await server.openssl(['-tls1_2', '-cipher', cipher]);
        assert.match(stdout, new RegExp(`New, TLSv1\\.2, Cipher is ${cipher}`));
      }
      for (const cipher of [...weak, ...ALWAYS_WEAK]) {
        const { code, stderr } = await server.openssl(['-tls1_2', '-cipher', `${cipher}:@SECLEVEL=0`]);
        assert.notEqual(code, 0, cipher);
        assert.match(stderr, /handshake failure|no cipher match|no ciphers available/, cipher);
      }
      assert.match((await server.openssl(['-tls1_3'])).stdout, /New, TLSv1\.3, Cipher is TLS_/);
    });
  }

  test('an elliptic-curve key, ALPN, no compression, no renegotiation', async () => {
    await using server = await startWithFiles();
    const { stdout } = await server.openssl(['-tls1_2', '-alpn', 'h2,http/1.1']);
    assert.match(stdout, /Server public key is 256 bit/);
    assert.match(stdout, /ALPN protocol: http\/1\.1/);
    assert.match(stdout, /Compression: NONE/);
    // A line with R asks openssl to renegotiate.
    const again = await server.openssl(['-tls1_2'], 'R\n');
    assert.match(again.stderr, /RENEGOTIATING[\s\S]*no renegotiation/);
  });

  for (const version of ['-tls1_2', '-tls1_3']) {
    test(`sessions are resumed: ${version}`, async () => {
      await using server = await startWithFiles();
      const session = join(server.folder, 'session');
      // A TLS 1.3 server sends tickets after the handshake, with the response.
      const request = 'GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
      const first = await server.openssl([version, '-ign_eof', '-sess_out', session], request);
      assert.match(first.stdout, /New, TLSv1/);
      const { stdout } = await server.openssl([version, '-ign_eof', '-sess_in', session], request);
      assert.match(stdout, /Reused, TLSv1/);
    });
  }
});

suite('HTTPS with a certificate from files', { skip: skipUnless('openssl'), timeout: 600_000 }, () => {
  test('HSTS is in every response', async () => {
    await using server = await startWithFiles();
    for (const path of ['/healthz', '/', '/nothing', '/dl', '/dl?myimage=evil.example/a']) {
      const { headers } = await httpCall(`${server.proxy.url}${path}`);
      assert.match(headers['strict-transport-security'] ?? '', /^max-age=\d{8}$/, path);
    }
  });

  test('HTTP redirects to the port of HTTPS', async () => {
    await using server = await startWithFiles();
    const { status, headers } = await httpCall(`${server.plainUrl}/dl?myimage=busybox`);
    assert.equal(status, 308);
    assert.equal(headers.location, `${server.proxy.url}/dl?myimage=busybox`);
    assert.equal(headers['strict-transport-security'], undefined);
  });

  test('SIGHUP reads a new certificate', async () => {
    await using server = await startWithFiles();
    await using next = await temporaryFolder();
    const made = await makeCertificate(next.path);
    await writeFile(server.files.certificate, await readFile(made.certificate));
    await writeFile(server.files.key, await readFile(made.key));
    process.kill(server.proxy.pid, 'SIGHUP');
    await waitFor(() => server.proxy.logs().some(({ msg }) => /^New certificate: /.test(msg)));
    const { stdout } = await server.openssl(['-CAfile', server.files.certificate]);
    assert.match(stdout, /Verify return code: 0 \(ok\)/);
  });

  test('a chain that is cut off is a mistake in the settings, and said in one sentence', async () => {
    await using folder = await temporaryFolder();
    const { certificate, key } = await makeCertificate(folder.path);
    const pem = await readFile(certificate, 'utf8');
    await writeFile(certificate, `${pem}${pem.slice(0, 300)}`);
    await assert.rejects(
      startDockerProxy({ args: ['--tls-cert-file', certificate, '--tls-key-file', key] }),
      /ended with 78\nDockerProxy cannot start:\n {2}The certificate in \S+ cannot be served with its chain: .*\n$/,
    );
  });

  test('readiness tells until when it is valid', async () => {
    await using server = await startWithFiles();
    const { status, body } = await httpCall(`${server.proxy.url}/readyz`);
    assert.equal(status, 200);
    const { certificate } = JSON.parse(body.toString()).checks;
    assert.equal(certificate.state, 'valid');
    assert.ok(Date.parse(certificate.notAfter) > Date.now());
  });
});

suite('HTTPS with a certificate of its own', { timeout: 600_000 }, () => {
  test('it is the same after a restart, and browsers are not bound to it', async () => {
    await using folder = await temporaryFolder();
    const start = () => startDockerProxy({ args: ['--tls', 'self-signed', '--state-dir', folder.path] });
    const fingerprints: (string | undefined)[] = [];
    // The file of a process that was killed while it wrote.
    const unfinished = join(folder.path, 'tls', 'certificates', `self-signed.pem.${randomUUID()}`);
    await mkdir(dirname(unfinished), { recursive: true });
    await writeFile(unfinished, '');
    await utimes(unfinished, 0, 0);
    for (const round of [1, 2]) {
      await using proxy = await start();
      const { status, headers } = await httpCall(`${proxy.url}/readyz`);
      assert.equal(status, 200, `${round}`);
      assert.equal(headers['strict-transport-security'], undefined);
      fingerprints.push(proxy.logs().find(({ msg }) => /SHA-256/.test(msg))?.msg);
    }
    assert.match(fingerprints[0] ?? '', /^A self-signed certificate was made, for .*127\.0\.0\.1/);
    assert.equal(fingerprints[1], undefined);
    assert.deepEqual(await readdir(join(folder.path, 'tls', 'certificates')), ['self-signed.pem']);
  });

  test('a certificate that is damaged is put aside and made again', async () => {
    await using folder = await temporaryFolder();
    const start = () => startDockerProxy({ args: ['--tls', 'self-signed', '--state-dir', folder.path] });
    await (await start())[Symbol.asyncDispose]();
    const file = join(folder.path, 'tls', 'certificates', 'self-signed.pem');
    await writeFile(file, (await readFile(file, 'utf8')).slice(0, 100));
    await using proxy = await start();
    assert.equal((await httpCall(`${proxy.url}/healthz`)).status, 200);
    assert.ok(proxy.logs().some(({ msg }) => /is damaged\. It was renamed/.test(msg)));
  });

  test('plain HTTP for other machines has to be asked for', async () => {
    await assert.rejects(
      startDockerProxy({ args: ['--host', '0.0.0.0'] }),
      /accepts other machines.*--tls off/,
    );
  });
});
