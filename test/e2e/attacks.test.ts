import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type Attack, createAttacks } from '../../load/attacks.ts';
import { createHonestClient, type HonestClient } from '../../load/honest-client.ts';
import { FREE_REQUESTS } from '../../src/registry/upstream-budget.ts';
import { DEFAULT_LIMITS, type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { startDroppingListener } from '../support/dropping-listener.ts';
import { type HostileRegistry, startHostileRegistry } from '../support/hostile-registry.ts';
import { httpCall } from '../support/http-request.ts';
import { waitFor } from '../support/wait-for.ts';

/** How often the test sends an attack, and the requests to its registry that they may cause together. */
interface Row {
  /** The numbers of the requests, each from its own address. */
  readonly counts: readonly number[];
  readonly upstream: number;
  /** True if the client keeps its connections open until the test stops it. */
  readonly holds?: boolean;
}

const FOUR = [0, 1, 2, 3];
/** Calls in flight when a request has used up its budget. */
const IN_FLIGHT = 8;
const FEW = FOUR.length * FREE_REQUESTS;
const BUNDLES = FOUR.length * 20 * 3;
const PATIENCE_MS = 300_000;
const ADDRESSES = 50;

const ROWS: Readonly<Record<string, Row>> = {
  'details of configs with long commands': { counts: FOUR, upstream: FEW },
  'bundles of large manifests and configs, not read': { counts: FOUR, upstream: BUNDLES, holds: true },
  'HEAD of many foreign layers': { counts: [0, 1], upstream: 500 + 1_500 + 2 * IN_FLIGHT },
  'foreign layers in zones that do not answer': { counts: FOUR, upstream: FEW },
  'JSON bombs': { counts: FOUR, upstream: BUNDLES },
  'long tags by the thousand': { counts: FOUR, upstream: FEW },
  'a registry that drops SYNs': { counts: FOUR, upstream: 0 },
  'connections that send nothing': { counts: FOUR, upstream: 0, holds: true },
  'readers of large layers that do not read': { counts: [0], upstream: FREE_REQUESTS, holds: true },
  'readers of large manifests in the registry API that do not read': {
    ...{ counts: FOUR, upstream: FEW, holds: true },
  },
  'HEAD after HEAD': { counts: FOUR, upstream: FEW },
  'forged addresses and origins': { counts: FOUR, upstream: FEW },
  // Every other request downloads all layers.
  'bundles of tiny layers': { counts: [0, 2], upstream: BUNDLES },
  'page after page': { counts: FOUR, upstream: 0 },
};

suite('with default limits, an honest client beside', { timeout: 600_000 }, () => {
  const resources = new AsyncDisposableStack();
  let registry: HostileRegistry;
  let proxy: DockerProxy;
  let attacks: readonly Attack[];
  let honest: HonestClient;
  let metrics: string;

  before(async () => {
    registry = resources.use(await startHostileRegistry());
    const dropping = resources.use(await startDroppingListener());
    proxy = resources.use(
      await startDockerProxy({
        env: {
          ...DEFAULT_LIMITS,
          // No limit, because other work on the machine can delay the event loop.
          DOCKERPROXY_MAX_EVENT_LOOP_DELAY: '0s',
          DOCKERPROXY_METRICS_PORT: '0',
          DOCKERPROXY_INSECURE_REGISTRIES: `${registry.host},${dropping.host}`,
        },
      }),
    );
    const origin = new URL(proxy.url);
    attacks = createAttacks({ origin, registry, droppingHost: dropping.host });
    honest = createHonestClient(origin, registry, '127.0.0.2', PATIENCE_MS);
    metrics = await waitFor(
      () => proxy.logs().flatMap(({ msg }) => /^Metrics are at (.*)$/.exec(msg)?.[1] ?? [])[0],
      { what: 'the address of the metrics' },
    );
  });
  after(() => resources.disposeAsync());

  const toRegistry = (): number =>
    registry.requests().filter(({ url }) => url?.startsWith('/v2/attack/') === true).length;

  for (const [at, [name, { counts, upstream, holds = false }]] of Object.entries(ROWS).entries()) {
    test(`downloads go on during: ${name}`, async () => {
      const attack = attacks.find((one) => one.name === name) ?? assert.fail(`no attack ${name}`);
      const earlier = toRegistry();
      const ended = new AbortController();
      const sent = Promise.all(
        counts.map((count) => attack.send(`127.20.${at}.${1 + (count % ADDRESSES)}`, count, ended.signal)),
      );
      await waitFor(() => honest.download(), { timeout: PATIENCE_MS, what: 'an honest download' });
      if (!holds) await sent;
      ended.abort();
      await sent;
      const caused = toRegistry() - earlier;
      assert.ok(caused <= upstream, `${caused} requests to the registry`);
      await assertBounded();
    });
  }

  test('all attacks of the load test have a row', () => {
    assert.deepEqual(
      attacks.map(({ name }) => name),
      Object.keys(ROWS),
    );
  });

  test('nothing fails that the log calls an error', () => {
    assert.deepEqual(
      proxy.logs().filter(({ level }) => level >= 50),
      [],
    );
  });

  /** Asserts that no cache holds more bytes than its limit. */
  const assertBounded = async (): Promise<void> => {
    const text = String((await httpCall(metrics)).body);
    const bytesOf = (metric: string, cache: string): number =>
      Number(new RegExp(`^${metric}\\{cache="${cache}"\\} (\\d+)$`, 'm').exec(text)?.[1]);
    const caches = [...text.matchAll(/^dockerproxy_memory_cache_bytes\{cache="([^"]+)"\}/gm)];
    assert.ok(caches.length > 5, text);
    for (const [, cache = ''] of caches) {
      const held = bytesOf('dockerproxy_memory_cache_bytes', cache);
      assert.ok(held <= bytesOf('dockerproxy_memory_cache_limit_bytes', cache), `${cache}: ${held} bytes`);
    }
  };
});
