import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';
import { parseArchiveQuery } from '../../src/download/query.ts';
import { formatPlatform } from '../../src/oci/platform.ts';
import {
  checkCommands,
  downloadUrl,
  exactDownload,
  fetchCommands,
  loadCommands,
  pullCommands,
} from '../../web/commands.js';

suite('commands that the page offers to copy', () => {
  test('the URL is one that the server understands, and has nothing to spare', () => {
    const all = { images: ['busybox', 'ghcr.io/org/app:1.2'], platform: 'linux/arm64', format: 'oci' };
    const url = downloadUrl(all);
    assert.equal(url, '/dl?myimage=busybox&myimage=ghcr.io/org/app:1.2&platform=linux/arm64&format=oci');
    const { searchParams } = new URL(url, 'http://a');
    const { references, platform, format } = parseArchiveQuery({
      myimage: searchParams.getAll('myimage'),
      platform: searchParams.get('platform') ?? '',
      format: searchParams.get('format') ?? '',
    });
    assert.deepEqual(
      [references.length, platform && formatPlatform(platform), format],
      [2, 'linux/arm64', 'oci'],
    );
    assert.equal(downloadUrl({ images: ['a'], platform: '', format: 'docker' }), '/dl?myimage=a');
  });

  test('nothing in a URL ends the quotes of a shell', () => {
    const url = downloadUrl({ images: ["a';rm -rf ~;'"], platform: '', format: 'docker' });
    assert.doesNotMatch(url, /['\s;]/);
  });

  test('a file whose publisher gave it any name is checked by that name, and runs nothing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'commands-'));
    try {
      const name = "a'; touch run; $(touch run)  `touch run` ’; touch run; ’.txt";
      await writeFile(join(folder, name), '');
      const sum = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
      const { linux, powershell } = checkCommands([`${sum}  ${name}`]);
      const { stdout } = await promisify(execFile)('sh', ['-c', linux], { cwd: folder });
      assert.match(stdout, /: OK$/m);
      assert.deepEqual(await readdir(folder), [name]);
      // PowerShell doubles quotes, and takes curly ones for quotes.
      const quoted = "'a''; touch run; $(touch run)  `touch run` ’’; touch run; ’’.txt'";
      assert.equal(powershell, `(Get-FileHash -LiteralPath ${quoted}).Hash -eq '${sum}'`);
      assert.ok(
        fetchCommands('https://a/dl?myimage=b', name, 'files').PowerShell?.includes(` -o ${quoted} `),
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  const url = (...images: string[]) =>
    `https://dl.example.org${downloadUrl({ images, platform: '', format: 'docker' })}`;
  const toolsOf = (format: Portal.Format, ...images: string[]) =>
    Object.keys(fetchCommands(url(...images), 'app.tar', format));
  const DOWNLOADERS = ['wget', 'curl', 'aria2c', 'PowerShell'];
  const OF_ONE = ['apptainer', 'udocker', 'skopeo'];

  test('each tool has a line for the formats that it loads', () => {
    const containerd = ['nerdctl', 'ctr', 'k3s', 'kind'];
    const all = [...DOWNLOADERS, 'docker', 'podman', ...containerd, ...OF_ONE];
    assert.deepEqual(toolsOf('docker', 'app'), all);
    assert.deepEqual(toolsOf('docker-classic', 'app'), all);
    assert.deepEqual(
      toolsOf('oci', 'app'),
      all.filter((tool) => tool !== 'docker'),
    );
    assert.deepEqual(toolsOf('docker', 'app', 'base'), [...DOWNLOADERS, 'docker', 'podman', ...containerd]);
    assert.deepEqual(toolsOf('oci', 'app', 'base'), [...DOWNLOADERS, ...containerd]);
    assert.deepEqual(toolsOf('rootfs', 'app'), [...DOWNLOADERS, 'tar', 'machinectl', 'docker']);
    assert.deepEqual(toolsOf('files', 'chart'), [...DOWNLOADERS, 'tar']);
    for (const file of ['model.gguf', 'app.tar.part1of2'])
      assert.deepEqual(Object.keys(fetchCommands(url('chart'), file, 'files')), DOWNLOADERS);
  });

  test('a line downloads the file by its name, then loads it', () => {
    const image = 'ghcr.io/org/app:1.2@sha256:0';
    const lines = fetchCommands(url(image), 'org_app_1.2.tar', 'docker');
    const wget = `wget -c -O org_app_1.2.tar 'https://dl.example.org/dl?myimage=${image}'`;
    assert.deepEqual([lines.wget, lines.docker], [wget, `${wget} && docker load -i org_app_1.2.tar`]);
    assert.equal(
      lines.PowerShell,
      `curl.exe -fL -C - -o org_app_1.2.tar '${url(image)}'; if ($LASTEXITCODE -eq 22) { curl.exe -sSL --fail-with-body -r -1 '${url(image)}' }`,
    );
    assert.match(lines.skopeo ?? '', / docker:\/\/registry\.lan\/app:1\.2$/);
    for (const line of Object.values(lines)) assert.ok(line.includes(`'${url(image)}'`), line);
  });

  test('a download is exact by the digests of its images, and by the platform of an index', () => {
    const image = (name: string, indexDigest: string | null, platform: string | null): Portal.Image =>
      ({ name, pinned: `${name}@sha256:0`, indexDigest, platform }) as Portal.Image;
    const exact = (found: Portal.Image[], platform = '') =>
      exactDownload(found, { platform, format: 'docker' });
    const of = (images: string[], platform: string) => ({
      images: images.map((name) => `${name}@sha256:0`),
      platform,
      format: 'docker',
    });
    const index = image('a:1', 'sha256:1', 'linux/amd64');
    assert.deepEqual(exact([image('a:1', null, 'linux/amd64')]), of(['a:1'], ''));
    assert.deepEqual(exact([index]), of(['a:1'], 'linux/amd64'));
    assert.deepEqual(exact([index], 'linux/arm64'), of(['a:1'], 'linux/arm64'));
    assert.deepEqual(exact([index, image('b:1', null, null)]), of(['a:1', 'b:1'], ''));
    assert.deepEqual(exact([{ ...index, pinned: null }]).images, ['a:1']);
  });

  test('images are pulled through the host of the service', () => {
    const names = ['docker.io/library/busybox:latest', 'ghcr.io/org/app@sha256:1'];
    assert.deepEqual(pullCommands('dl.example.org', names.slice(0, 1), ''), {
      'docker pull': 'docker pull dl.example.org/docker.io/library/busybox:latest',
      'podman pull': 'podman pull dl.example.org/docker.io/library/busybox:latest',
      'nerdctl pull': 'nerdctl pull dl.example.org/docker.io/library/busybox:latest',
      'ctr image pull': 'ctr image pull dl.example.org/docker.io/library/busybox:latest',
    });
    assert.equal(
      pullCommands('dl.example.org:8443', names, 'linux/arm64')['docker pull'],
      'docker pull --platform linux/arm64 dl.example.org:8443/docker.io/library/busybox:latest\n' +
        'docker pull --platform linux/arm64 dl.example.org:8443/ghcr.io/org/app@sha256:1',
    );
    assert.deepEqual(pullCommands('dl.example.org', ['registry.lan:5000/app:1'], ''), {});
  });

  test('each loader has its line, and those that need a name have one', () => {
    assert.deepEqual(loadCommands('busybox.tar', 'docker', ['busybox']).split('\n'), [
      'docker load -i busybox.tar',
      'podman load -i busybox.tar',
      'nerdctl load -i busybox.tar',
      'ctr images import busybox.tar',
      'k3s ctr images import busybox.tar',
      'kind load image-archive busybox.tar',
      'apptainer build --force busybox.sif docker-archive:busybox.tar',
      'udocker load -i busybox.tar busybox',
      'skopeo copy docker-archive:busybox.tar docker://registry.lan/busybox:latest',
    ]);
    assert.match(
      loadCommands('busybox.tar', 'oci', ['busybox']),
      /^apptainer build --force busybox\.sif oci-archive:busybox\.tar$/m,
    );
    // Docker refuses capital letters in a name, but tags have them.
    assert.match(
      loadCommands('org_app_RC1_rootfs.tar', 'rootfs', ['ghcr.io/org/app:RC1@sha256:0']),
      /^docker import org_app_RC1_rootfs\.tar app:RC1$/m,
    );
  });
});
