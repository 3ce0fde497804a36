import assert from 'node:assert/strict';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type Attack, createAttacks } from '../../load/attacks.ts';
import { createHonestClient } from '../../load/honest-client.ts';
import { type ControlGroup, createControlGroup } from '../support/control-group.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { startHostileRegistry } from '../support/hostile-registry.ts';
import { httpCall } from '../support/http-request.ts';
import { type Listening, listen } from '../support/listen.ts';
import { runOrThrow, spawnUntil } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const MEBIBYTE = 2 ** 20;
const LIMIT = 512 * MEBIBYTE;
const CLIENTS = 8;
const HONEST_DOWNLOADS = 3;
const PATIENCE_MS = 120_000;

suite('a service in a control group', { timeout: 600_000 }, () => {
  let group: ControlGroup | undefined;
  let proxy: DockerProxy;
  let silent: Listening;

  before(async () => {
    group = await createControlGroup(LIMIT);
    silent = await listen(createServer(() => {}));
    proxy = await startDockerProxy({
      via: group?.via ?? [],
      env: { DOCKERPROXY_WORKERS: '2', DOCKERPROXY_INSECURE_REGISTRIES: silent.host },
    });
  });
  after(async () => {
    await silent[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await group?.[Symbol.asyncDispose]();
  });

  const statuses = async (path: string): Promise<Set<number>> => {
    const calls = Array.from({ length: 16 }, () => httpCall(`${proxy.url}${path}`));
    return new Set((await Promise.all(calls)).map(({ status }) => status));
  };
  /** Sends requests that keep each worker waiting. */
  const requestAll = (signal: AbortSignal): void => {
    for (let count = 0; count < 16; count++) {
      const path = `/dl?myimage=${silent.host}/image:${count}`;
      get(`${proxy.url}${path}`, { signal, agent: false }).on('error', () => {});
    }
  };
  const isRefusing = async (): Promise<boolean> => (await statuses('/api/v1/info')).has(503);

  test('serves while the page cache fills the group', async (t) => {
    if (group === undefined) return t.skip('this process cannot create control groups');
    await using folder = await temporaryFolder();
    const fill = `head -c ${LIMIT} /dev/zero > ${join(folder.path, 'large')}`;
    const [program = '', ...words] = group.via;
    await runOrThrow(program, [...words, 'sh', '-c', fill]);
    assert.ok(group.used() > LIMIT * 0.9, `${group.used()} bytes`);
    for (let sample = 0; sample < 3; sample++) assert.equal(await isRefusing(), false);
  });

  test('refuses requests while memory is short, and recovers afterwards', async (t) => {
    if (group === undefined) return t.skip('this process cannot create control groups');
    const [program = '', ...words] = group.via;
    // Node.js itself uses about 40 MiB.
    const mebibytes = Math.floor((LIMIT * 0.92 - group.used()) / MEBIBYTE) - 40;
    const script = `const held = Array.from({ length: ${mebibytes} }, () => Buffer.alloc(${MEBIBYTE}, 1));
      setInterval(() => held.length, 1000);
      console.log('full');`;
    await using hog = await spawnUntil(program, [...words, process.execPath, '-e', script], (running) =>
      /full/.test(running.stdout()),
    );
    const ended = new AbortController();
    requestAll(ended.signal);
    await waitFor(isRefusing, { timeout: 60_000, what: 'a refusal' });
    assert.deepEqual([...(await statuses('/healthz'))], [200]);
    assert.ok(proxy.logs().some(({ type }) => type === 'cgroupBytes'));
    await hog.stop();
    await waitFor(async () => !(await isRefusing()), { timeout: 60_000, what: 'an answer to each request' });
    ended.abort();
    assert.equal(group.kills(), 0);
  });
});

suite('a service in a control group under attack', { timeout: 600_000 }, () => {
  test('serves an honest client while many request large metadata', async (t) => {
    await using group = await createControlGroup(LIMIT);
    if (group === undefined) return t.skip('this process cannot create control groups');
    await using registry = await startHostileRegistry();
    await using proxy = await startDockerProxy({
      via: group.via,
      env: { DOCKERPROXY_WORKERS: '2', DOCKERPROXY_INSECURE_REGISTRIES: registry.host },
    });
    const origin = new URL(proxy.url);
    const attacks = createAttacks({ origin, registry, droppingHost: registry.host }).filter(({ name }) =>
      /^(?:bundles of large manifests|JSON bombs)/.test(name),
    );
    const ended = new AbortController();
    const attackAgain = async ({ send }: Attack, client: number): Promise<void> => {
      for (let count = client; !ended.signal.aborted; count += CLIENTS) {
        await send(`127.30.0.${1 + client}`, count, ended.signal);
      }
    };
    const attacking = attacks.flatMap((attack) =>
      Array.from({ length: CLIENTS }, (_, client) => attackAgain(attack, client)),
    );
    const honest = createHonestClient(origin, registry, '127.0.0.2', PATIENCE_MS);
    try {
      for (let whole = 0; whole < HONEST_DOWNLOADS; whole++) {
        const isServed = async (): Promise<boolean> => group.kills() > 0 || honest.download();
        await waitFor(isServed, { timeout: PATIENCE_MS, what: 'an honest download' });
      }
    } finally {
      ended.abort();
      await Promise.all(attacking);
    }
    assert.equal(attacks.length, 2);
    assert.equal(group.kills(), 0);
  });
});

suite('memory in /metrics', { timeout: 600_000 }, () => {
  test('lists each cache with its bytes and its limit', async () => {
    await using registry = await startHostileRegistry();
    await using proxy = await startDockerProxy({
      env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host, DOCKERPROXY_METRICS_PORT: '0' },
    });
    // The second download reads the layer from its file.
    for (let count = 0; count < 2; count++) {
      const download = await httpCall(`${proxy.url}/dl?myimage=${registry.host}/image`);
      assert.equal(download.status, 200);
    }
    const metricsUrl = proxy.logs().flatMap(({ msg }) => /^Metrics are at (.*)$/.exec(msg)?.[1] ?? [])[0];
    const { body } = await httpCall(metricsUrl ?? '');
    const valuesOf = (metric: string): Map<string, number> =>
      new Map(
        [...String(body).matchAll(new RegExp(`^${metric}\\{cache="([^"]+)"\\} (\\d+)$`, 'gm'))].map(
          ([, name = '', value]) => [name, Number(value)],
        ),
      );
    const bytes = valuesOf('dockerproxy_memory_cache_bytes');
    const limits = valuesOf('dockerproxy_memory_cache_limit_bytes');
    assert.deepEqual([...bytes.keys()].sort(), [...limits.keys()].sort());
    for (const [name, held] of bytes) assert.ok(held <= (limits.get(name) ?? 0), `${name}: ${held}`);
    const wanted = [
      ...['archive-metadata', 'file-buffers', 'image-details', 'limit-counters', 'odd-origins'],
      ...[
        'read-buffers',
        'recent-bytes',
        'registry-challenges',
        'registry-tokens',
        'unreachable-registries',
        'wrong-sizes',
      ],
    ];
    assert.deepEqual(
      wanted.filter((name) => !bytes.has(name)),
      [],
    );
    // A buffer moves from the one to the other when the fetch ends, after the response.
    assert.ok((bytes.get('recent-bytes') ?? 0) + (bytes.get('file-buffers') ?? 0) > 0);
  });
});
