import assert from 'node:assert/strict';
import { randomBytes, X509Certificate } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import { suite, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { pathToFileURL } from 'node:url';
import { createAlpnCallback } from '../../../src/tls/acme/alpn-callback.ts';
import {
  type Challenge,
  type ChallengeResponder,
  type ChallengeType,
  createAlpnResponder,
  createHttpResponder,
  createResponder,
} from '../../../src/tls/acme/challenge.ts';
import { DnsError } from '../../../src/tls/acme/dns-error.ts';
import { createPropagationCheck } from '../../../src/tls/acme/dns-propagation.ts';
import { createDnsResponder } from '../../../src/tls/acme/dns-responder.ts';
import { type CertificateOrder, IssueError, type IssueFailure } from '../../../src/tls/acme/issuer.ts';
import { freshAccountKey } from '../../../src/tls/acme/renew-account.ts';
import {
  type AcmeClient,
  createThreadIssuer,
  type ThreadIssuerOptions,
} from '../../../src/tls/acme/thread-issuer.ts';
import type { OrderStores } from '../../../src/tls/acme/thread-stores.ts';
import { temporaryCertificate } from '../../../src/tls/self-signed-provider.ts';
import {
  type AlpnChallengeStore,
  createDiskAlpnChallenges,
} from '../../../src/tls/stores/alpn-challenge-store.ts';
import { createDiskStore } from '../../../src/tls/stores/certificate-store.ts';
import { type ChallengeStore, createDiskChallenges } from '../../../src/tls/stores/challenge-store.ts';
import { type Account, deactivate } from '../../support/acme-account.ts';
import { startAcmeProxy } from '../../support/acme-proxy.ts';
import { createCurrentAuthority } from '../../support/current-authority.ts';
import { listen } from '../../support/listen.ts';
import { skipUnless } from '../../support/packages.ts';
import { type Pebble, type PebbleOptions, startPebble } from '../../support/pebble.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { waitFor } from '../../support/wait-for.ts';

const DOMAIN = 'dl.example.org';
const root = join(import.meta.dirname, '../../..');

const CLIENTS = ['greenlock', 'builtin'] as const satisfies readonly AcmeClient[];

interface Setup extends Partial<Pick<ThreadIssuerOptions, 'timeout' | 'requestTimeout'>> {
  client: AcmeClient;
  directory?: string;
  /** The module that the thread runs instead of the client. */
  worker?: string;
}

function storesIn(folder: string): OrderStores & Answers {
  const http = createDiskChallenges(join(folder, 'challenges'));
  const alpn = createDiskAlpnChallenges(join(folder, 'alpn-challenges'));
  return {
    ...{ http, alpn },
    accounts: createDiskStore({ folder, onDamage: () => {} }),
    challenges: createResponder({
      'http-01': createHttpResponder(http),
      'tls-alpn-01': createAlpnResponder(alpn),
    }),
  };
}

/** Adds or removes TXT records in pebble's DNS, which removes all of a name at once. */
async function setRecord({ dns }: Pebble, action: string, name: string, value: string): Promise<void> {
  const path = action === 'present' ? 'set-txt' : 'clear-txt';
  const body = JSON.stringify({ host: `${name}.`, value });
  const { status } = await fetch(`${dns.management}/${path}`, { method: 'POST', body });
  assert.equal(status, 200);
}

interface Answers {
  readonly http: ChallengeStore;
  readonly alpn: AlpnChallengeStore;
}

interface IssueOptions extends Partial<Pick<ThreadIssuerOptions, 'requestTimeout'>> {
  order?: Partial<CertificateOrder>;
  /** Replaces the wait until the authority can see the answers. */
  spread?: ChallengeResponder['spread'];
}

interface BedOptions extends Partial<PebbleOptions> {
  client: AcmeClient;
  /** Code that the thread runs before the client. */
  prelude?: string;
}

/** A pebble, and orders from it without a whole server. */
async function startIssuerBed({ client, prelude = '', ...options }: BedOptions) {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const stores = storesIn(join(folder.path, 'tls'));
  const web = createHttpServer(async ({ url = '' }, response) => {
    response.end(await stores.http.get(basename(url)));
  });
  const { port: httpPort } = stack.use(await listen(web));
  const { cert, key } = temporaryCertificate([DOMAIN], Date.now());
  const ALPNCallback = createAlpnCallback(stores.alpn.find, Date.now);
  const tls = createTlsServer({ cert, key, ALPNCallback });
  const { port: tlsPort } = stack.use(await listen(tls));
  const pebble = stack.use(await startPebble({ httpPort, tlsPort, ...options }));
  /** Names and values of the TXT records that were set, and not removed since. */
  const records: string[] = [];
  const byDns = createDnsResponder({
    async hook(action, { name, value }) {
      if (action === 'present') records.push(`${name} ${value}`);
      else records.splice(records.indexOf(`${name} ${value}`), 1);
      const isLast = !records.some((record) => record.startsWith(`${name} `));
      if (action === 'present' || isLast) await setRecord(pebble, action, name, value);
    },
    find: createPropagationCheck({
      openResolver(servers = []) {
        const resolver = new Resolver();
        resolver.setServers(servers);
        return resolver;
      },
      servers: [pebble.dns.server],
    }),
    uptime: () => performance.now(),
  });
  const challenges: OrderStores['challenges'] = {
    present: (challenge) => responderFor(challenge).present(challenge),
    spread: async ([first, ...rest]) => first && responderFor(first).spread([first, ...rest]),
    cleanup: (challenge) => responderFor(challenge).cleanup(challenge),
  };
  const responderFor = ({ type }: Challenge) => (type === 'dns-01' ? byDns : stores.challenges);
  const authority = stack.use(await startAcmeProxy(pebble));
  const script = join(folder.path, 'worker.mjs');
  const module = new URL(`../../../src/tls/acme/${client}/worker.ts`, import.meta.url).href;
  await writeFile(
    script,
    `import { readFileSync } from 'node:fs';
     import { createRequire } from 'node:module';
     import { setDefaultCACertificates } from 'node:tls';
     setDefaultCACertificates([readFileSync(${JSON.stringify(pebble.caFile)}, 'utf8')]);
     const require = createRequire(${JSON.stringify(module)});
     ${prelude}
     await import(${JSON.stringify(module)});`,
  );
  const bed = stack.move();
  return {
    authority,
    pebble,
    accounts: stores.accounts,
    records,
    challengeFolder: join(folder.path, 'tls', 'challenges'),
    alpnFolder: join(folder.path, 'tls', 'alpn-challenges'),
    issue({ order, spread = challenges.spread, ...options }: IssueOptions = {}) {
      const program = { client, onOutput: () => {}, worker: pathToFileURL(script) };
      const parts = { ...program, stores: { ...stores, challenges: { ...challenges, spread } } };
      const issuer = createThreadIssuer({ folder: folder.path, ...parts, ...options });
      const usual = { directory: authority.directory, email: 'ops@example.org', domains: [DOMAIN] };
      return issuer.issue({ ...usual, ...order }, new AbortController().signal);
    },
    [Symbol.asyncDispose]: () => bed.disposeAsync(),
  };
}

/** Returns the error of an order. */
async function failureOf({ client, directory = 'https://127.0.0.1:1/dir', worker, ...options }: Setup) {
  await using folder = await temporaryFolder();
  const script = join(folder.path, 'worker.mjs');
  if (worker !== undefined) await writeFile(script, worker);
  const output: string[] = [];
  const issuer = createThreadIssuer({
    client,
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

for (const client of CLIENTS)
  suite(`${client} in its thread`, { concurrency: 2, timeout: 600_000 }, () => {
    test('a thread that exits or throws ends the order alone', async () => {
      const ends: [string, RegExp][] = [
        ['process.exit(7)', /The ACME client \w+ ended with exit code 7/],
        ['throw new Error("lost")', /The ACME client \w+ ended with an error: lost/],
      ];
      for (const [worker, rule] of ends) {
        const { code, message } = await failureOf({ client, worker });
        assert.equal(code, 'worker-ended');
        assert.match(message, rule);
      }
    });

    test('its output is passed on, and does not reach our own stdout', async () => {
      const { output } = await failureOf({ client, worker: 'console.log("one"); console.error("two");' });
      await waitFor(() => output.length === 2, { what: 'what it printed' });
      assert.deepEqual(output.sort(), ['one', 'two']);
    });

    /** An order that sets a challenge, and then calls a function. */
    async function orderWithChallenge(folder: string, then: string, stores = storesIn(folder)) {
      const worker = join(folder, 'worker.mjs');
      const challenge = { type: 'http-01', name: DOMAIN, token: 'token', keyAuthorization: 'token.print' };
      const call = { kind: 'call', id: '1', name: 'present', args: [challenge] };
      await writeFile(
        worker,
        `import { parentPort } from 'node:worker_threads';
       parentPort.on('message', () => { ${then} }).postMessage(${JSON.stringify(call)});`,
      );
      const program = { client, folder, stores, onOutput: () => {}, worker: pathToFileURL(worker) };
      const issued = createThreadIssuer({ ...program, timeout: 3000 }).issue(
        { directory: 'https://127.0.0.1:1/dir', email: 'ops@example.org', domains: [DOMAIN] },
        new AbortController().signal,
      );
      issued.catch(() => {});
      await waitFor(() => storesIn(folder).http.get('token'), { what: 'the challenge' });
      return { issued, stores };
    }

    test('a challenge for a name that the order lacks is refused, so that no DNS hook sees it', async () => {
      const pose = (name: string) => {
        const challenge = { type: 'http-01', name, token: 'token', keyAuthorization: 'token.print' };
        const call = { kind: 'call', id: '1', name: 'present', args: [challenge] };
        const worker = `import { parentPort } from 'node:worker_threads';
          parentPort.on('message', ({ error }) => { throw new Error(error?.message ?? 'presented'); })
            .postMessage(${JSON.stringify(call)});`;
        return failureOf({ client, worker });
      };
      for (const name of ['other.example.org', `${DOMAIN}.\nupdate add www.example.org. 60 A 192.0.2.1`, ''])
        assert.match((await pose(name)).message, /is not for a name of the order/);
      assert.match((await pose(DOMAIN.toUpperCase())).message, /presented/);
    });

    test('challenges of an order that took too long are removed', async () => {
      await using folder = await temporaryFolder();
      const { issued, stores } = await orderWithChallenge(folder.path, '');
      await assert.rejects(issued, /was not done in time/);
      assert.equal(await stores.http.get('token'), undefined);
    });

    test('a challenge that cannot be removed does not cost the certificate', async () => {
      await using folder = await temporaryFolder();
      const { cert, key, fingerprint } = temporaryCertificate([DOMAIN], Date.now());
      const issue = `parentPort.postMessage(${JSON.stringify({ kind: 'issued', cert, key })})`;
      const own = storesIn(folder.path);
      const cleanup = () => Promise.reject(new Error('EROFS: read-only file system'));
      const stores = { ...own, challenges: { ...own.challenges, cleanup } };
      const { issued } = await orderWithChallenge(folder.path, issue, stores);
      assert.equal((await issued).fingerprint, fingerprint);
    });

    test('it knows nothing of our environment', async () => {
      const { output } = await failureOf({ client, worker: 'console.log(JSON.stringify(process.env));' });
      await waitFor(() => output.length === 1, { what: 'what it printed' });
      assert.deepEqual(output, ['{}']);
    });

    test('an authority that takes connections and does not answer is given up', async () => {
      await using server = await listen(createServer(() => {}));
      const failure = await failureOf({ client, directory: `https://${server.host}/dir`, timeout: 3000 });
      assert.equal(failure.code, 'ca-slow');
      assert.match(failure.message, /was not done in time/);
    });

    for (const [what, answer] of [
      ['answered', undefined],
      ['answered to its end', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{'],
    ] as const) {
      test(`a request that is not ${what} is given up`, async () => {
        const silent = createServer((socket) => {
          socket.on('error', () => {}).resume();
          if (answer !== undefined) socket.write(answer);
        });
        await using server = await listen(silent);
        const directory = `http://${server.host}/dir`;
        const failure = await failureOf({ client, directory, requestTimeout: 300 });
        assert.equal(failure.code, 'ca-slow');
        assert.match(failure.message, /^127\.0\.0\.1:\d+ did not answer in time/);
      });
    }

    test('an authority that is slow issues its certificate, one that is too slow is given up', {
      skip: skipUnless('pebble'),
    }, async () => {
      await using bed = await startIssuerBed({ client });
      bed.authority.delay = 300;
      assert.deepEqual((await bed.issue({ requestTimeout: 5000 })).names, [DOMAIN]);
      await assert.rejects(bed.issue({ requestTimeout: 200 }), /did not answer in time/);
    });

    test('replaces an account whose key another client has changed', {
      skip: skipUnless('pebble'),
    }, async () => {
      await using bed = await startIssuerBed({ client });
      await bed.issue();
      const { directory } = bed.authority;
      const before = await bed.accounts.account(directory);
      assert.ok(before?.url !== undefined);
      await bed.accounts.putAccount(directory, { key: freshAccountKey(), url: before.url });
      assert.deepEqual((await bed.issue()).names, [DOMAIN]);
      assert.notEqual((await bed.accounts.account(directory))?.url, before.url);
    });

    test('keeps its account if the authority refuses every request, also the one for a replacement', {
      skip: skipUnless('pebble'),
    }, async () => {
      await using bed = await startIssuerBed({ client });
      await bed.issue();
      const { directory } = bed.authority;
      const before = await bed.accounts.account(directory);
      const problem = 'urn:ietf:params:acme:error:malformed';
      bed.authority.fault = { path: /order-plz|my-account|sign-me-up/, status: 400, problem };
      await assert.rejects(bed.issue(), /refuses the account of this server, and also its replacement/);
      assert.deepEqual(await bed.accounts.account(directory), before);
      bed.authority.fault = undefined;
      assert.deepEqual((await bed.issue()).names, [DOMAIN]);
      assert.deepEqual(await bed.accounts.account(directory), before);
    });

    test('orders for 100 names whose validation is slow', {
      skip: skipUnless('pebble'),
    }, async () => {
      await using bed = await startIssuerBed({ client, validationSeconds: 5 });
      const domains = Array.from({ length: 100 }, (_, index) => `n${index}.example.org`);
      assert.equal((await bed.issue({ order: { domains } })).names.length, 100);
      assert.deepEqual(await readdir(bed.challengeFolder).catch(() => []), []);
    });

    test('waits until the date of Retry-After, and explains an order that becomes invalid', {
      skip: skipUnless('pebble'),
    }, async () => {
      await using bed = await startIssuerBed({ client, refusedNonces: 0 });
      let state: object | undefined = { status: 'processing' };
      bed.authority.alter = (answer) => {
        if (!/my-order|finalize/.test(answer.path) || state === undefined) return;
        answer.headers['retry-after'] = new Date(Date.now() + 2000).toUTCString();
        answer.body = JSON.stringify({ ...JSON.parse(answer.body), ...state });
        if ('error' in state) return;
        state = undefined;
      };
      assert.deepEqual((await bed.issue()).names, [DOMAIN]);
      const caa = { type: 'urn:ietf:params:acme:error:caa', detail: 'Another CA.', status: 403 };
      state = { status: 'invalid', error: caa };
      await assert.rejects(bed.issue(), /a CAA record of the domain allows other authorities only/);
    });

    test('DNS-01 validates a wildcard beside its domain, leaves no record, and fails if a record does not spread', {
      skip: skipUnless('pebble'),
    }, async () => {
      await using bed = await startIssuerBed({ client, httpPort: 1 });
      const domains = [DOMAIN, `*.${DOMAIN}`];
      const { names } = await bed.issue({ order: { domains, challenge: 'dns-01' } });
      assert.deepEqual([...names].sort(), [...domains].sort());
      assert.deepEqual(bed.records, []);
      const spread = () => Promise.reject(new DnsError('The TXT record is not visible.'));
      await assert.rejects(bed.issue({ order: { challenge: 'dns-01' }, spread }), (error: IssueError) => {
        assert.deepEqual(
          [error.failure.code, error.failure.message],
          ['dns-failed', 'The TXT record is not visible.'],
        );
        return true;
      });
      assert.deepEqual(bed.records, []);
    });

    test('an authority that is not there; and greenlock writes no file of its own', async () => {
      const before = await readdir(root);
      const { code } = await failureOf({ client });
      assert.equal(code, 'ca-unreachable');
      assert.deepEqual(await readdir(root), before);
    });

    test('an order that is broken off ends its thread', async () => {
      await using folder = await temporaryFolder();
      await mkdir(join(folder.path, 'tls'));
      const issuer = createThreadIssuer({
        client,
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
  });

/** Each ACME client with each type of challenge that it answers. */
const CELLS = [
  ['greenlock', 'http-01'],
  ['greenlock', 'dns-01'],
  ['builtin', 'http-01'],
  ['builtin', 'tls-alpn-01'],
  ['builtin', 'dns-01'],
] as const satisfies [AcmeClient, ChallengeType][];

suite('an authority that behaves as current ones do', {
  skip: skipUnless('pebble'),
  concurrency: 2,
  timeout: 600_000,
}, () => {
  for (const [client, challenge] of CELLS) {
    test(`issues to ${client} by ${challenge}, and its refusals are explained`, async () => {
      const isBuiltin = client === 'builtin';
      const key = randomBytes(32).toString('base64url');
      await using bed = await startIssuerBed({
        client,
        refusedNonces: 50,
        validationSeconds: 2,
        alternateRoots: 1,
        ...(isBuiltin && { externalKeys: { 'kid-1': key } }),
      });
      const { authority, accounts, pebble } = bed;
      const order: Partial<CertificateOrder> = {
        challenge,
        domains: [DOMAIN, `www.${DOMAIN}`],
        ...(isBuiltin && { externalAccount: { kid: 'kid-1', key }, profile: 'shortlived' }),
      };
      const today = createCurrentAuthority();
      const states: object[] = [];
      authority.alter = (answer) => {
        today.alter(answer);
        if (!/my-order|finalize/.test(answer.path) || answer.status >= 400) return;
        const state = states.shift();
        if (state === undefined) return;
        answer.headers['retry-after'] = new Date(Date.now() + 1000).toUTCString();
        answer.body = JSON.stringify({ ...JSON.parse(answer.body), ...state });
      };

      states.push({ status: 'processing' });
      const issued = await bed.issue({ order });
      assert.equal(issued.names.length, 2);
      assert.equal(new X509Certificate(issued.cert).subject, undefined);
      assert.equal(states.length, 0);
      assert.ok(authority.problems.some((type) => type.endsWith(':badNonce')));

      const failure = async (): Promise<IssueFailure> => {
        const error: unknown = await bed.issue({ order }).catch((reason: unknown) => reason);
        assert.ok(error instanceof IssueError, String(error));
        return error.failure;
      };
      const limited = 'urn:ietf:params:acme:error:rateLimited';
      const fault = { status: 429, problem: limited, headers: { 'retry-after': '7200' } };
      authority.fault = { path: /order-plz/, ...fault };
      const { code, retryAfter } = await failure();
      assert.deepEqual([code, retryAfter], ['ca-rate-limited', 7_200_000]);
      authority.fault = undefined;

      const caa = { type: 'urn:ietf:params:acme:error:caa', detail: 'Another CA.', status: 403 };
      states.push({ status: 'invalid', error: caa });
      assert.match((await failure()).message, /a CAA record of the domain allows other authorities only/);

      const dead = await accounts.account(authority.directory);
      await deactivate(authority, dead as Account);
      authority.alter = undefined;
      const root = new X509Certificate(await pebble.root(1));
      const preferredChain = isBuiltin ? root.subject.replace(/^CN=/, '') : undefined;
      const { cert } = await bed.issue({ order: { ...order, preferredChain } });
      const [top = ''] = cert.split(/(?=-----BEGIN)/).slice(-1);
      assert.equal(new X509Certificate(top).checkIssued(root), isBuiltin);
      assert.notEqual((await accounts.account(authority.directory))?.url, dead?.url);

      assert.deepEqual(bed.records, []);
      for (const folder of [bed.challengeFolder, bed.alpnFolder])
        assert.deepEqual(await readdir(folder).catch(() => []), []);
    });
  }
});

suite('greenlock alone', () => {
  test('a key that its own parser cannot read is as good as any', {
    skip: skipUnless('pebble'),
  }, async () => {
    await using bed = await startIssuerBed({
      client: 'greenlock',
      prelude: `
      const keypairs = require('@root/keypairs');
      const { generate } = keypairs;
      keypairs.generate = async (options) => {
        for (;;) {
          const pair = await generate(options);
          // The uncompressed point, 04 3f …, is an octet string of 63 bytes.
          if (Buffer.from(pair.private.x, 'base64url')[0] === 0x3f) return pair;
        }
      };
    `,
    });
    assert.deepEqual((await bed.issue()).names, [DOMAIN]);
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

suite('the built-in ACME client alone', { skip: skipUnless('pebble') }, () => {
  const client = 'builtin';

  test('requests a profile, and names the certificate that it replaces', async () => {
    await using bed = await startIssuerBed({ client });
    await bed.issue({ order: { profile: 'tlsserver', replaces: 'aki.serial' } });
    const [order] = bed.authority.payloads('order-plz');
    assert.deepEqual(order, {
      identifiers: [{ type: 'dns', value: DOMAIN }],
      profile: 'tlsserver',
      replaces: 'aki.serial',
    });
  });

  test('orders without replaces where the authority refuses that', async () => {
    await using bed = await startIssuerBed({ client, refusedNonces: 0 });
    let isRefused = false;
    bed.authority.alter = (answer) => {
      if (answer.path !== '/order-plz' || isRefused) return;
      isRefused = true;
      answer.status = 409;
      answer.headers['content-type'] = 'application/problem+json';
      answer.body = JSON.stringify({ type: 'urn:ietf:params:acme:error:alreadyReplaced', detail: 'No.' });
    };
    await bed.issue({ order: { replaces: 'aki.serial' } });
    const orders = bed.authority.payloads('order-plz').map(({ replaces }) => replaces);
    assert.deepEqual(orders, ['aki.serial', undefined]);
  });

  test('orders a certificate for an IP address and a name', async () => {
    await using bed = await startIssuerBed({ client });
    const { names } = await bed.issue({ order: { domains: ['127.0.0.1', DOMAIN] } });
    assert.deepEqual([...names].sort(), ['127.0.0.1', DOMAIN]);
  });

  test('binds its account to an external one, whose key is required', async () => {
    const key = randomBytes(32).toString('base64url');
    await using bed = await startIssuerBed({ client, externalKeys: { 'kid-1': key } });
    await assert.rejects(bed.issue(), /external account binding: set --acme-eab-kid/);
    const wrong = { kid: 'kid-1', key: randomBytes(32).toString('base64url') };
    await assert.rejects(bed.issue({ order: { externalAccount: wrong } }), IssueError);
    const issued = await bed.issue({ order: { externalAccount: { kid: 'kid-1', key } } });
    assert.deepEqual(issued.names, [DOMAIN]);
  });

  test('selects the chain of the preferred issuer, or the default one', async () => {
    await using bed = await startIssuerBed({ client, alternateRoots: 2 });
    const rootOf = (cert: string): string | undefined =>
      cert
        .match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)
        ?.map((pem) => new X509Certificate(pem).issuer.replace(/^CN=/, ''))
        .at(-1);
    const usual = rootOf((await bed.issue()).cert);
    const roots = await Promise.all([0, 1, 2].map((index) => bed.pebble.root(index)));
    const names = roots.map((pem) => new X509Certificate(pem).subject.replace(/^CN=/, ''));
    assert.equal(new Set(names).size, 3);
    for (const preferredChain of names) {
      assert.equal(rootOf((await bed.issue({ order: { preferredChain } })).cert), preferredChain);
    }
    assert.equal(rootOf((await bed.issue({ order: { preferredChain: 'No Such CA' } })).cert), usual);
  });

  test('answers TLS-ALPN-01 for names and IP addresses', async () => {
    await using bed = await startIssuerBed({ client, httpPort: 1 });
    const domains = [DOMAIN, '127.0.0.1'];
    const { names } = await bed.issue({ order: { domains, challenge: 'tls-alpn-01' } });
    assert.equal(names.length, 2);
    assert.deepEqual(await readdir(bed.alpnFolder), []);
  });

  test('names port 443 if TLS-ALPN-01 fails', async () => {
    await using bed = await startIssuerBed({ client, tlsPort: 1 });
    await assert.rejects(
      bed.issue({ order: { challenge: 'tls-alpn-01' } }),
      /could not validate the domain: .*port 443/,
    );
    assert.deepEqual(await readdir(bed.alpnFolder), []);
  });
});
