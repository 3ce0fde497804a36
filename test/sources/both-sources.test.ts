import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Dockerd, startDockerd } from '../support/engines.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { basicCredentials, type Registry, startRegistry } from '../support/registry.ts';
import { reservePort } from '../support/reserve-port.ts';
import { type StandardImages, standardImages } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

/** A request, with the answer that both sources must return. */
type Row = readonly [path: string, status: number, code?: string];

const NO_DIGEST = `sha256:${'0'.repeat(64)}`;
const AMD64 = { os: 'linux', architecture: 'amd64' };

suite('the same request, from either source', {
  skip: skipUnless('dockerd', 'docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  let registry: Registry;
  let locked: Registry;
  /** A registry that refuses the configured credentials. */
  let refusing: Registry;
  let config: TemporaryFolder;
  let fault: FaultProxy;
  let images: StandardImages;
  let engine: Dockerd;
  let proxies: Record<'registry' | 'engine', DockerProxy>;
  let closed: string;
  /** Starts a registry that accepts connections and never responds. Returns the check of the error. */
  let silent: FaultProxy;
  let givenUp: Promise<void>;
  const forever = Promise.withResolvers<void>();

  before(async () => {
    registry = await startRegistry();
    locked = await startRegistry({ auth: 'htpasswd' });
    refusing = await startRegistry({ auth: 'htpasswd' });
    config = await temporaryFolder();
    const wrong = basicCredentials({ name: 'alice', password: 'wrong' }).replace('Basic ', '');
    await writeFile(
      join(config.path, 'config.json'),
      JSON.stringify({ auths: { [refusing.host]: { auth: wrong } } }),
    );
    images = await standardImages(registry);
    fault = await startFaultProxy(registry.url);
    silent = await startFaultProxy(registry.url);
    silent.inject(() => ({ kind: 'hold', until: forever.promise }));
    engine = await startDockerd();
    closed = `127.0.0.1:${await reservePort()}`;
    proxies = { registry: await start('registry'), engine: await start('engine') };
    // This takes a real minute, because the engine and the service measure it, so it runs during the other tests.
    givenUp = check([`/dl?myimage=${silent.host}/test/shared:1`, 504, 'registry-timeout']);
    givenUp.catch(() => {});
  });
  after(async () => {
    forever.resolve();
    for (const proxy of Object.values(proxies)) await proxy[Symbol.asyncDispose]();
    for (const part of [engine, fault, silent, locked, refusing, registry, config])
      await part[Symbol.asyncDispose]();
  });

  const start = (source: string, more: NodeJS.ProcessEnv = {}): Promise<DockerProxy> => {
    const registries = [registry.host, locked.host, refusing.host, fault.host, silent.host, closed];
    return startDockerProxy({
      env: {
        DOCKERPROXY_SOURCE: source,
        DOCKERPROXY_ALLOW: '**',
        DOCKERPROXY_DENY: 'docker.io/denied/**',
        DOCKERPROXY_INSECURE_REGISTRIES: registries.join(),
        DOCKER_CONFIG: config.path,
        DOCKER_HOST: engine.dockerHost,
        ...more,
      },
    });
  };

  const check = async ([path, status, code]: Row, method = 'GET', both = proxies): Promise<void> => {
    const ask = async ([source, { url }]: [string, DockerProxy]): Promise<void> => {
      const answer = await httpCall(url + path, { method });
      const found = answer.status < 400 || method === 'HEAD' ? undefined : JSON.parse(`${answer.body}`).code;
      const expected = method === 'HEAD' ? undefined : code;
      assert.deepEqual(
        [answer.status, found],
        [status, expected],
        `${source}: ${method} ${path}: ${answer.body}`,
      );
      if (answer.status === 200 && method === 'GET') assert.ok(answer.body.length > 512);
    };
    await Promise.all(Object.entries(both).map(ask));
  };

  test('available images are served', async () => {
    const at = `/dl?myimage=${registry.host}`;
    const { busybox, busyboxArm64 } = images;
    for (const path of [
      `${at}/library/busybox`,
      `${at}/library/busybox:1.35`,
      `${at}/library/busybox&platform=linux/arm64`,
      `${at}/library/busybox&platform=linux/arm64/v8`,
      `${at}/library/busybox@${busybox.descriptor.digest}`,
      `${at}/library/busybox@${busyboxArm64.descriptor.digest}`,
      `${at}/library/busybox:nonsense@${busybox.descriptor.digest}`,
      `${at}/test/no-media-type`,
      `${at}/test/twice`,
      `${at}/test/zstd`,
      `${at}/test/arm-only&platform=linux/arm64`,
      `${at}/test/shared:1&myimage=${registry.host}/test/shared:2`,
      `${at}/library/busybox&stream=1`,
      `/dl/${registry.host}/library/busybox.tar`,
    ]) {
      await check([path, 200]);
      await check([path, 200], 'HEAD');
    }
  });

  test('mistakes have the same errors', async () => {
    const at = `/dl?myimage=${registry.host}`;
    const rows: Row[] = [
      ['/dl', 400, 'parameter-invalid'],
      ['/dl?myimage=', 400, 'reference-invalid'],
      ['/dl?myimage=BusyBox', 400, 'reference-invalid'],
      [`${at}/library/busybox&platform=linux`, 400, 'platform-invalid'],
      [`${at}/library/busybox&format=zip`, 400, 'parameter-invalid'],
      [`${at}/library/busybox&stream=yes`, 400, 'parameter-invalid'],
      [`${at}/library/busybox&color=red`, 400, 'parameter-unknown'],
      ['/dl?myimage=denied/image', 403, 'image-not-allowed'],
      ['/dl?myimage=10.255.255.1/image', 403, 'address-refused'],
      ['/dl?myimage=localhost/image', 403, 'address-refused'],
      ['/dl/busybox', 404, 'route-not-found'],
      [`${at}/library/busybox:none`, 404, 'tag-not-found'],
      [`${at}/test/none`, 404, 'image-not-found'],
      [`${at}/library/busybox@${NO_DIGEST}`, 404, 'image-not-found'],
      [`/dl?myimage=${locked.host}/library/busybox`, 404, 'image-not-found'],
      [`${at}/library/busybox&platform=linux/s390x`, 404, 'platform-not-found'],
      [`${at}/library/busybox:1.35&platform=linux/arm64`, 404, 'platform-not-found'],
      [`${at}/test/arm-only`, 404, 'platform-not-found'],
      [
        `${at}/library/busybox@${images.busyboxArm64.descriptor.digest}&platform=linux/amd64`,
        404,
        'platform-not-found',
      ],
      [`${at}/test/helm&format=docker`, 422, 'not-an-image'],
      [`${at}/library/busybox&myimage=${registry.host}/test/none`, 404, 'image-not-found'],
      [`/dl?myimage=${closed}/image`, 502, 'registry-failed'],
      ['/dl?myimage=registry.invalid/image', 502, 'registry-failed'],
      [`/dl?myimage=${refusing.host}/library/busybox`, 502, 'registry-credentials-refused'],
    ];
    for (const row of rows) await check(row);
    // A registry's HEAD reads no config, the only place that tells the platform of a single manifest.
    for (const row of rows.filter(([, , code]) => code !== 'platform-not-found')) await check(row, 'HEAD');
  });

  const answers: [status: number, body: string, expected: number, code: string][] = [
    [400, '', 502, 'registry-refused'],
    [401, '', 404, 'image-not-found'],
    [403, '', 404, 'image-not-found'],
    [
      403,
      '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
      404,
      'image-not-found',
    ],
    [404, '', 404, 'image-not-found'],
    [429, '', 429, 'registry-rate-limited'],
    [429, '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}', 429, 'registry-rate-limited'],
    [500, '', 502, 'registry-failed'],
    [502, '', 502, 'registry-failed'],
    [503, '', 503, 'registry-unavailable'],
    [504, '', 504, 'registry-timeout'],
  ];
  for (const [status, body, expected, code] of answers) {
    test(`a registry that answers ${status} ${body}`, async () => {
      fault.inject(() => ({ kind: 'answer', status, headers: {}, body: Buffer.from(body) }));
      await check([`/dl?myimage=${fault.host}/test/shared:1`, expected, code]);
    });
  }

  test('a manifest of schema 1', async () => {
    const type = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
    const body = JSON.stringify({
      schemaVersion: 1,
      name: 'test/old',
      tag: 'latest',
      fsLayers: [],
      history: [],
    });
    const headers = { 'content-type': type, 'content-length': `${body.length}` };
    fault.inject(({ path, method }) =>
      path.includes('/manifests/')
        ? { kind: 'answer', status: 200, headers, body: method === 'HEAD' ? '' : body }
        : undefined,
    );
    await check([`/dl?myimage=${fault.host}/test/old`, 422, 'manifest-outdated']);
  });

  test('more layers than a client can load', async () => {
    const one = await layer({ files: { a: '' } });
    const layers = Array.from({ length: 1001 }, () => one);
    await push(registry.url, 'test/many', 'latest', image({ platform: AMD64, layers }));
    await check([`/dl?myimage=${registry.host}/test/many`, 422, 'too-many-layers']);
  });

  test('an image that is larger than may be', async () => {
    await using random = await randomLayer(2 ** 22, 'large');
    await push(registry.url, 'test/large', 'latest', image({ platform: AMD64, layers: [random] }));
    const limit = { DOCKERPROXY_MAX_IMAGE_SIZE: '2MiB' };
    await using limited = await start('registry', limit);
    await using limitedEngine = await start('engine', limit);
    const both = { registry: limited, engine: limitedEngine };
    await check([`/dl?myimage=${registry.host}/test/large`, 403, 'image-too-large'], 'GET', both);
    const { stdout } = await engine.docker('image', 'ls', '--quiet', `${registry.host}/test/large`);
    assert.equal(stdout, '', 'it was not even pulled whole');
    await check([`/dl?myimage=${registry.host}/library/busybox`, 200], 'GET', both);
  });

  test('a config that is missing, or another one', async () => {
    for (const [name, injected, status, code] of [
      ['missing', { kind: 'answer', status: 404, body: '' }, 422, 'layer-unavailable'],
      ['other', { kind: 'flip', at: 100 }, 502, 'content-mismatch'],
    ] as const) {
      const made = image({ platform: AMD64, layers: [await layer({ files: { name } })] });
      await push(registry.url, `test/${name}`, 'latest', made);
      const { digest } = made.config.descriptor;
      fault.inject(({ path }) => (path.endsWith(digest) ? injected : undefined));
      await check([`/dl?myimage=${fault.host}/test/${name}`, status, code]);
    }
  });

  test('if they differ, it is on purpose', async () => {
    const answer = async (source: keyof typeof proxies, path: string): Promise<unknown[]> => {
      const { status, body } = await httpCall(`${proxies[source].url}/dl?myimage=${registry.host}/${path}`);
      return [status, status < 400 ? undefined : JSON.parse(`${body}`).code];
    };
    // An engine saves in its own format alone.
    assert.deepEqual(await answer('registry', 'library/busybox&format=oci'), [200, undefined]);
    assert.deepEqual(await answer('engine', 'library/busybox&format=oci'), [400, 'format-unavailable']);
    // dockerd 20.10 and podman 4 do not look into an index within an index.
    assert.deepEqual(await answer('registry', 'test/nested'), [200, undefined]);
    assert.deepEqual(await answer('engine', 'test/nested'), [404, 'platform-not-found']);
    // An engine's archive is always whole and for one platform.
    const delta = `test/shared:2&have=${registry.host}/test/shared:1`;
    assert.deepEqual(await answer('registry', delta), [200, undefined]);
    assert.deepEqual(await answer('engine', delta), [400, 'delta-unavailable']);
    const all = 'library/busybox&format=oci&platform=all';
    assert.deepEqual(await answer('registry', all), [200, undefined]);
    assert.deepEqual(await answer('engine', all), [400, 'format-unavailable']);
  });

  test('a layer that is missing, or another one', async () => {
    for (const [name, injected, refusal] of [
      ['no-layer', { kind: 'answer', status: 404, body: '' }, [422, 'layer-unavailable']],
      ['other-layer', { kind: 'flip', at: 30 }, [502, 'content-mismatch']],
    ] as const) {
      const made = image({ platform: AMD64, layers: [await layer({ files: { name } })] });
      await push(registry.url, `test/${name}`, 'latest', made);
      fault.inject(({ path }) =>
        path.endsWith(made.layers[0]?.descriptor.digest ?? '') ? injected : undefined,
      );
      await check([`/dl?myimage=${fault.host}/test/${name}`, ...refusal]);
    }
  });

  test('checksums and parts are those of the file, whoever made it', async () => {
    for (const { url } of Object.values(proxies)) {
      const query = `${url}/dl?myimage=${registry.host}/library/busybox`;
      const get = async (more = ''): Promise<Buffer> => (await httpCall(query + more)).body;
      const whole = await get();
      const hash = createHash('sha256').update(whole).digest('hex');
      assert.equal(`${await get('&checksum=1')}`, `${hash}  busybox.tar\n`);
      assert.ok(`${await get('&metalink=1')}`.includes(`<hash type="sha-256">${hash}</hash>`));
      const parts = [await get('&parts=1MiB&part=1'), await get('&parts=1MiB&part=2')];
      assert.deepEqual(Buffer.concat(parts), whole.subarray(0, 2 * (2 ** 20 - 512)));
      const { headers } = await httpCall(query, { method: 'HEAD' });
      assert.equal(headers['repr-digest'], `sha-256=:${Buffer.from(hash, 'hex').toString('base64')}:`);
    }
  });

  test('a registry that accepts connections and never responds', () => givenUp);
});
