import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { effectiveSettings } from '../../src/config/loader.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '..', '..');
const units = join(root, 'deploy', 'systemd');
/** The score of systemd-analyze, from 0 to 10. A service with network access can reach 1.5. */
const MOST_EXPOSURE = 1.5;

test('the unit, the image, npm start, and tests run Node.js with the same options and allocator', async () => {
  for (const path of [
    'deploy/systemd/dockerproxy.service',
    'deploy/Dockerfile',
    'package.json',
    'test/support/dockerproxy.ts',
  ]) {
    const text = await readFile(join(root, path), 'utf8');
    assert.match(text, /--max-semi-space-size=8\b/, path);
    assert.match(text, /\bMALLOC_ARENA_MAX(?:=|: ')2\b/, path);
  }
});

suite('the units', { skip: skipUnless('systemd'), timeout: 600_000 }, () => {
  test('systemd has nothing to say about them', async () => {
    await using folder = await temporaryFolder();
    const names = (await readdir(units)).filter((name) => /\.(?:service|socket)$/.test(name));
    for (const name of names) {
      const text = await readFile(join(units, name), 'utf8');
      // systemd-analyze requires that the programs exist.
      await writeFile(join(folder.path, name), text.replaceAll('/opt/dockerproxy', root));
    }
    assert.deepEqual(names.sort(), [
      'dockerproxy-metrics.socket',
      'dockerproxy.service',
      'dockerproxy.socket',
    ]);
    const files = names.map((name) => join(folder.path, name));
    const { stdout, stderr } = await runOrThrow('systemd-analyze', ['verify', '--man=no', ...files]);
    assert.equal(`${stdout}${stderr}`, '');
  });

  test('the service is exposed to little', async () => {
    const service = join(units, 'dockerproxy.service');
    const threshold = `--threshold=${MOST_EXPOSURE * 10}`;
    const { stdout } = await runOrThrow('systemd-analyze', [
      ...['security', '--offline=true', '--no-pager', threshold, service],
    ]);
    assert.match(stdout, /Overall exposure level for dockerproxy\.service: 1\.[0-5] OK/);
  });

  // https://www.freedesktop.org/software/systemd/man/latest/systemd.socket.html#ListenStream=
  test('its ports are opened on a machine without IPv6, too, as a number alone says', async () => {
    const text = await readFile(join(units, 'dockerproxy.socket'), 'utf8');
    const addresses = [...text.matchAll(/^ListenStream=(.*)$/gm)].map(([, address]) => address);
    assert.deepEqual(addresses, ['80', '443']);
    assert.match(text, /^BindIPv6Only=both$/m);
  });

  test('it gets more time to stop than its downloads have to end', async () => {
    const [, seconds] =
      /^TimeoutStopSec=(\d+)s$/m.exec(await readFile(join(units, 'dockerproxy.service'), 'utf8')) ?? [];
    const settings = effectiveSettings({ argv: [], environment: {}, home: '/nowhere', isRoot: false });
    const drain = settings.find(({ name }) => name === 'drain')?.value;
    assert.ok(typeof drain === 'number' && Number(seconds) * 1000 > drain, `${seconds} s, ${drain} ms`);
  });
});
