import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { basename, join } from 'node:path';
import { suite, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import {
  createGreenlockIssuer,
  type GreenlockIssuerOptions,
} from '../../../src/tls/acme/greenlock/issuer.ts';
import type { OrderStores } from '../../../src/tls/acme/greenlock/thread-stores.ts';
import { IssueError, type IssueFailure } from '../../../src/tls/acme/issuer.ts';
import { temporaryCertificate } from '../../../src/tls/self-signed-provider.ts';
import { createDiskStore } from '../../../src/tls/stores/certificate-store.ts';
import { createDiskChallenges } from '../../../src/tls/stores/challenge-store.ts';
import { startAcmeProxy } from '../../support/acme-proxy.ts';
import { skipUnless } from '../../support/packages.ts';
import { startPebble } from '../../support/pebble.ts';
import { temporaryFolder, waitFor } from '../../support/process.ts';

const DOMAIN = 'dl.example.org';
const root = join(import.meta.dirname, '../../..');

interface Setup extends Partial<Pick<GreenlockIssuerOptions, 'timeout' | 'requestTimeout'>> {
  directory?: string;
  /** The module that the thread runs in the place of greenlock's. */
  worker?: string;
}

function storesIn(folder: string): OrderStores {
  return {
    accounts: createDiskStore({ folder, onDamage: () => {} }),
    challenges: createDiskChallenges(join(folder, 'challenges')),
  };
}

/** A pebble, and orders there without a whole server. */
async function startIssuerBed(prelude = '') {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const stores = storesIn(join(folder.path, 'tls'));
  const web = stack.use(
    createHttpServer(async ({ url = '' }, response) => {
      response.end(await stores.challenges.get(basename(url)));
    }),
  );
  await once(web.listen(0, '127.0.0.1'), 'listening');
  const pebble = stack.use(await startPebble({ httpPort: (web.address() as AddressInfo).port }));
  const authority = stack.use(await startAcmeProxy(pebble));
  const script = join(folder.path, 'worker.mjs');
  const greenlock = new URL('../../../src/tls/acme/greenlock/worker.ts', import.meta.url).href;
  await writeFile(
    script,
    `import { readFileSync } from 'node:fs';
     import { createRequire } from 'node:module';
     import { setDefaultCACertificates } from 'node:tls';
     setDefaultCACertificates([readFileSync(${JSON.stringify(pebble.caFile)}, 'utf8')]);
     const require = createRequire(${JSON.stringify(greenlock)});
     ${prelude}
     await import(${JSON.stringify(greenlock)});`,
  );
  const bed = stack.move();
  return {
    authority,
    issue(options: Pick<GreenlockIssuerOptions, 'requestTimeout'> = {}) {
      const program = { stores, onOutput: () => {}, worker: pathToFileURL(script) };
      const issuer = createGreenlockIssuer({ folder: folder.path, ...program, ...options });
      const { directory } = authority;
      const order = { directory, email: 'ops@example.org', domains: [DOMAIN] };
      return issuer.issue(order, new AbortController().signal);
    },
    [Symbol.asyncDispose]: () => bed.disposeAsync(),
  };
}

/** Returns the error of an order. */
async function failureOf({ directory = 'https://127.0.0.1:1/dir', worker, ...options }: Setup) {
  await using folder = await temporaryFolder();
  const script = join(folder.path, 'worker.mjs');
  if (worker !== undefined) await writeFile(script, worker);
  const output: string[] = [];
  const issuer = createGreenlockIssuer({
    ...options,
    folder: join(folder.path, 'tls'),
    stores: storesIn(join(folder.path, 'tls')),
    onOutput: (line) => output.push(line),
    ...(worker !== undefined && { worker: pathToFileURL(script) }),
  });
  const order = { directory, email: 'ops@example.org', domains: [DOMAIN] };
  const error = await issuer.issue(order, new AbortController().signal).then(
    () => assert.fail('it was issued'),
    (error: unknown) => error,
  );
  assert.ok(error instanceof IssueError, String(error));
  return { ...error.failure, output } satisfies IssueFailure & { output: string[] };
}

suite('greenlock in its thread', { timeout: 600_000 }, () => {
  test('a thread that exits or throws ends the order alone', async () => {
    const ends: [string, RegExp][] = [
      ['process.exit(7)', /greenlock ended with exit code 7/],
      ['throw new Error("lost")', /greenlock ended with an error: lost/],
    ];
    for (const [worker, rule] of ends) {
      const { code, message } = await failureOf({ worker });
      assert.equal(code, 'worker-ended');
      assert.match(message, rule);
    }
  });

  test('its output is passed on, and does not reach our own stdout', async () => {
    const { output } = await failureOf({ worker: 'console.log("one"); console.error("two");' });
    await waitFor(() => output.length === 2, { what: 'what it printed' });
    assert.deepEqual(output.sort(), ['one', 'two']);
  });

  /** An order in whose course a challenge is set, and then something else happens. */
  async function orderWithChallenge(folder: string, then: string, stores = storesIn(folder)) {
    const worker = join(folder, 'worker.mjs');
    const call = { kind: 'call', id: '1', name: 'set', args: ['token', 'token.thumbprint'] };
    await writeFile(
      worker,
      `import { parentPort } from 'node:worker_threads';
       parentPort.on('message', () => { ${then} }).postMessage(${JSON.stringify(call)});`,
    );
    const program = { folder, stores, onOutput: () => {}, worker: pathToFileURL(worker) };
    const issued = createGreenlockIssuer({ ...program, timeout: 3000 }).issue(
      { directory: 'https://127.0.0.1:1/dir', email: 'ops@example.org', domains: [DOMAIN] },
      new AbortController().signal,
    );
    issued.catch(() => {});
    await waitFor(() => stores.challenges.get('token'), { what: 'the challenge' });
    return { issued, stores };
  }

  test('challenges of an order that took too long are removed', async () => {
    await using folder = await temporaryFolder();
    const { issued, stores } = await orderWithChallenge(folder.path, '');
    await assert.rejects(issued, /was not done in time/);
    assert.equal(await stores.challenges.get('token'), undefined);
  });

  test('a challenge that cannot be removed does not cost the certificate', async () => {
    await using folder = await temporaryFolder();
    const { cert, key, fingerprint } = temporaryCertificate([DOMAIN], Date.now());
    const issue = `parentPort.postMessage(${JSON.stringify({ kind: 'issued', cert, key })})`;
    const { accounts, challenges } = storesIn(folder.path);
    const remove = () => Promise.reject(new Error('EROFS: read-only file system'));
    const stores = { accounts, challenges: { ...challenges, remove } };
    const { issued } = await orderWithChallenge(folder.path, issue, stores);
    assert.equal((await issued).fingerprint, fingerprint);
  });

  test('it knows nothing of our environment', async () => {
    const { output } = await failureOf({ worker: 'console.log(JSON.stringify(process.env));' });
    await waitFor(() => output.length === 1, { what: 'what it printed' });
    assert.deepEqual(output, ['{}']);
  });

  test('an authority that takes connections and does not answer is given up', async () => {
    const server = createServer(() => {});
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    const failure = await failureOf({ directory: `https://127.0.0.1:${port}/dir`, timeout: 3000 });
    server.close();
    assert.equal(failure.code, 'ca-slow');
    assert.match(failure.message, /was not done in time/);
  });

  for (const [what, answer] of [
    ['answered', undefined],
    ['answered to its end', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{'],
  ] as const) {
    test(`a request that is not ${what} is given up`, async () => {
      await using server = createServer((socket) => {
        socket.on('error', () => {}).resume();
        if (answer !== undefined) socket.write(answer);
      });
      await once(server.listen(0, '127.0.0.1'), 'listening');
      const { port } = server.address() as AddressInfo;
      const failure = await failureOf({ directory: `http://127.0.0.1:${port}/dir`, requestTimeout: 300 });
      assert.equal(failure.code, 'ca-slow');
      assert.match(failure.message, /^127\.0\.0\.1:\d+ did not answer in time/);
    });
  }

  test('an authority that is slow issues its certificate, one that is too slow is given up', {
    skip: skipUnless('pebble', 'openssl'),
  }, async () => {
    await using bed = await startIssuerBed();
    bed.authority.delay = 300;
    assert.deepEqual((await bed.issue({ requestTimeout: 5000 })).names, [DOMAIN]);
    await assert.rejects(bed.issue({ requestTimeout: 200 }), /did not answer in time/);
  });

  test('a key that its own parser cannot read is as good as any', {
    skip: skipUnless('pebble', 'openssl'),
  }, async () => {
    await using bed = await startIssuerBed(`
      const keypairs = require('@root/keypairs');
      const { generate } = keypairs;
      keypairs.generate = async (options) => {
        for (;;) {
          const pair = await generate(options);
          // The uncompressed point, 04 3f …, is an octet string of 63 bytes.
          if (Buffer.from(pair.private.x, 'base64url')[0] === 0x3f) return pair;
        }
      };
    `);
    assert.deepEqual((await bed.issue()).names, [DOMAIN]);
  });

  test('an authority that is not there; and greenlock writes no file of its own', async () => {
    const before = await readdir(root);
    const { code } = await failureOf({});
    assert.equal(code, 'ca-unreachable');
    assert.deepEqual(await readdir(root), before);
  });

  test('an order that is broken off ends its thread', async () => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, 'tls'));
    const issuer = createGreenlockIssuer({
      folder: folder.path,
      stores: storesIn(folder.path),
      onOutput: () => {},
    });
    const order = { directory: 'https://127.0.0.1:1/dir', email: 'a@b.example', domains: ['a.example'] };
    const stopped = new AbortController();
    const issued = issuer.issue(order, stopped.signal);
    stopped.abort();
    await assert.rejects(issued, IssueError);
  });

  test('the versions are those that the adapter was made for', async () => {
    const versions = new Map([
      ['greenlock', '4.0.4'],
      ['@root/greenlock', '4.0.5'],
      ['@root/acme', '3.1.0'],
      ['@root/keypairs', '0.10.3'],
      ['@root/csr', '0.8.1'],
    ]);
    for (const [name, expected] of versions) {
      const { version } = JSON.parse(
        await readFile(join(root, 'node_modules', name, 'package.json'), 'utf8'),
      );
      assert.equal(
        version,
        expected,
        `${name}: look at src/tls/acme/greenlock/adapter.ts before this is raised`,
      );
    }
  });
});
