import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { type HostileRegistry, startHostileRegistry } from '../support/hostile-registry.ts';
import { httpCall } from '../support/http-request.ts';
import { sha256 } from '../support/images.ts';

const RATE = 5;

suite('the rate of requests in the registry API', { timeout: 180_000 }, () => {
  let registry: HostileRegistry;
  before(async () => {
    registry = await startHostileRegistry();
  });
  after(() => registry[Symbol.asyncDispose]());

  const start = () =>
    startDockerProxy({
      env: {
        DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
        DOCKERPROXY_REGISTRY_NAMES: `lab=${registry.host}`,
        DOCKERPROXY_RATE_LIMIT: `${RATE}/minute`,
      },
    });

  /** Sends requests one after the other and returns their statuses. */
  const statuses = async (url: string, paths: readonly string[], method = 'GET'): Promise<number[]> => {
    const all: number[] = [];
    for (const path of paths) all.push((await httpCall(`${url}/v2/lab/${path}`, { method })).status);
    return all;
  };
  const repeated = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

  test('refuses each further repository, also when a client asks for it again', async () => {
    await using proxy = await start();
    const paths = Array.from({ length: RATE + 2 }, (_, at) => {
      const repository = `many/${at}`;
      return `${repository}/manifests/${registry.honest(repository).descriptor.digest}`;
    });
    assert.deepEqual(await statuses(proxy.url, paths), [...repeated(RATE, 200), 429, 429]);
    assert.deepEqual(await statuses(proxy.url, paths.slice(RATE)), [429, 429]);
  });

  for (const [kind, method] of [
    ['manifests', 'HEAD'],
    ['blobs', 'HEAD'],
    ['blobs', 'GET'],
  ] as const) {
    test(`counts each ${method} of ${kind} that are not there`, async () => {
      await using proxy = await start();
      const repository = `absent/${kind}/${method.toLowerCase()}`;
      registry.misbehave(repository, {
        manifest: (_request, response) => response.writeHead(404).end(),
        blob: (_request, response) => response.writeHead(404).end(),
      });
      const paths = Array.from(
        { length: RATE + 2 },
        (_, at) => `${repository}/${kind}/${sha256(Buffer.from(`${at}`))}`,
      );
      assert.deepEqual(await statuses(proxy.url, paths, method), [...repeated(RATE, 404), 429, 429]);
    });
  }

  test('counts an image of many layers once', async () => {
    await using proxy = await start();
    const { descriptor, config, layers } = registry.honest('whole');
    const blobs = [config, ...layers].map((one) => `whole/blobs/${one.descriptor.digest}`);
    const paths = [`whole/manifests/${descriptor.digest}`, ...repeated(RATE, blobs).flat()];
    assert.deepEqual(await statuses(proxy.url, paths), repeated(paths.length, 200));
  });
});
