import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { DEFAULT_LIMITS, type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { type HttpResponse, httpCall } from '../support/http-request.ts';
import { type Image, image, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { run } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const platform = { os: 'linux', architecture: 'amd64' };

interface Bed extends AsyncDisposable {
  readonly registry: Registry;
  readonly upstream: FaultProxy;
  readonly proxy: DockerProxy;
  readonly made: Image;
  /** The digest of the large layer. */
  readonly digest: string;
  get(resource: string, repository?: string): Promise<HttpResponse>;
}

/** An image with a layer of three megabytes, in a registry that can misbehave. */
async function startBed(env: NodeJS.ProcessEnv = {}): Promise<Bed> {
  const resources = new AsyncDisposableStack();
  const registry = resources.use(await startRegistry());
  const large = resources.use(await randomLayer(3_000_000, 'pulled'));
  const made = image({ platform, layers: [large, await layer({ files: { a: 'b' } })] });
  for (const repository of ['app', 'other']) await push(registry.url, repository, 'latest', made);
  const upstream = resources.use(await startFaultProxy(registry.url));
  const proxy = resources.use(
    await startDockerProxy({
      env: {
        DOCKERPROXY_INSECURE_REGISTRIES: upstream.host,
        DOCKERPROXY_REGISTRY_NAMES: `lab=${upstream.host}`,
        ...env,
      },
    }),
  );
  return {
    ...{ registry, upstream, proxy, made, digest: large.descriptor.digest },
    get: (resource, repository = 'app') => httpCall(`${proxy.url}/v2/lab/${repository}/${resource}`),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

const codeOf = ({ body }: HttpResponse): string => JSON.parse(body.toString()).errors[0].code;
const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const isBlob = ({ path }: { path: string }): boolean => path.includes('/blobs/');

suite('a pull through the registry API', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  test('fetches each blob and manifest once for twenty clients', async () => {
    await using bed = await startBed();
    const pulls = Array.from({ length: 20 }, async () => {
      const { body } = await bed.get('manifests/latest');
      const { config, layers } = JSON.parse(body.toString());
      const blobs = [config, ...layers].map(({ digest }) => bed.get(`blobs/${digest}`));
      for (const [at, blob] of (await Promise.all(blobs)).entries())
        assert.equal(digestOf(blob.body), [config, ...layers][at].digest);
    });
    await Promise.all(pulls);
    const gets = bed.upstream.requests.filter(({ method }) => method === 'GET').map(({ path }) => path);
    assert.deepEqual(gets.filter((path) => path.includes('manifests')).length, 1);
    assert.equal(gets.filter((path) => path.includes('blobs')).length, 3);
    assert.equal(new Set(gets).size, gets.length);
  });

  test('goes on where the registry breaks off', async () => {
    await using bed = await startBed();
    let cuts = 2;
    bed.upstream.inject((request) =>
      isBlob(request) && cuts-- > 0 ? { kind: 'cut', after: 500_000 } : undefined,
    );
    const { status, body } = await bed.get(`blobs/${bed.digest}`);
    assert.deepEqual([status, digestOf(body)], [200, bed.digest]);
  });

  test('breaks off before the end where the registry sends other bytes', async () => {
    await using bed = await startBed();
    await bed.get('manifests/latest');
    bed.upstream.inject((request) => (isBlob(request) ? { kind: 'flip', at: 2_999_000 } : undefined));
    await assert.rejects(bed.get(`blobs/${bed.digest}`));
  });

  test('is an error before the headers if a blob is unavailable, as containerd expects', async () => {
    await using bed = await startBed();
    await bed.get('manifests/latest');
    for (const [status, expected, code] of [
      [404, 404, 'BLOB_UNKNOWN'],
      [429, 429, 'TOOMANYREQUESTS'],
      [503, 503, 'UNAVAILABLE'],
    ] as const) {
      bed.upstream.inject((request) =>
        isBlob(request) ? { kind: 'answer', status, headers: { 'retry-after': '1' } } : undefined,
      );
      const response = await bed.get(`blobs/${bed.digest}`);
      assert.deepEqual([response.status, codeOf(response)], [expected, code]);
      if (status !== 404) assert.match(`${response.headers['retry-after']}`, /^\d+$/);
    }
  });

  test('is served from the cache while the registry is down, and again when it is back', async () => {
    await using bed = await startBed();
    await bed.get('manifests/latest');
    await bed.get(`blobs/${bed.digest}`);
    bed.upstream.inject(() => ({ kind: 'drop' }));
    const stale = await bed.get('manifests/latest');
    assert.deepEqual([stale.status, stale.body], [200, bed.made.bytes]);
    const head = await httpCall(`${bed.proxy.url}/v2/lab/app/manifests/latest`, { method: 'HEAD' });
    assert.equal(head.headers['docker-content-digest'], bed.made.descriptor.digest);
    assert.equal(digestOf((await bed.get(`blobs/${bed.digest}`)).body), bed.digest);
    assert.equal(codeOf(await bed.get('manifests/latest', 'other')), 'UNAVAILABLE');
    bed.upstream.inject(undefined);
    assert.equal((await bed.get('manifests/latest', 'other')).status, 200);
  });

  test('has an empty list of referrers with a warning while the registry is down, as Docker 29 needs', async () => {
    await using bed = await startBed();
    const { digest } = bed.made.descriptor;
    await bed.get('manifests/latest');
    const known = await bed.get(`referrers/${digest}`);
    assert.deepEqual([known.status, known.headers.warning], [200, undefined]);
    bed.upstream.inject(() => ({ kind: 'drop' }));
    const { status, headers, body } = await bed.get(`referrers/${digest}`);
    assert.deepEqual([status, JSON.parse(body.toString()).manifests], [200, []]);
    assert.equal(headers.warning, '299 - "The registry is unavailable, so the referrers are unknown."');
  });

  test('costs a HEAD for a tag, and a GET by digest once', async () => {
    await using bed = await startBed();
    const { digest } = bed.made.descriptor;
    for (let round = 0; round < 2; round += 1) {
      await httpCall(`${bed.proxy.url}/v2/lab/app/manifests/latest`, { method: 'HEAD' });
      assert.deepEqual((await bed.get(`manifests/${digest}`)).body, bed.made.bytes);
    }
    const asked = bed.upstream.requests.map(({ method, path }) => `${method} ${path.split('/').at(-1)}`);
    assert.deepEqual(asked, ['HEAD latest', `GET ${digest}`, 'HEAD latest']);
  });
});

suite('the limits of pulls', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  test('one image is one download, whatever its connections, and another one waits', async () => {
    await using bed = await startBed({ DOCKERPROXY_DOWNLOADS_PER_IP: '1' });
    await bed.get('manifests/latest');
    const { promise: until, resolve: release } = Promise.withResolvers<void>();
    bed.upstream.inject((request) =>
      request.path.includes(bed.digest) ? { kind: 'stall', after: 1_000_000, until } : undefined,
    );
    const slow = bed.get(`blobs/${bed.digest}`);
    const config = bed.made.config.descriptor.digest;
    try {
      await waitFor(() =>
        bed.upstream.requests.some(({ path, sent }) => path.includes(bed.digest) && sent > 0),
      );
      assert.equal((await bed.get(`blobs/${config}`)).status, 200);
      const refused = await bed.get('manifests/latest', 'other');
      assert.deepEqual([refused.status, codeOf(refused)], [429, 'TOOMANYREQUESTS']);
      assert.match(`${refused.headers['retry-after']}`, /^\d+$/);
    } finally {
      release();
    }
    assert.equal(digestOf((await slow).body), bed.digest);
    assert.equal((await bed.get('manifests/latest', 'other')).status, 200);
  });

  test('each request for a tag counts, and the blobs and digests of a pull do not', async () => {
    await using bed = await startBed({ DOCKERPROXY_RATE_LIMIT: '3/day' });
    for (let round = 0; round < 3; round += 1) assert.equal((await bed.get('manifests/latest')).status, 200);
    const refused = await bed.get('manifests/latest');
    assert.deepEqual([refused.status, codeOf(refused)], [429, 'TOOMANYREQUESTS']);
    for (const resource of [`manifests/${bed.made.descriptor.digest}`, `blobs/${bed.digest}`])
      assert.equal((await bed.get(resource)).status, 200);
    assert.equal((await bed.get(`blobs/${bed.digest}`, 'other')).status, 429, 'it begins another pull');
  });

  test('the bytes of blobs count', async () => {
    await using bed = await startBed({ DOCKERPROXY_DAILY_BYTES: '1MB' });
    assert.equal((await bed.get(`blobs/${bed.digest}`)).status, 200);
    const refused = await bed.get(`blobs/${bed.made.config.descriptor.digest}`);
    assert.deepEqual([refused.status, codeOf(refused)], [429, 'TOOMANYREQUESTS']);
  });

  test('an image of 60 layers passes in the default limits', { skip: skipUnless('skopeo') }, async () => {
    await using registry = await startRegistry();
    await using folder = await temporaryFolder();
    const layers = await Promise.all(
      Array.from({ length: 60 }, (_, at) => layer({ files: { [`file-${at}`]: `${at}` } })),
    );
    await push(registry.url, 'app', 'latest', image({ platform, layers }));
    const env = {
      ...DEFAULT_LIMITS,
      DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
      DOCKERPROXY_REGISTRY_NAMES: `lab=${registry.host}`,
    };
    await using proxy = await startDockerProxy({ env });
    const source = `docker://${new URL(proxy.url).host}/lab/app:latest`;
    const copy = ['copy', '--src-tls-verify=false', source, `dir:${join(folder.path, 'app')}`];
    const { code, stderr } = await run('skopeo', copy);
    assert.equal(code, 0, stderr);
  });

  test('the log tells pulls from downloads', async () => {
    await using bed = await startBed();
    await bed.get('manifests/latest');
    await bed.get(`blobs/${bed.digest}`);
    const lines = await waitFor(() => {
      const pulls = bed.proxy.logs().filter(({ kind }) => kind === 'pull');
      return pulls.length === 2 && pulls;
    });
    assert.equal(lines[0]?.msg, `Pulling image: ${bed.upstream.host}/app:latest`);
    assert.match(
      lines.at(-1)?.msg ?? '',
      new RegExp(`^\\[OK\\] blob of ${bed.upstream.host}/app ${bed.digest}: `),
    );
  });

  test('the metrics tell pulls from downloads', async () => {
    await using bed = await startBed({ DOCKERPROXY_METRICS_PORT: '0' });
    await bed.get('manifests/latest');
    const { body } = await bed.get(`blobs/${bed.digest}`);
    const url = await waitFor(
      () => bed.proxy.logs().flatMap(({ msg }) => /^Metrics are at (.*)$/.exec(msg)?.[1] ?? [])[0],
    );
    const counted = async (name: string) =>
      Number(new RegExp(`^${name}(?:\\{\\})? (\\d+)$`, 'm').exec(String((await httpCall(url)).body))?.[1]);
    await waitFor(async () => (await counted('dockerproxy_blob_pull_bytes_total')) === body.length);
    assert.equal(await counted('dockerproxy_download_bytes_total'), 0);
    await httpCall(`${bed.proxy.url}/dl?myimage=${bed.upstream.host}/app`);
    await waitFor(async () => (await counted('dockerproxy_download_bytes_total')) > body.length);
    assert.equal(await counted('dockerproxy_blob_pull_bytes_total'), body.length);
  });
});
