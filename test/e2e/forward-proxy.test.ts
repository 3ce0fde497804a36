import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { download } from '../support/download.ts';
import { startForwardProxy } from '../support/forward-proxy.ts';
import { image, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';

suite('behind a proxy of the environment', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  test('an image comes from where only the proxy leads, and not where NO_PROXY says so', async () => {
    await using registry = await startRegistry();
    const made = image({
      platform: { os: 'linux', architecture: 'amd64' },
      layers: [await layer({ files: { one: '1' } })],
    });
    await push(registry.url, 'team/app', 'one', made);
    await using forward = await startForwardProxy({ names: { 'registry.invalid': '127.0.0.1' } });
    const host = `registry.invalid:${new URL(registry.url).port}`;
    const env = { DOCKERPROXY_INSECURE_REGISTRIES: host, http_proxy: forward.url };
    await using proxy = await startDockerProxy({ env });
    const { status } = await download(`${proxy.url}/dl?myimage=${host}/team/app:one`);
    assert.equal(status, 200);
    assert.ok(forward.asked.every((line) => line.startsWith(`GET http://${host}/v2/team/app/`)));
    assert.equal(forward.asked.length, 3, forward.asked.join('\n'));

    await using direct = await startDockerProxy({ env: { ...env, no_proxy: '.invalid' } });
    assert.equal((await download(`${direct.url}/dl?myimage=${host}/team/app:one`)).status, 502);
    assert.equal(forward.asked.length, 3);
  });

  test('a variable that names no proxy ends it', async () => {
    const started = startDockerProxy({ env: { HTTPS_PROXY: 'socks5://127.0.0.1:1080' } });
    await assert.rejects(started, /HTTPS_PROXY must be the URL of a proxy/);
  });
});
