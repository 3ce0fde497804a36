import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { startRegistry } from '../support/registry.ts';
import { type StandardImages, standardImages } from '../support/standard-images.ts';
import { waitFor } from '../support/wait-for.ts';

const MIB = 2 ** 20;
const LAYERS = 4;
const LAYER_SIZE = 40_000_000;
/** Bytes of memory above idle. The requirements of this service set this limit for an image of 500 MB. */
const MEMORY_LIMIT = 30 * MIB;

suite('a download costs little', { skip: skipUnless('docker-registry', 'curl') }, () => {
  test('a download takes at most 30 MiB of memory above idle', async (t) => {
    await using registry = await startRegistry();
    await using stack = new AsyncDisposableStack();
    await standardImages(registry);
    const seeds = Array.from({ length: LAYERS }, (_, at) => `economy-${at}`);
    const layers = await Promise.all(
      seeds.map(async (seed) => stack.use(await randomLayer(LAYER_SIZE, seed))),
    );
    const platform = { os: 'linux', architecture: 'amd64' };
    await push(registry.url, 'test/large', 'latest', image({ platform, layers }));
    await using proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host } });
    const download = async (name: string, ...more: string[]): Promise<number> => {
      const url = `${proxy.url}/dl?myimage=${registry.host}/${name}`;
      const options = ['-sSf', '-o', '/dev/null', '-w', '%{size_download}'];
      return Number((await runOrThrow('curl', [...options, ...more, url])).stdout);
    };

    await download('library/busybox');
    const idle = proxy.memory();
    for (const rate of [[], ['--limit-rate', '200M'], []]) {
      resetPeak(proxy);
      assert.ok((await download('test/large', ...rate)) > LAYERS * LAYER_SIZE);
      const above = peak(proxy) - idle;
      t.diagnostic(`${(above / MIB).toFixed(1)} MiB above ${(idle / MIB).toFixed(0)} MiB idle`);
      assert.ok(above <= MEMORY_LIMIT, `${above} bytes above idle`);
    }
  });

  test('the first byte leaves as soon as the first layer begins', async () => {
    await using registry = await startRegistry();
    const isLayer = layersOf(await standardImages(registry));
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const hold = { kind: 'hold', until: released } as const;
    const hook = ({ path }: { path: string }) => (isLayer(path) ? hold : undefined);
    await using upstream = await startFaultProxy(registry.url, { hook });
    await using proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: upstream.host } });
    const response = get(`${proxy.url}/dl?myimage=${upstream.host}/library/busybox`);
    const firstByte = new Promise<void>((resolve, reject) => {
      response.once('error', reject).once('response', (message) => message.once('data', () => resolve()));
    });
    await waitFor(() => upstream.requests.some(({ path }) => isLayer(path)), {
      what: 'the layer to be asked for',
    });
    const answered = upstream.requests
      .filter(({ status }) => status !== 0)
      .map(({ path }) => path.split('/').at(-2));
    assert.deepEqual(answered, ['manifests', 'manifests', 'blobs'], 'nothing more is waited for');
    release();
    await firstByte;
    response.destroy();
  });

  test('the first byte does not wait for a second layer that does not begin', async () => {
    await using registry = await startRegistry();
    const layers = await Promise.all(['one', 'two'].map((name) => layer({ files: { [name]: name } })));
    const platform = { os: 'linux', architecture: 'amd64' };
    await push(registry.url, 'test/two', 'latest', image({ platform, layers }));
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const second = layers[1]?.descriptor.digest ?? '';
    await using upstream = await startFaultProxy(registry.url, {
      hook: ({ path }) => (path.endsWith(second) ? { kind: 'hold', until: released } : undefined),
    });
    await using proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: upstream.host } });
    const answer = await fetch(`${proxy.url}/dl?myimage=${upstream.host}/test/two`);
    const reader = answer.body?.getReader();
    assert.ok(((await reader?.read())?.value?.length ?? 0) > 0);
    release();
    for (let left = await reader?.read(); left?.done === false; left = await reader?.read());
    assert.equal(answer.status, 200);
  });

  test('a client that goes ends the upstream request at once', async () => {
    await using registry = await startRegistry();
    const isLayer = layersOf(await standardImages(registry));
    const hook = ({ path }: { path: string }) =>
      isLayer(path) ? ({ kind: 'stall', after: 100 } as const) : undefined;
    await using upstream = await startFaultProxy(registry.url, { hook });
    await using proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: upstream.host } });
    const response = get(`${proxy.url}/dl?myimage=${upstream.host}/library/busybox`);
    response.on('error', () => {});
    const blob = () => upstream.requests.find(({ path }) => isLayer(path));
    await waitFor(() => (blob()?.sent ?? 0) > 0, { what: 'the blob to begin' });
    response.destroy();
    await waitFor(() => blob()?.state === 'aborted by client', {
      what: 'the upstream request to be aborted',
    });
    const left = () => proxy.logs().some(({ msg }) => msg.startsWith('[LEFT]'));
    await waitFor(left, { what: 'the log to say so' });
  });

  test('the same request gives the same bytes, from any process', async () => {
    await using registry = await startRegistry();
    await standardImages(registry);
    const env = { DOCKERPROXY_INSECURE_REGISTRIES: registry.host };
    await using one = await startDockerProxy({ env });
    await using other = await startDockerProxy({ env });
    const query = ['library/busybox', 'test/shared:1', 'test/zstd']
      .map((name) => `myimage=${registry.host}/${name}`)
      .join('&');
    const [first, second] = await Promise.all([one, other].map(({ url }) => httpCall(`${url}/dl?${query}`)));
    assert.equal(first?.status, 200);
    assert.equal(first?.headers.etag, second?.headers.etag);
    assert.deepEqual(first?.body, second?.body);
  });
});

/** Tells which paths are those of the layers of busybox. */
function layersOf({ busyboxAmd64 }: StandardImages): (path: string) => boolean {
  const digests = busyboxAmd64.layers.map(({ descriptor }) => descriptor.digest);
  return (path) => digests.some((digest) => path.endsWith(digest));
}

/** https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html: Writing 5 resets the peak. */
function resetPeak({ pid }: DockerProxy): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

function peak({ pid }: DockerProxy): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}
