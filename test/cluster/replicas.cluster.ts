import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { inspect } from 'node:util';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Download, download, startDownload } from '../support/download.ts';
import type { ProxiedRequest } from '../support/fault-proxy.ts';
import { skipUnless } from '../support/packages.ts';
import { run } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  ask,
  NAMES,
  type Replicas,
  type ReplicasBed,
  startReplicasBed,
  tally,
  WORKERS,
} from './replicas-bed.ts';

const parts = ['docker-registry', 'redis-server', 'haproxy', 'openssl', 'wget'] as const;

suite('three replicas of two workers', { skip: skipUnless(...parts), timeout: 600_000 }, () => {
  let bed: ReplicasBed;
  before(async () => {
    bed = await startReplicasBed();
  });
  after(() => bed[Symbol.asyncDispose]());

  const counted = async (name: string): Promise<number> =>
    Number(await bed.redis.cli('hget', `dockerproxy:{limits}:counter:${name}`, 'value'));
  const told = ({ all }: Replicas, line: string): number =>
    all.flatMap((replica) => replica.logs()).filter(({ msg }) => msg.startsWith(line)).length;
  const isRight = ({ status, sha256 }: { status: number; sha256: string }, at: number): void =>
    assert.deepEqual([status, sha256], [200, bed.images[at]?.sha256]);
  const urlOf = ({ url }: DockerProxy, at: number): string => `${url}${bed.images[at]?.path}`;

  test('requests of each client to all replicas are counted exactly', async () => {
    await using replicas = await bed.start({ DOCKERPROXY_RATE_LIMIT: '30/hour' });
    for (const client of ['127.0.0.11', '127.0.0.12']) {
      const paths = Array.from({ length: 90 }, (_, at) => `/dl?number=${at}`);
      const answers = await Promise.all(paths.map((path) => ask(replicas, path, { client })));
      assert.deepEqual(tally(answers.map(({ status }) => status)), { 400: 30, 429: 60 });
      assert.deepEqual(new Set(answers.map(({ server }) => server)), new Set(NAMES), 'all have answered');
    }
  });

  test('simultaneous downloads from all replicas are counted together, and two of one image count once', async () => {
    await using replicas = await bed.start({ DOCKERPROXY_DOWNLOADS_PER_IP: '5' });
    const { front, all } = replicas;
    const downloads = bed.images
      .slice(0, 10)
      .map(({ path }) => startDownload(`${front.url}${path}`, { pauseAt: 1, tls: { ca: front.ca } }));
    const limits = async () => JSON.parse((await ask(replicas, '/api/v1/limits')).body.toString());
    await waitFor(() => downloads.every((one) => one.received() > 0), {
      what: 'all answers',
      timeout: 30_000,
    });
    assert.equal((await limits()).downloads.active, 5);
    for (const one of downloads) one.resume();
    const ended = await Promise.all(downloads.map(({ done }) => done));
    const { 200: granted, ...refused } = tally(ended.map(({ status }) => status));
    assert.equal(granted, 5);
    // On a busy machine, the service can be overloaded.
    assert.ok(
      Object.keys(refused).every((status) => status === '429' || status === '503'),
      inspect(refused),
    );
    await waitFor(async () => (await limits()).downloads.active === 0, {
      what: 'the release of all downloads',
    });

    // Two connections to two replicas for the same image, like those of aria2c with a metalink.
    const same = all.map((replica) =>
      startDownload(urlOf(replica, 0), { pauseAt: 1, headers: { 'x-forwarded-for': '127.0.0.1' } }),
    );
    await waitFor(() => same.every((one) => one.received() > 0));
    assert.equal((await limits()).downloads.active, 1);
    for (const one of same) one.resume();
    for (const one of same) isRight(await one.done, 0);
  });

  test('daemons pull through HAProxy while a replica is killed', { skip: skipUnless('skopeo') }, async () => {
    const name = `lab=${bed.origin.host}`;
    await using replicas = await bed.start({ DOCKERPROXY_REGISTRY_NAMES: name });
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'ca.crt'), replicas.front.ca);
    const { host } = new URL(replicas.front.url);
    const pulls = Array.from({ length: 6 }, (_, at) =>
      run('skopeo', [
        ...['copy', '--retry-times', '5', '--src-cert-dir', folder.path],
        ...[`docker://${host}/lab/team/app:v${at}`, `dir:${join(folder.path, `${at}`)}`],
      ]),
    );
    const [victim] = replicas.all;
    assert.ok(victim);
    await waitFor(() => victim.logs().some(({ kind }) => kind === 'pull'), { what: 'a pull' });
    await replicas.kill(victim);
    for (const [at, { code, stderr }] of (await Promise.all(pulls)).entries())
      assert.equal(code, 0, `v${at}: ${stderr}`);
    assert.equal((await ask(replicas, '/v2/')).status, 200);
  });

  test('the bytes of a day are counted over all of them', async () => {
    const [first] = bed.images;
    assert.ok(first);
    await using replicas = await bed.start({ DOCKERPROXY_DAILY_BYTES: `${3 * first.size}` });
    const client = { headers: { 'x-forwarded-for': '127.0.0.21' } };
    for (const [at, replica] of replicas.all.entries())
      isRight(await download(urlOf(replica, at), client), at);
    await waitFor(async () => (await counted('bytes 127.0.0.21')) === 3 * first.size);
    for (const replica of replicas.all) {
      assert.equal((await download(urlOf(replica, 5), client)).status, 429);
    }
  });

  test('an image costs the registry one fetch by the mirror, its manifest one GET, and its tag nothing more', async () => {
    // Longer than a busy machine takes for all downloads.
    await using replicas = await bed.start({ DOCKERPROXY_TAG_TTL: '1h' });
    const at = 11;
    const gone = new Set(sent(bed, at));
    bed.mirror.requests.length = 0;
    const path = bed.images[at]?.path ?? '';
    const { front, all } = replicas;
    const clients = Array.from({ length: 40 }, () =>
      download(`${front.url}${path}`, { tls: { ca: front.ca } }),
    );
    for (const one of await Promise.all(clients)) isRight(one, at);
    const layer = bed.images[at]?.layers[1] ?? '';
    await waitFor(() => isKeptBy(bed, layer), { what: 'the mirror to keep the layer' });
    for (const replica of all) isRight(await download(urlOf(replica, at)), at);

    const ofLayer = (requests: readonly ProxiedRequest[]): number =>
      requests.filter(({ method, path: of }) => method === 'GET' && of.includes(layer)).length;
    assert.equal(ofLayer(bed.mirror.requests), 3, 'each replica has asked the mirror once');
    const asked = sent(bed, at).filter((request) => !gone.has(request));
    // Distribution 2.8 fetches a missing blob twice: once to send it, and once to store it.
    assert.equal(ofLayer(asked), 2, 'the mirror has asked the registry for one of them');
    const tags = bed.mirror.requests.filter(({ path: of }) => of.includes(`/manifests/v${at}`));
    assert.deepEqual(
      tally(tags.map(({ method }) => method)),
      { GET: 1 },
      'who asks for the tag asks for all',
    );
    const manifests = bed.mirror.requests.filter(
      ({ method, path: of }) => method === 'GET' && of.includes('/manifests/'),
    );
    assert.equal(manifests.length, 1, 'no replica asks for a manifest that another one has');
  });

  test('one that is killed costs its own connections alone, and wget -c finishes them elsewhere', async () => {
    await using replicas = await bed.start();
    await using folder = await temporaryFolder();
    const { front } = replicas;
    const servers = await Promise.all(
      bed.images.map(async ({ path }) => (await ask(replicas, path, { method: 'HEAD' })).server),
    );
    const [victim = ''] = Object.entries(tally(servers)).sort(([, a], [, b]) => b - a)[0] ?? [];
    assert.ok(new Set(servers).size > 1, `all images are with ${victim}`);
    const wget = (at: number, ...args: string[]) =>
      run(
        'wget',
        [
          ...['-q', '--tries=1', `--ca-certificate=${front.caFile}`, '-O', fileOf(at), ...args],
          `${front.url}${bed.images[at]?.path}`,
        ],
        { timeout: 120_000 },
      );
    const fileOf = (at: number): string => join(folder.path, `${at}.tar`);
    const begun = bed.images.map((_, at) => wget(at, '--limit-rate=2m'));
    await waitFor(
      async () => (await sizes(bed.images.map((_, at) => fileOf(at)))).every((size) => size > 500_000),
      {
        what: 'all downloads to be under way',
        timeout: 30_000,
      },
    );
    await replicas.kill(replicas.named(victim));
    const codes = (await Promise.all(begun)).map(({ code }) => code);
    for (const [at, server] of servers.entries()) {
      assert.equal(codes[at] === 0, server !== victim, `${server} has ended with ${codes[at]}`);
    }
    for (const [at, code] of codes.entries()) {
      if (code === 0) continue;
      const { size = 0 } = bed.images[at] ?? {};
      assert.ok(
        (await sizes([fileOf(at)])).every((one) => one > 0 && one < size),
        'it is broken off',
      );
      assert.equal((await wget(at, '-c')).code, 0);
    }
    for (const [at, { sha256 }] of bed.images.entries()) {
      assert.equal(
        createHash('sha256')
          .update(await readFile(fileOf(at)))
          .digest('hex'),
        sha256,
      );
    }
    const { server } = await ask(replicas, bed.images[0]?.path ?? '', { method: 'HEAD' });
    assert.notEqual(server, victim);
  });

  test('without Redis they go on, each with limits of its own, loudly; with it, all is counted again', async () => {
    await using replicas = await bed.start({
      DOCKERPROXY_RATE_LIMIT: '30/hour',
      DOCKERPROXY_DOWNLOADS_PER_IP: '2',
    });
    const { all } = replicas;
    const client = { headers: { 'x-forwarded-for': '127.0.0.31' } };
    const askAll = async (times: number): Promise<number[]> => {
      const urls = all.flatMap(({ url }) => Array.from({ length: times }, () => `${url}/dl`));
      return Promise.all(urls.map(async (url) => (await download(url, client)).status));
    };
    assert.deepEqual(tally(await askAll(4)), { 400: 12 });
    const [one, two, three] = all as [DockerProxy, DockerProxy, DockerProxy];
    const lasting = startDownload(urlOf(one, 1), { ...client, pauseAt: 1 });
    await waitFor(() => lasting.received() > 0);
    assert.equal(await counted('requests 127.0.0.31'), 13);

    await bed.redis.stop();
    assert.deepEqual(tally(await askAll(3)), { 400: 9 }, 'nobody waits for it');
    const another = startDownload(urlOf(two, 2), { ...client, pauseAt: 1 });
    await waitFor(() => another.received() > 0);
    isRight(await download(urlOf(three, 3), client), 3);
    await waitFor(() => told(replicas, 'Cannot count limits in Redis') >= 3);
    for (const replica of all)
      assert.ok(replica.logs().some(({ level, msg }) => level >= 50 || msg.startsWith('Redis at')));
    const ready = await download(`${one.url}/readyz`);
    assert.equal(ready.status, 200);

    await bed.redis.start();
    const away = told(replicas, 'Cannot count limits in Redis');
    await waitFor(() => told(replicas, 'Counting limits in Redis again') >= away, {
      what: 'all to count in Redis again',
      timeout: 20_000,
    });
    // 13 requests before, and 9 + 2 during the outage.
    await waitFor(async () => (await counted('requests 127.0.0.31')) === 24, {
      what: 'what was counted meanwhile',
    });
    assert.equal(
      (await download(urlOf(three, 4), client)).status,
      429,
      'two are under way, wherever they began',
    );
    assert.deepEqual(tally(await askAll(3)), { 400: 5, 429: 4 });
    for (const [download, at] of [
      [lasting, 1],
      [another, 2],
    ] as const) {
      download.resume();
      isRight(await download.done, at);
    }
  });

  test('a mirror that lies, stalls or dies costs no successful download a byte', async () => {
    const isLayer =
      (at: number) =>
      (request: { path: string }): boolean =>
        request.path.includes(bed.images[at]?.layers[1] ?? '-');
    const faults = {
      lies: { at: 8, fault: { kind: 'flip', at: 1_000_000 } },
      hangs: { at: 9, fault: { kind: 'stall', after: 1_000_000 } },
      dies: { at: 10, fault: { kind: 'cut', after: 1_000_000 } },
    } as const;
    for (const [what, { at, fault }] of Object.entries(faults)) {
      await using replicas = await bed.start();
      bed.mirror.inject((request) => (isLayer(at)(request) ? fault : undefined));
      const { front } = replicas;
      const url = `${front.url}${bed.images[at]?.path}`;
      const clients = Array.from({ length: 6 }, () =>
        download(url, { tls: { ca: front.ca } }).then(
          ({ sha256 }) => sha256,
          () => 'broken',
        ),
      );
      const ends = new Set(await Promise.all(clients));
      const right = bed.images[at]?.sha256 ?? '';
      // Later downloads skip the mirror that sent wrong bytes, and are right.
      assert.ok(
        [...ends].every((end) => end === right || (end === 'broken' && what === 'lies')),
        inspect(ends),
      );
      if (what === 'lies') assert.ok(ends.has('broken'), 'what is wrong must not look whole');
      for (const replica of replicas.all) {
        // Each worker detects by itself that the mirror sends wrong bytes.
        let mayBreak = what === 'lies' ? WORKERS : 0;
        const again = (): Promise<Download> =>
          download(urlOf(replica, at)).catch((error) => {
            mayBreak -= 1;
            if (mayBreak < 0) throw error;
            return again();
          });
        isRight(await again(), at);
      }
      bed.mirror.inject(undefined);
    }
    await bed.mirror.close();
    await using replicas = await bed.start();
    for (const [at, replica] of replicas.all.entries()) isRight(await download(urlOf(replica, at)), at);
  });

  test('one joins while Redis does not run, and counts with the others once it runs', async () => {
    await bed.redis.stop();
    const env = { DOCKERPROXY_REDIS_URL: bed.redis.url, DOCKERPROXY_RATE_LIMIT: '10/hour' };
    await using alone = await startDockerProxy({ env });
    assert.equal((await download(`${alone.url}/dl`)).status, 400);
    await bed.redis.start();
    await waitFor(() => alone.logs().some(({ msg }) => msg.startsWith('Counting limits in Redis again')), {
      timeout: 20_000,
    });
    await waitFor(async () => (await counted('requests 127.0.0.1')) > 0);
  });
});

/** Returns the requests to the registry for an image. */
function sent({ origin, images }: ReplicasBed, at: number) {
  const names = [`/manifests/v${at}`, ...(images[at]?.layers ?? [])];
  return origin.requests.filter(({ path }) => names.some((name) => path.includes(name)));
}

/** Returns the sizes of files in bytes; 0 for a missing file. */
function sizes(paths: readonly string[]): Promise<number[]> {
  return Promise.all(paths.map(async (path) => (await stat(path).catch(() => ({ size: 0 }))).size));
}

function isKeptBy({ pullThrough }: ReplicasBed, digest: string): boolean {
  const hex = digest.slice('sha256:'.length);
  return existsSync(join(pullThrough.dir, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data'));
}
