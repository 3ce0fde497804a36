import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { download } from '../support/download.ts';
import { type Fault, startFaultProxy } from '../support/fault-proxy.ts';
import { image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

suite('a mirror', {
  skip: skipUnless('docker-registry'),
  timeout: 600_000,
}, () => {
  test('gives what Docker Hub would, without a word to it, once for many clients and services', async () => {
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

  test('may fail, send wrong bytes, or disconnect, and every complete file is right', async () => {
    await using layer = await randomLayer(3_000_000, 'faults');
    await using registry = await startRegistry();
    const made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [layer] });
    await push(registry.url, 'team/app', 'one', made);
    await using origin = await startFaultProxy(registry.url);
    await using pullThrough = await startRegistry({ mirrorOf: registry.url });
    await using folder = await temporaryFolder();
    const path = `/dl?myimage=${origin.host}/team/app:one`;
    const env = { DOCKERPROXY_INSECURE_REGISTRIES: origin.host };
    await using direct = await startDockerProxy({ env });
    const expected = (await download(`${direct.url}${path}`)).sha256;

    const isBlob = ({ path }: { path: string }): boolean => path.includes(layer.descriptor.digest);
    const faults: Record<string, Fault> = {
      dies: { kind: 'cut', after: 1_000_000 },
      lies: { kind: 'flip', at: 1_000_000 },
    };
    for (const [what, fault] of Object.entries(faults)) {
      await using mirror = await startFaultProxy(pullThrough.url);
      mirror.inject((request) => (isBlob(request) ? fault : undefined));
      const settings = join(folder.path, `${what}.toml`);
      await writeFile(settings, `[registries."${origin.host}"]\nmirrors = ["${mirror.url}"]\n`);
      await using proxy = await startDockerProxy({ env, args: ['--config', settings] });
      const first = download(`${proxy.url}${path}`);
      if (what === 'lies') await assert.rejects(first, 'what is wrong must not look whole');
      else assert.equal((await first).sha256, expected, what);
      assert.equal((await download(`${proxy.url}${path}`)).sha256, expected, `${what}, then`);
      await mirror.close();
      assert.equal((await download(`${proxy.url}${path}`)).sha256, expected, `${what}, and is closed`);
    }
  });

  test('answers for referrers if no registry is reachable', async () => {
    await using registry = await startRegistry();
    await using origin = await startFaultProxy(registry.url);
    await using mirror = await startFaultProxy(registry.url);
    await using folder = await temporaryFolder();
    await using layer = await randomLayer(10_000, 'alone');
    const made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [layer] });
    const signature = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [] });
    const base = made.descriptor.digest.replace(':', '-');
    for (const name of ['app', 'signed', 'other']) await push(registry.url, `team/${name}`, 'one', made);
    await push(registry.url, 'team/signed', `${base}.sig`, signature);
    origin.inject(() => ({ kind: 'drop' }));
    const settings = join(folder.path, 'alone.toml');
    await writeFile(settings, `[registries."${origin.host}"]\nmirrors = ["${mirror.url}"]\n`);
    const env = { DOCKERPROXY_INSECURE_REGISTRIES: origin.host };
    await using proxy = await startDockerProxy({ env, args: ['--config', settings] });
    const get = (name: string) =>
      download(`${proxy.url}/dl?myimage=${origin.host}/team/${name}:one&platform=all&format=oci&referrers=1`);
    const [plain, signed] = [await get('app'), await get('signed')];
    assert.deepEqual([plain.status, signed.status], [200, 200]);
    assert.ok(signed.size > plain.size, 'the signature of the mirror is in the file');
    for (const { headers } of [plain, signed])
      assert.match(
        `${headers['dockerproxy-notice']}`,
        /registry cannot be reached: .*referrers.* not included/,
      );

    mirror.inject(({ path }) =>
      /sha256-|referrers/.test(path) ? { kind: 'answer', status: 500 } : undefined,
    );
    assert.equal((await get('other')).status, 502, 'nothing within reach says what refers to it');
  });
});
