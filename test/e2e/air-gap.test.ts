import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const SIZE = 3_000_000;

suite('tools that carry images across an air gap', { skip: skipUnless('docker-registry', 'wget') }, () => {
  let registry: Registry;
  let proxy: DockerProxy;

  before(async () => {
    registry = await startRegistry();
    proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host } });
    await using random = await randomLayer(SIZE, 'air-gap');
    const platform = { os: 'linux', architecture: 'amd64' };
    await push(registry.url, 'test/app', '2.1', image({ platform, layers: [random] }));
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  const wget = (folder: string, ...urls: string[]) =>
    runOrThrow('wget', ['--quiet', '--content-disposition', ...urls], { cwd: folder });
  const shell = (folder: string, line: string) => runOrThrow('sh', ['-c', line], { cwd: folder });

  test('sha256sum -c takes the checksum, one read of the registry serves both, and both ways to name it', async () => {
    await using folder = await temporaryFolder();
    await registry.reset();
    const query = `${proxy.url}/dl?myimage=${registry.host}/test/app:2.1`;
    await wget(folder.path, `${query}&checksum=1`, query);
    const checked = await shell(folder.path, 'sha256sum -c *.sha256');
    assert.match(checked.stdout, /^test_app_2\.1\.tar: OK$/m);
    const gets = (await registry.requests()).filter(
      ({ method, path }) => method === 'GET' && path.includes('/blobs/'),
    );
    assert.equal(gets.length, 2, 'the config and the layer, once each');

    await using plain = await temporaryFolder();
    const path = `${proxy.url}/dl/${registry.host}/test/app:2.1.tar`;
    await runOrThrow('wget', ['--quiet', path, `${path}.sha256`], { cwd: plain.path });
    assert.match((await shell(plain.path, 'sha256sum -c *.sha256')).stdout, /^app:2\.1\.tar: OK$/m);
  });

  test('parts have checksums and names in order, and cat puts them together', async () => {
    await using folder = await temporaryFolder();
    const query = `${proxy.url}/dl?myimage=${registry.host}/test/app:2.1`;
    const parts = [1, 2, 3].map((number) => `${query}&parts=1MiB&part=${number}`);
    const all = `${query}&parts=1MiB`;
    // Each has a checksum and a metalink beside it. The folder also contains parts of another size.
    const beside = parts.flatMap((part) => [`${part}&checksum=1`, `${part}&metalink=1`]);
    const others = [`${query}&parts=2MiB&part=1`, `${query}&parts=2MiB&checksum=1`];
    await wget(folder.path, ...parts, `${all}&checksum=1`, `${all}&metalink=1`, ...beside, ...others);
    await wget(folder.path, query, `${query}&checksum=1`, `${query}&metalink=1`);
    const here = await readdir(folder.path);
    assert.equal(here.length, parts.length + 2 + beside.length + others.length + 3, here.join());
    assert.match(
      (await shell(folder.path, 'sha256sum -c test_app_2.1.tar.3-parts.sha256')).stdout,
      /part01of03: OK\n.*part02of03: OK\n.*part03of03: OK\n$/,
    );
    const path = join(import.meta.dirname, '../../docs/checksums-parts-metalinks.md');
    const page = await readFile(path, 'utf8');
    const [line = '', pieces = '', joined = ''] = /^cat (\S+) > (\S+)$/m.exec(page) ?? [];
    assert.equal(joined, 'busybox.tar', line);
    const own = pieces.replace('busybox.tar', 'test_app_2.1.tar').replace('of05', 'of03');
    await shell(folder.path, `cat ${own} > joined && cmp joined test_app_2.1.tar`);
    assert.equal((await readFile(join(folder.path, 'joined'))).length > SIZE, true);
  });
});
