import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { after, before, suite, test } from 'node:test';
import { scanAll } from '../contents/layers.ts';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { listAttributes, listFiles } from '../support/file-listing.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { IMAGES, type RootfsBed, startRootfsBed, ZSTD_TWIN } from './rootfs-bed.ts';

const skip = skipUnless(
  ...(['docker-registry', 'dockerd', 'skopeo', 'umoci', 'tar', 'bsdtar', 'attr', 'debootstrap'] as const),
);

/** The commands that extract an archive with all that it has. */
const EXTRACT = {
  'GNU tar': [
    ...['tar', '--numeric-owner', '--xattrs', '--xattrs-include=*'],
    // Directories come first, so that GNU tar would set their times before it adds their files.
    ...['--delay-directory-restore', '-xpf'],
  ],
  bsdtar: ['bsdtar', '--numeric-owner', '-xpf'],
} as const;

suite('a root file system', { skip, concurrency: 2, timeout: 600_000 }, () => {
  let bed: RootfsBed;
  before(async () => {
    bed = await startRootfsBed();
  });
  after(() => bed?.[Symbol.asyncDispose]());

  const url = (name: string, more = ''): string => {
    const { platform } = IMAGES[name] ?? {};
    const choice = platform === undefined ? '' : `&platform=${platform}`;
    return `${bed.proxy.url}/dl?myimage=${bed.registry.host}/${name}&format=rootfs${choice}${more}`;
  };
  const rootfs = async (name: string): Promise<Buffer> => {
    const answer = await httpCall(url(name));
    assert.equal(answer.status, 200, answer.body.toString());
    assert.equal(Number(answer.headers['content-length']), answer.body.length);
    return answer.body;
  };
  const extract = async (program: keyof typeof EXTRACT, file: string, target: string): Promise<string> => {
    await mkdir(target);
    const [command, ...flags] = EXTRACT[program];
    await runOrThrow(command, [...flags, file, '-C', target]);
    return target;
  };
  const unpackByUmoci = async (name: string, target: string): Promise<string> => {
    const source = ['--src-tls-verify=false', `docker://${bed.registry.host}/${name}`];
    await runOrThrow('skopeo', ['copy', '-q', ...source, `oci:${target}-layout:latest`]);
    await runOrThrow('umoci', ['unpack', '--image', `${target}-layout:latest`, target]);
    return `${target}/rootfs`;
  };
  const exportByDocker = async (name: string, target: string): Promise<string> => {
    const { platform = 'linux/amd64' } = IMAGES[name] ?? {};
    const source = `${bed.registry.host}/${name}`;
    for (const command of [
      ['pull', '-q', '--platform', platform, source],
      ['create', '--platform', platform, '--name', name, source],
      ['export', '-o', `${target}.tar`, name],
      ['rm', name],
    ]) {
      const { code, stderr } = await bed.dockerd.docker(...command);
      assert.equal(code, 0, stderr);
    }
    return extract('GNU tar', `${target}.tar`, target);
  };

  for (const name of Object.keys(IMAGES))
    test(`equals docker export and umoci unpack: ${name}`, async () => {
      const tar = bed.path(`${name}.tar`);
      await writeFile(tar, await rootfs(name));
      const [own, byBsdtar, umoci, docker] = await Promise.all([
        extract('GNU tar', tar, bed.path(`${name}-own`)),
        extract('bsdtar', tar, bed.path(`${name}-bsdtar`)),
        unpackByUmoci(name, bed.path(`${name}-umoci`)),
        exportByDocker(name, bed.path(`${name}-docker`)),
      ]);
      const files = await linesOf(own);
      assertSame(files, await linesOf(umoci));
      assertSame(files.filter(isForBsdtar), await linesOf(byBsdtar));
      assertSame(asDockerExports(files), asDockerExports(await linesOf(docker)));
      await runOrThrow('rm', ['-rf', own, byBsdtar, umoci, docker]);
    });

  test('does not depend on the compression of the layers', async () => {
    const [gzip, zstd] = [await rootfs('odd'), await rootfs(ZSTD_TWIN)];
    assert.ok(gzip.equals(zstd));
  });

  test('is the same in two processes, one with a cache of its own', async () => {
    await using other = await startDockerProxy({
      env: { DOCKERPROXY_INSECURE_REGISTRIES: bed.registry.host, DOCKERPROXY_CACHE_SIZE: '0' },
    });
    const answer = await httpCall(`${other.url}/dl?myimage=${bed.registry.host}/odd&format=rootfs`);
    assert.ok(answer.body.equals(await rootfs('odd')));
  });

  test('keeps extended attributes but SELinux labels, and puts directories first', async () => {
    const entries = scanAll(await rootfs('odd'));
    const own = entries.find((entry) => entry.name === 'opt/capable');
    assert.deepEqual([...(own?.xattrs ?? [])], [['user.note', 'a\nb=c']]);
    const types = entries.map(({ type }) => type === 'directory');
    assert.equal(types.lastIndexOf(true), types.indexOf(false) - 1);
    assert.ok(entries.every((entry) => !/^\/|^\.|(?:^|\/)\.\.(?:\/|$)/.test(entry.name)));
  });

  test('is sent in ranges that are the whole together, and continues by its ETag', async () => {
    const whole = await rootfs('odd');
    const { headers } = await httpCall(url('odd'), { method: 'HEAD' });
    assert.equal(Number(headers['content-length']), whole.length);
    const etag = `${headers.etag}`;
    for (const size of [300_001, 77_777]) {
      const parts: Buffer[] = [];
      for (let at = 0; at < whole.length; at += size) {
        const range = `bytes=${at}-${at + size - 1}`;
        const part = await httpCall(url('odd'), { headers: { range, 'if-range': etag } });
        assert.equal(part.status, 206);
        parts.push(part.body);
      }
      assert.ok(Buffer.concat(parts).equals(whole));
    }
    const same = await httpCall(url('odd'), { headers: { 'if-none-match': etag } });
    assert.equal(same.status, 304);
  });

  test('runs in a chroot', async () => {
    const tar = bed.path('chroot.tar');
    await writeFile(tar, await rootfs('busybox'));
    const target = await extract('GNU tar', tar, bed.path('chroot'));
    const { stdout } = await runOrThrow('chroot', [target, '/bin/sh', '-c', 'echo inside']);
    assert.equal(stdout, 'inside\n');
  });
});

/** Docker adds these files when it creates a container, and so changes the times of two directories. */
const DOCKERS =
  /^(?:\.dockerenv|dev(?:\/(?:console|pts|shm))?|etc(?:\/(?:hostname|hosts|mtab|resolv\.conf))?|proc|sys)$/;

/** Docker exports whole seconds, and no extended attributes but capabilities. */
function asDockerExports(files: readonly string[]): string[] {
  return files
    .filter((line) => !DOCKERS.test(line.split('\t')[0] ?? ''))
    .filter((line) => !line.includes('\txattr ') || line.includes('\txattr security.capability='))
    .map((line) => line.replace(/^([^\t]*\t\S+ \S+ \S+ \d+)\d{9} /, '$1 '));
}

/** Compares lists of thousands of lines, and shows those that only one of them has. */
function assertSame(own: readonly string[], others: readonly string[]): void {
  const [left, right] = [new Set(own), new Set(others)];
  assert.deepEqual(
    own.filter((line) => !right.has(line)),
    others.filter((line) => !left.has(line)),
  );
}

async function linesOf(folder: string): Promise<string[]> {
  const files = Object.entries(listFiles(folder)).map(([path, text]) => `${path}\t${text}`);
  return [...files, ...(await listAttributes(folder))];
}

/** bsdtar sets access control lists only from records of its own format. */
function isForBsdtar(line: string): boolean {
  return !line.includes('\txattr system.');
}
