import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { answering, type HostileRegistry, startHostileRegistry } from '../support/hostile-registry.ts';
import { httpCall } from '../support/http-request.ts';
import { sha256 } from '../support/images.ts';

suite('a registry that lies, through the registry API', { timeout: 180_000 }, () => {
  let resources: AsyncDisposableStack;
  let registry: HostileRegistry;
  let proxy: DockerProxy;
  before(async () => {
    resources = new AsyncDisposableStack();
    registry = resources.use(await startHostileRegistry());
    proxy = resources.use(
      await startDockerProxy({
        env: {
          DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
          DOCKERPROXY_REGISTRY_NAMES: `lab=${registry.host}`,
        },
      }),
    );
  });
  after(() => resources.disposeAsync());

  const call = (path: string, method = 'GET') => httpCall(`${proxy.url}/v2/lab/${path}`, { method });

  test('a HEAD by digest that states the digest of another manifest is 502', async () => {
    const { bytes, descriptor } = registry.honest('other');
    const stated = sha256(Buffer.from('another manifest'));
    registry.misbehave('other', {
      manifest: answering(bytes, { 'content-type': descriptor.mediaType, 'docker-content-digest': stated }),
    });
    assert.equal((await call(`other/manifests/${descriptor.digest}`, 'HEAD')).status, 502);
  });

  test('a manifest that states a wrong size for a layer does not break the pulls of others', async () => {
    const { bytes, descriptor, layers } = registry.honest('sizes');
    const [layer] = layers;
    const body = JSON.parse(bytes.toString());
    const wrong = { ...body, layers: [{ ...layer?.descriptor, size: 1 }] };
    registry.misbehave('sizes', {
      manifest: (request, response) =>
        answering(request.url?.endsWith('wrong') ? wrong : bytes, { 'content-type': descriptor.mediaType })(
          request,
          response,
        ),
    });
    for (const tag of ['wrong', 'right']) assert.equal((await call(`sizes/manifests/${tag}`)).status, 200);
    const { status, body: sent } = await call(`sizes/blobs/${layer?.descriptor.digest}`);
    assert.equal(status, 200);
    assert.equal(sent.length, layer?.descriptor.size);
  });

  test('a manifest that is HTML, SVG, or a script cannot act as a page of this site', async () => {
    for (const type of ['text/html', 'image/svg+xml', 'text/javascript']) {
      const repository = `page/${type.replace(/\W/g, '')}`;
      const page = { mediaType: type, a: '<script src="/v2/lab/page/textjavascript/manifests/x"></script>' };
      registry.misbehave(repository, { manifest: answering(page, { 'content-type': type }) });
      const { status, headers } = await call(`${repository}/manifests/x`);
      assert.equal(status, 200);
      assert.equal(headers['content-type'], type);
      assert.equal(headers['content-security-policy'], "sandbox; default-src 'none'");
    }
  });
});
