import assert from 'node:assert/strict';
import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { downloadUrl, exactDownload, fetchCommands } from '../../web/commands.js';
import { type Dockerd, type Podman, startDockerd, startPodman } from '../support/engines.ts';
import { httpCall } from '../support/http-request.ts';
import { sha256 } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { type RunResult, run } from '../support/process.ts';
import { push } from '../support/push.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { type Bed, startBed } from './bed.ts';

const FILE = 'busybox_1.36.tar';

suite('command lines that the page offers', {
  skip: skipUnless('docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  let bed: Bed;
  let url: string;
  let lines: Record<string, string>;
  let refused: Record<string, string>;
  let expected: string;

  before(async () => {
    bed = await startBed({ DOCKERPROXY_DAILY_BYTES: '1GiB' });
    const { body } = await httpCall(`${bed.url}/api/v1/image?myimage=${bed.busybox}:1.36`);
    const details = JSON.parse(body.toString()) as Portal.Image;
    assert.equal(details.filename, FILE);
    url = bed.url + downloadUrl(exactDownload([details], { platform: '', format: 'docker' }));
    lines = fetchCommands(url, FILE, 'docker');
    refused = fetchCommands(`${bed.url}/dl?myimage=evil.example/app`, FILE, 'docker');
    expected = sha256((await httpCall(url)).body);
  });
  after(() => bed[Symbol.asyncDispose]());

  const sh = (line: string | undefined, folder: string): Promise<RunResult> =>
    run('sh', ['-c', line ?? 'false'], { cwd: folder, timeout: 120_000 });
  const assertWhole = async (folder: string, { code, stderr }: RunResult) => {
    assert.equal(code, 0, stderr);
    assert.equal(sha256(await readFile(join(folder, FILE))), expected);
  };

  test('name the file by its tag, and the image by its digest', async () => {
    assert.match(url, /busybox:1\.36@sha256:[0-9a-f]{64}$/);
    const { headers } = await httpCall(url, { method: 'HEAD' });
    assert.equal(headers['content-disposition'], `attachment; filename="${FILE}"`);
  });

  for (const tool of ['wget', 'curl', 'aria2c'] as const) {
    suite(tool, {
      skip: skipUnless(
        ...(tool === 'aria2c' ? ['aria2c' as const] : tool === 'wget' ? ['wget' as const] : []),
      ),
    }, () => {
      test('downloads a file, and accepts the finished file', async () => {
        await using folder = await temporaryFolder();
        await assertWhole(folder.path, await sh(lines[tool], folder.path));
        const again = await sh(lines[tool], folder.path);
        await assertWhole(folder.path, again);
        assert.equal(again.stdout.replaceAll('\0', '').includes('"status"'), false);
      });

      test('resumes the same version after the tag has moved', async () => {
        await using folder = await temporaryFolder();
        await assertWhole(folder.path, await sh(lines[tool], folder.path));
        await truncate(join(folder.path, FILE), 100_000);
        await push(bed.registry.url, 'library/busybox', '1.36', bed.images.shared1);
        await assertWhole(folder.path, await sh(lines[tool], folder.path));
      });

      test('fails for a refused image, and leaves no file with an error in it', async () => {
        await using folder = await temporaryFolder();
        const { code, stdout, stderr } = await sh(refused[tool], folder.path);
        assert.notEqual(code, 0);
        if (tool === 'curl') assert.match(JSON.parse(stdout).detail, /evil\.example/);
        else assert.match(stdout + stderr, /403/);
        const { size } = await stat(join(folder.path, FILE)).catch(() => ({ size: 0 }));
        assert.equal(size, 0);
      });

      test('keeps the received bytes if the rest is refused', async () => {
        await using folder = await temporaryFolder();
        const received = Buffer.alloc(5000, 'x');
        await writeFile(join(folder.path, FILE), received);
        assert.notEqual((await sh(refused[tool], folder.path)).code, 0);
        assert.deepEqual(await readFile(join(folder.path, FILE)), received);
      });
    });
  }

  test('curl fails if the service does not respond', async () => {
    await using folder = await temporaryFolder();
    const { curl } = fetchCommands('http://127.0.0.1:1/dl?myimage=a', FILE, 'docker');
    assert.notEqual((await sh(curl, folder.path)).code, 0);
  });

  suite('engines', { skip: skipUnless('dockerd', 'docker', 'podman', 'wget') }, () => {
    let engine: Dockerd;
    let podman: Podman;

    before(async () => {
      [engine, podman] = await Promise.all([startDockerd(), startPodman()]);
    });
    after(async () => {
      await engine[Symbol.asyncDispose]();
      await podman[Symbol.asyncDispose]();
    });

    for (const [tool, list] of [
      ['docker', 'docker images --format "{{.Repository}}:{{.Tag}}"'],
      ['ctr', 'ctr images ls -q'],
      ['podman', 'podman images --format "{{.Repository}}:{{.Tag}}"'],
    ] as const) {
      test(`${tool} has the image by its tag, also after a second run`, async () => {
        await using folder = await temporaryFolder();
        const { sh: inEngine } = tool === 'podman' ? podman : engine;
        for (const _ of ['first', 'second']) {
          const { code, stderr } = await inEngine(lines[tool] ?? '', folder.path);
          assert.equal(code, 0, stderr);
        }
        const { stdout } = await inEngine(list, folder.path);
        assert.ok(stdout.split('\n').includes(`${bed.busybox}:1.36`), stdout);
      });

      test(`${tool} loads nothing if the image is refused`, async () => {
        await using folder = await temporaryFolder();
        const { sh: inEngine } = tool === 'podman' ? podman : engine;
        const { code, stderr } = await inEngine(refused[tool] ?? '', folder.path);
        assert.notEqual(code, 0);
        assert.match(stderr, /ERROR 403: \w+/);
      });
    }
  });

  test('skopeo copies the image to another registry, twice', {
    skip: skipUnless('skopeo', 'wget'),
  }, async () => {
    await using folder = await temporaryFolder();
    const line = lines.skopeo
      ?.replace('registry.lan', bed.registry.host)
      .replace('copy', 'copy --dest-tls-verify=false');
    for (const _ of ['first', 'second']) await assertWhole(folder.path, await sh(line, folder.path));
    const target = `${bed.registry.url}/v2/busybox/manifests/1.36`;
    assert.equal((await httpCall(target, { method: 'HEAD' })).status, 200);
  });
});
