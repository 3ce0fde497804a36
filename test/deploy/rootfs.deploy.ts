import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { makeDebian } from '../support/debian.ts';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { blob, image, layerMediaType, sha256 } from '../support/images.ts';
import { startMachine } from '../support/machine.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

suite('a root file system', { timeout: 600_000 }, () => {
  const skip = skipUnless('systemd-nspawn', 'debootstrap', 'docker-registry');
  test('boots under systemd-nspawn', { skip }, async () => {
    await using folder = await temporaryFolder();
    await using registry = await startRegistry();
    await using proxy = await startDockerProxy({
      env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host },
    });
    const packed = join(folder.path, 'layer.tar');
    await runOrThrow('tar', ['-C', await makeDebian(), '--xattrs', '-cpf', packed, '.'], {
      timeout: 120_000,
    });
    const tar = await readFile(packed);
    const layer = { ...blob(layerMediaType.gzip, gzipSync(tar, { level: 1 })), diffId: sha256(tar) };
    const platform = { os: 'linux', architecture: 'amd64' };
    await push(registry.url, 'debian', 'latest', image({ platform, layers: [layer] }));

    const url = `${proxy.url}/dl?myimage=${registry.host}/debian&format=rootfs`;
    const [archive, root] = [join(folder.path, 'debian_rootfs.tar'), join(folder.path, 'root')];
    await mkdir(root);
    await runOrThrow('curl', ['-sfo', archive, url], { timeout: 120_000 });
    const flags = ['--numeric-owner', '--delay-directory-restore', '--xattrs', '--xattrs-include=*'];
    await runOrThrow('tar', ['-xpf', archive, '-C', root, ...flags], { timeout: 120_000 });
    await using machine = await startMachine({}, root);
    assert.match(
      await machine.sh('systemctl is-active dbus && dpkg --audit && cat /etc/os-release'),
      /^active\nPRETTY_NAME="Debian/,
    );
  });
});
