import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { startDockerd } from '../support/engines.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { startHaproxy } from '../support/haproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { startRegistry } from '../support/registry.ts';
import { waitFor } from '../support/wait-for.ts';

const platform = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };

suite('two replicas behind HAProxy', {
  skip: skipUnless('haproxy', 'docker-registry', 'dockerd', 'docker', 'openssl'),
  timeout: 300_000,
}, () => {
  test('complete a pull of dockerd while one of them is killed', async () => {
    await using large = await randomLayer(8_000_000, 'replica');
    await using registry = await startRegistry();
    await push(registry.url, 'app', 'latest', image({ platform, layers: [large] }));
    await using upstream = await startFaultProxy(registry.url);
    const env = {
      DOCKERPROXY_INSECURE_REGISTRIES: upstream.host,
      DOCKERPROXY_REGISTRY_NAMES: `lab=${upstream.host}`,
      DOCKERPROXY_TRUST_PROXY: '127.0.0.1',
    };
    await using one = await startDockerProxy({ env });
    await using two = await startDockerProxy({ env });
    await using front = await startHaproxy([one.url, two.url]);
    await using engine = await startDockerd({ env: { SSL_CERT_FILE: front.caFile } });

    const { digest } = large.descriptor;
    const blob = await httpCall(`${front.url}/v2/lab/app/blobs/${digest}`, { method: 'HEAD' });
    assert.equal(blob.status, 200);
    const killed = blob.headers['x-server'] === 'one' ? one : two;
    const { promise: until, resolve: release } = Promise.withResolvers<void>();
    upstream.inject(({ method, path }) =>
      method === 'GET' && path.includes(digest) ? { kind: 'stall', after: 4_000_000, until } : undefined,
    );
    const name = `${new URL(front.url).host}/lab/app`;
    const pulling = engine.docker('pull', name);
    const fetches = () =>
      upstream.requests.filter(({ method, path }) => method === 'GET' && path.includes(digest));
    try {
      await waitFor(() => (fetches()[0]?.sent ?? 0) >= 4_000_000, { what: 'the pull to be under way' });
      process.kill(killed.pid, 'SIGKILL');
      await killed.exited;
    } finally {
      release();
    }
    const { code, stdout, stderr } = await pulling;
    assert.equal(code, 0, `${stderr}${stdout}`);
    assert.equal(fetches().length, 2, 'each replica fetches the layer once');
    assert.equal((await engine.docker('image', 'inspect', name)).code, 0);
  });
});
