import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makeRelease } from '../support/debian.ts';
import { type Machine, startMachine } from '../support/machine.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const SLOW = { timeout: 180_000 };
const SETTINGS = '/etc/dockerproxy/dockerproxy.toml';
const skip = skipUnless('systemd-nspawn', 'debootstrap');

suite('the package of Debian', { skip, timeout: 900_000 }, () => {
  let folder: TemporaryFolder;
  let machine: Machine;
  let first: string;

  const isHealthy = () => machine.sh('dockerproxy healthcheck && systemctl is-active dockerproxy');
  const sha256 = async (path: string) =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex');

  before(async () => {
    folder = await temporaryFolder();
    await runOrThrow('mkdir', [join(folder.path, 'first'), join(folder.path, 'newer')]);
    first = await makeRelease(join(folder.path, 'first'), 'deb');
    // A newer version of the same files, made by dpkg-deb.
    const tree = join(folder.path, 'tree');
    await runOrThrow('dpkg-deb', ['--raw-extract', first, tree]);
    await runOrThrow('sed', ['-i', 's/^Version: .*/Version: 99.0.0/', join(tree, 'DEBIAN', 'control')]);
    const newer = join(folder.path, 'newer', 'newer.deb');
    await runOrThrow('dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, newer], SLOW);
    await runOrThrow('rm', ['-rf', tree]);
    await copyFile(first, join(folder.path, 'first.deb'));
    machine = await startMachine({ '/mnt': folder.path });
  });
  after(async () => {
    await machine?.[Symbol.asyncDispose]();
    await folder?.[Symbol.asyncDispose]();
  });

  test('has the same bytes when it is made again, in another time zone and file system', async () => {
    await using again = await temporaryFolder();
    const elsewhere = { TZ: 'Asia/Tokyo', LC_ALL: 'C.UTF-8', TMPDIR: '/dev/shm' };
    assert.equal(await sha256(await makeRelease(again.path, 'deb', elsewhere)), await sha256(first));
  });

  test('installs, and starts the service on this machine alone', async () => {
    await machine.sh('dpkg --install /mnt/first.deb', SLOW);
    await isHealthy();
    assert.match(await machine.sh('systemctl is-enabled dockerproxy'), /^enabled/);
    assert.equal(
      (await machine.run('systemctl', ['is-active', 'dockerproxy.socket'])).stdout.trim(),
      'inactive',
    );
  });

  test('completes commands in the shells of the machine', async () => {
    const script = '. /usr/share/bash-completion/completions/dockerproxy; complete -p dockerproxy';
    assert.match(await machine.sh(`bash -c '${script}'`), /-F _dockerproxy dockerproxy/);
    for (const file of ['zsh/vendor-completions/_dockerproxy', 'fish/vendor_completions.d/dockerproxy.fish'])
      assert.match(await machine.sh(`cat /usr/share/${file}`), /save/);
  });

  test('keeps the settings of an upgrade, and restarts the service', async () => {
    await machine.write(SETTINGS, 'port = 8099\n');
    const pid = await machine.sh('systemctl show --value -p MainPID dockerproxy');
    await machine.sh('dpkg --force-confold --install /mnt/newer/newer.deb', SLOW);
    await isHealthy();
    assert.equal(await machine.sh(`cat ${SETTINGS}`), 'port = 8099\n');
    assert.notEqual(await machine.sh('systemctl show --value -p MainPID dockerproxy'), pid);
    await machine.sh('wget -qO- http://127.0.0.1:8099/healthz');
  });

  test('opens ports 80 and 443 if the settings have HTTPS', async () => {
    await machine.write(
      SETTINGS,
      'domains = ["dl.dockerproxy.test"]\nacme_email = "ops@example.org"\nacme_directory = "https://127.0.0.1:9/dir"\n',
    );
    await machine.sh('dpkg-reconfigure dockerproxy', SLOW);
    assert.equal(
      (await machine.sh('systemctl is-active dockerproxy.socket dockerproxy')).trim(),
      'active\nactive',
    );
  });

  test('reports a mistake in the settings, and leaves the package installed', async () => {
    await machine.write(SETTINGS, 'port = "none"\n');
    const { code, stderr } = await machine.run('dpkg-reconfigure', ['dockerproxy'], SLOW);
    assert.equal(code, 0);
    assert.match(
      stderr,
      /correct \/etc\/dockerproxy\/dockerproxy\.toml, then run: dpkg-reconfigure dockerproxy/,
    );
  });

  test('refuses to install beside a copy from install.sh', async () => {
    await machine.sh(
      'mkdir -p /usr/local/lib/systemd/system && touch /usr/local/lib/systemd/system/dockerproxy.service',
    );
    const { code, stderr } = await machine.run('dpkg', ['--install', '/mnt/first.deb'], SLOW);
    assert.notEqual(code, 0);
    assert.match(stderr, /install\.sh --uninstall --keep-data/);
    await machine.sh('rm -r /usr/local/lib/systemd/system');
  });

  test('keeps its data when it is removed, and deletes them when it is purged', async () => {
    await machine.sh('dpkg --remove dockerproxy', SLOW);
    await machine.sh(
      `test -e ${SETTINGS} && test -e /var/lib/private/dockerproxy && ! test -e /opt/dockerproxy/bin`,
    );
    assert.notEqual((await machine.run('systemctl', ['is-active', 'dockerproxy'])).code, 0);
    await machine.sh('dpkg --purge dockerproxy', SLOW);
    const left =
      'find / -xdev -name "*dockerproxy*" -not -path "/proc/*" -not -path "/mnt/*" -not -path "/var/log/*"';
    assert.equal(await machine.sh(left), '');
  });
});
