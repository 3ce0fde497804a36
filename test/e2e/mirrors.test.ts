import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { download } from '../support/download.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { temporaryFolder, waitFor } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { startRegistry } from '../support/registry.ts';

suite('an image of Docker Hub from a mirror', {
  skip: skipUnless('docker-registry'),
  timeout: 60_000,
}, () => {
  test('comes without a word to Docker Hub, once for many clients and services', async () => {
    await using layer = await randomLayer(3_000_000, 'hub');
    await using registry = await startRegistry();
    const made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [layer] });
    await push(registry.url, 'library/busybox', 'latest', made);
    await registry.reset();
    await using pullThrough = await startRegistry({ mirrorOf: registry.url });
    await using mirror = await startFaultProxy(pullThrough.url);
    await using folder = await temporaryFolder();
    const settings = join(folder.path, 'settings.toml');
    await writeFile(settings, `[registries."docker.io"]\nmirrors = ["${mirror.url}"]\n`);
    const args = ['--config', settings];
    await using one = await startDockerProxy({ args });
    await using other = await startDockerProxy({ args });

    const { digest } = layer.descriptor;
    const first = await Promise.all([one, one, one].map(({ url }) => download(`${url}/dl?myimage=busybox`)));
    const hex = digest.slice('sha256:'.length);
    const kept = join(pullThrough.dir, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
    await waitFor(() => existsSync(kept), { what: 'the mirror to keep the layer' });
    await registry.reset();
    const second = await download(`${other.url}/dl?myimage=busybox`);

    const all = [...first, second];
    assert.equal(new Set(all.map(({ sha256 }) => sha256)).size, 1);
    assert.deepEqual(new Set(all.map(({ status }) => status)), new Set([200]));
    const isBlob = ({ method, path }: { method: string; path: string }): boolean =>
      method === 'GET' && path.includes(digest);
    assert.equal(mirror.requests.filter(isBlob).length, 2, 'each service asks the mirror once');
    assert.equal((await registry.requests()).filter(isBlob).length, 0, 'the mirror has it for both');
  });
});
