import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { busyboxBinary } from '../support/busybox.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { startDockerd, startPodman } from '../support/engines.ts';
import { httpCall } from '../support/http-request.ts';
import { type Image, image as imageOf, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { run, runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { busyboxImage } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

/** The files of each version. Version 2.2 has a new layer below one that the older image has. */
const VERSIONS = [
  ['2.1', '2.1\n'],
  ['2.2', '2.0\n'],
] as const;
const SHELLS = [
  ['dash', () => '/bin/dash'],
  ['busybox', (busybox: string) => busybox],
] as const;

interface Described {
  loadedAs: string;
  docker: string;
  dockerBefore28: string;
  podman: string;
  ctr: string;
}

suite('deltas', { skip: skipUnless('docker-registry', 'wget', 'busybox-amd64') }, () => {
  let registry: Registry;
  let proxy: DockerProxy;
  let folder: TemporaryFolder;
  let newer: Image;

  before(async () => {
    registry = await startRegistry();
    proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host } });
    folder = await temporaryFolder();
    const one = await layer({ files: { 'etc/version': '2.0\n' } });
    const two = await layer({ files: { 'etc/version': '2.1\n' } });
    const moved = await layer({ files: { 'etc/moved': 'yes\n' } });
    newer = await busyboxImage('amd64', { layers: [one, two] });
    await push(registry.url, 'app', '2.0', await busyboxImage('amd64', { layers: [one] }));
    await push(registry.url, 'app', '2.1', newer);
    const plain = await layer({ files: { 'etc/version': '2.0\n' }, compression: 'none' });
    const packedOtherwise = await busyboxImage('amd64', { layers: [plain], compression: 'none' });
    await push(registry.url, 'app', 'plain', packedOtherwise);
    const platform = { os: 'linux', architecture: 'amd64' };
    await push(registry.url, 'app', 'other', imageOf({ platform, layers: [moved] }));
    await push(registry.url, 'app', '2.2', await busyboxImage('amd64', { layers: [moved, one] }));
  });
  after(async () => {
    for (const part of [folder, proxy, registry]) await part[Symbol.asyncDispose]();
  });

  const image = (tag: string): string => `${registry.host}/app:${tag}`;
  const wget = async (query: string): Promise<string> => {
    const target = await mkdtemp(join(folder.path, 'download-'));
    const url = `${proxy.url}/dl?${query}`;
    await runOrThrow('wget', ['--quiet', '--content-disposition', '--directory-prefix', target, url]);
    const [file = ''] = await readdir(target);
    return join(target, file);
  };
  const from = (older: string, tag: string, format = 'docker'): Promise<string> =>
    wget(`myimage=${image(tag)}&have=${image(older)}&format=${format}`);
  /** The API's description of a delta and its tag. */
  const describe = async (older: string, tag: string, format = 'docker'): Promise<Described> => {
    const query = `myimage=${image(tag)}&have=${image(older)}&format=${format}`;
    const described = JSON.parse(`${(await httpCall(`${proxy.url}/api/v1/delta?${query}`)).body}`);
    assert.equal(described.untagged?.length, 1, JSON.stringify(described));
    return described.untagged[0];
  };
  const digestOf = async (tag: string): Promise<string> =>
    `${(await httpCall(`${proxy.url}/dl?myimage=${image(tag)}`, { method: 'HEAD' })).headers['docker-content-digest']}`;
  const sizeOf = async (path: string): Promise<number> => (await stat(path)).size;

  test('docker loads a delta where the older image is, and says what is missing where it is not', {
    skip: skipUnless('dockerd', 'docker'),
  }, async () => {
    await using engine = await startDockerd();
    const delta = await from('2.0', '2.1');
    assert.match(delta, /\/app_2\.1_delta-from-2\.0\.tar$/);
    assert.ok((await sizeOf(delta)) < (await sizeOf(await wget(`myimage=${image('2.1')}`))) / 10);
    const alone = await engine.docker('load', '--input', delta);
    assert.notEqual(alone.code, 0);
    assert.match(alone.stderr, /no such file/);

    assert.equal((await engine.docker('load', '--input', await wget(`myimage=${image('2.0')}`))).code, 0);
    const loaded = await engine.docker('load', '--input', delta);
    assert.equal(loaded.stdout.trim(), `Loaded image ID: ${newer.config.descriptor.digest}`, loaded.stderr);
    const { docker, dockerBefore28 } = await describe('2.0', '2.1');
    const tagged = await engine.sh(dockerBefore28, dirname(delta));
    assert.equal(tagged.code, 0, tagged.stderr);
    // This client does not support load --platform.
    const inTwoStores = docker.replace('--platform linux/amd64 ', '');
    assert.equal((await engine.docker('rmi', image('2.1'))).code, 0);
    const again = await engine.sh(inTwoStores, dirname(delta));
    assert.equal(again.code, 0, again.stderr);
    const version = await engine.docker('run', '--rm', '--network=none', image('2.1'), 'cat', '/etc/version');
    assert.equal(version.stdout, '2.1\n', version.stderr);
    const id = await engine.docker('image', 'inspect', '--format', '{{.Id}}', image('2.1'));
    assert.equal(id.stdout.trim(), newer.config.descriptor.digest);

    // The file contains every layer above a new one, because Docker could not find it.
    assert.equal((await engine.docker('load', '--input', await from('2.0', '2.2'))).code, 0);

    // Docker prints the digests of an image's unpacked layers, which `have` accepts.
    const format = '{{range .RootFS.Layers}}&have={{.}}{{end}}';
    const have = (await engine.docker('image', 'inspect', '--format', format, image('2.0'))).stdout.trim();
    const named = await wget(`myimage=${image('2.1')}${have}`);
    assert.match(named, /app_2\.1_delta-from-2-layers-[0-9a-f]{8}\.tar$/);
    assert.equal(await sizeOf(named), await sizeOf(delta));
  });

  test('docker loads a delta from the digest of a manifest under its tag', {
    skip: skipUnless('dockerd', 'docker'),
  }, async () => {
    await using engine = await startDockerd();
    const manifest = await digestOf('2.0');
    assert.equal((await engine.docker('load', '--input', await wget(`myimage=${image('2.0')}`))).code, 0);
    const delta = await wget(`myimage=${image('2.1')}&have=${registry.host}/app@${manifest}`);
    const loaded = await engine.docker('load', '--input', delta);
    assert.match(loaded.stdout, /Loaded image: \S+app:2\.1/, loaded.stderr);
  });

  test('docker loads the archive that cat joins from parts', {
    skip: skipUnless('dockerd', 'docker'),
  }, async () => {
    await using engine = await startDockerd();
    const query = `myimage=${image('2.1')}&parts=1MiB`;
    const parts = [await wget(`${query}&part=1`), await wget(`${query}&part=2`)];
    const joined = join(folder.path, 'joined.tar');
    await runOrThrow('sh', ['-c', 'cat "$1" "$2" > "$0"', joined, ...parts]);
    const loaded = await engine.docker('load', '--input', joined);
    assert.match(loaded.stdout, /app:2\.1/, loaded.stderr);
  });

  for (const format of ['docker', 'oci']) {
    test(`podman loads a delta in the format ${format} where the older image is, and only there`, {
      skip: skipUnless('podman', 'crun'),
    }, async () => {
      await using engine = await startPodman();
      assert.notEqual((await engine.podman('load', '--input', await from('2.0', '2.1', format))).code, 0);
      assert.equal((await engine.podman('load', '--input', await wget(`myimage=${image('2.0')}`))).code, 0);
      for (const [tag, version] of VERSIONS) {
        const delta = await from('2.0', tag, format);
        const loaded = await engine.sh((await describe('2.0', tag, format)).podman, dirname(delta));
        assert.equal(loaded.code, 0, `${tag}: ${loaded.stderr}`);
        const ran = await engine.podman('run', '--rm', '--network=none', image(tag), 'cat', '/etc/version');
        assert.equal(ran.stdout, version, ran.stderr);
      }
    });

    test(`containerd imports a delta in the format ${format} where the older image is, and only there`, {
      skip: skipUnless('dockerd', 'ctr'),
    }, async () => {
      await using engine = await startDockerd();
      const targets = async (): Promise<Map<string, string>> => {
        const lines = (await engine.ctr('images', 'ls')).stdout.split('\n').slice(1).filter(Boolean);
        return new Map(lines.map((line) => line.split(/\s+/)).map(([name = '', , at = '']) => [name, at]));
      };
      const load = async (file: string): Promise<number | null> =>
        (await engine.ctr('images', 'import', file)).code;
      assert.equal(await load(await wget(`myimage=${image('other')}`)), 0);
      assert.equal((await engine.ctr('images', 'tag', image('other'), image('2.1'))).code, 0);
      const before = (await targets()).get(image('2.1'));

      // Without the older image, containerd 1.6 keeps the image of a delta and then fails to unpack it.
      const delta = await from('2.0', '2.1', format);
      const { ctr, loadedAs } = await describe('2.0', '2.1', format);
      assert.notEqual((await engine.sh(ctr, dirname(delta))).code, 0);
      assert.equal((await targets()).get(image('2.1')), before, 'the tag stays');

      // With the same layers in another compression, it imports the image without an error.
      assert.equal(await load(await wget(`myimage=${image('plain')}`)), 0);
      assert.equal(await load(delta), 0);
      const status = await engine.ctr('images', 'check', `name==${loadedAs}`);
      assert.match(status.stdout, / incomplete \(\d/, status.stdout);
      assert.notEqual((await engine.sh(ctr, dirname(delta))).code, 0);
      assert.equal((await targets()).get(image('2.1')), before, 'the tag stays');

      assert.equal(await load(await wget(`myimage=${image('2.0')}`)), 0);
      for (const [tag] of VERSIONS) {
        const file = await from('2.0', tag, format);
        const tagged = await engine.sh((await describe('2.0', tag, format)).ctr, dirname(file));
        assert.equal(tagged.code, 0, `${tag}: ${tagged.stderr}`);
      }
      assert.equal((await targets()).get(image('2.1')), newer.descriptor.digest);
    });

    test(`skopeo copies a delta in the format ${format} to a registry that has the older image, as oci-archive`, {
      skip: skipUnless('skopeo'),
    }, async () => {
      await using other = await startRegistry();
      const copy = (file: string, tag: string, transport = 'oci-archive') =>
        run('skopeo', [
          ...['copy', '--insecure-policy', '--dest-tls-verify=false'],
          ...[`${transport}:${file}`, `docker://${other.host}/app:${tag}`],
        ]);
      const delta = await from('2.0', '2.1', format);
      assert.notEqual((await copy(delta, '2.1')).code, 0);
      assert.equal((await copy(await wget(`myimage=${image('2.0')}`), '2.0')).code, 0);
      for (const [tag] of VERSIONS) {
        const copied = await copy(await from('2.0', tag, format), tag);
        assert.equal(copied.code, 0, `${tag}: ${copied.stderr}`);
      }
      const copied = await httpCall(`${other.url}/v2/app/manifests/2.1`, {
        headers: { accept: newer.descriptor.mediaType },
      });
      assert.equal(copied.headers['docker-content-digest'], newer.descriptor.digest);
      // skopeo requires every layer of such an archive, even if the registry has it.
      assert.match(
        (await copy(delta, '2.1', 'docker-archive')).stderr,
        /layer tarfiles are missing|manifest\.json: file does not exist/,
      );
    });
  }

  for (const [name, shell] of SHELLS) {
    test(`delta.sh completes a delta from the older archive, in ${name}`, {
      skip: skipUnless('skopeo'),
    }, async () => {
      await using own = await temporaryFolder();
      const [script, tools] = [join(own.path, 'delta.sh'), join(own.path, 'bin')];
      await runOrThrow('wget', ['--quiet', '-O', script, `${proxy.url}/delta.sh`]);
      const busybox = await busyboxBinary('amd64');
      await mkdir(tools);
      if (name === 'busybox') await runOrThrow(busybox, ['--install', '-s', tools]);
      const PATH = name === 'busybox' ? tools : process.env.PATH;
      const complete = (...files: string[]) =>
        run(shell(busybox), [...(name === 'busybox' ? ['sh'] : []), script, ...files], {
          cwd: own.path,
          env: { PATH, TMPDIR: own.path },
        });
      const [older, delta] = [await wget(`myimage=${image('2.0')}`), await from('2.0', '2.1')];
      const made = await complete(delta, older, 'app.tar');
      assert.equal(made.code, 0, made.stderr);
      // Exactly the files of the full archive.
      const listing = async (file: string): Promise<string[]> =>
        (await runOrThrow('tar', ['-tf', file])).stdout
          .split('\n')
          .filter((path) => path !== '' && !path.endsWith('/'))
          .sort();
      const whole = await wget(`myimage=${image('2.1')}`);
      assert.deepEqual(await listing(join(own.path, 'app.tar')), await listing(whole));
      for (const transport of ['docker-archive', 'oci-archive']) {
        const inspected = await runOrThrow('skopeo', ['inspect', `${transport}:${own.path}/app.tar`]);
        assert.equal(JSON.parse(inspected.stdout).Layers.length, 3);
      }

      const tagged = await complete(delta, older, 'tagged.tar', '2.1');
      assert.equal(tagged.code, 0, tagged.stderr);
      const filesIn = async (file: string): Promise<string> =>
        (await runOrThrow('tar', ['-xOf', file, 'index.json', 'manifest.json'])).stdout;
      assert.deepEqual(await filesIn(join(own.path, 'tagged.tar')), await filesIn(whole));
      assert.match((await complete(delta, older, 'never.tar', '2 1')).stderr, /"2 1" is not a valid tag/);
      assert.match((await complete(whole, older, 'never.tar', '3')).stderr, /already has a tag/);

      assert.match((await complete(delta, older, 'app.tar')).stderr, /app\.tar is there already/);
      const other = await wget(`myimage=${image('other')}`);
      const failed = await complete(delta, other, 'never.tar');
      assert.equal(failed.code, 1);
      assert.match(
        failed.stderr,
        /neither file has blobs\/sha256\/[0-9a-f]{64}: is .* what the delta is from\?/,
      );
      assert.match((await complete(delta)).stderr, /usage: sh delta\.sh/);
      const names = (await readdir(own.path)).filter((file) => file !== 'bin');
      assert.deepEqual(names.sort(), ['app.tar', 'delta.sh', 'tagged.tar'], 'nothing is left behind');
    });
  }

  test('the API tells what would be saved', async () => {
    const path = `/api/v1/delta?myimage=${image('2.1')}&have=${image('2.0')}`;
    const answer = JSON.parse((await httpCall(proxy.url + path)).body.toString());
    const delta = await httpCall(proxy.url + answer.downloadUrl, { method: 'HEAD' });
    const whole = await httpCall(`${proxy.url}/dl?myimage=${image('2.1')}`, { method: 'HEAD' });
    assert.equal(`${answer.size}`, delta.headers['content-length']);
    assert.equal(`${answer.fullSize}`, whole.headers['content-length']);
    assert.equal(answer.saved, answer.fullSize - answer.size);
    assert.equal(answer.etag, delta.headers.etag);
    assert.equal(answer.filename, 'app_2.1_delta-from-2.0.tar');
    assert.deepEqual(
      answer.omitted.map(({ digest }: { digest: string }) => digest),
      newer.layers.slice(0, 2).map(({ descriptor }) => descriptor.digest),
    );
    assert.match(
      `${delta.headers['dockerproxy-notice']}`,
      /a delta: it loads only where the 2 omitted layers/,
    );
    assert.deepEqual(
      answer.untagged.map(({ loadedAs }: Described) => loadedAs),
      [`${registry.host}/app@${newer.descriptor.digest}`],
    );
    assert.match(
      `${delta.headers['dockerproxy-notice']}`,
      /; the image has no tag: load it with docker load/,
    );
    const proven = `${path.replace(/have=.*/, '')}have=${registry.host}/app@${await digestOf('2.0')}`;
    assert.deepEqual(JSON.parse(`${(await httpCall(proxy.url + proven)).body}`).untagged, []);
  });

  test('have the sizes that docs/deltas.md states', async () => {
    const page = await readFile(join(import.meta.dirname, '../../docs/deltas.md'), 'utf8');
    const figures =
      /image of ([\d,]+) bytes with a new file on top is a delta of ([\d,]+)\./.exec(page) ?? [];
    const [full = 0, small = 0] = figures.slice(1).map((figure) => Number(figure.replaceAll(',', '')));
    const path = `/api/v1/delta?myimage=${image('2.1')}&have=${image('2.0')}`;
    const { size, fullSize } = JSON.parse((await httpCall(proxy.url + path)).body.toString());
    assert.equal(size, small);
    // The image contains the busybox of the distribution, whose version can change.
    assert.ok(Math.abs(fullSize - full) < full / 50, `${fullSize} bytes instead of ${full}`);
  });

  test('without a layer in common is the archive, under its name', async () => {
    const answer = await httpCall(`${proxy.url}/dl?myimage=${image('2.1')}&have=${image('other')}`);
    assert.equal(answer.headers['content-disposition'], 'attachment; filename="app_2.1.tar"');
    assert.equal(answer.headers['dockerproxy-notice'], undefined);
    const whole = await httpCall(`${proxy.url}/dl?myimage=${image('2.1')}`);
    assert.equal(answer.headers.etag, whole.headers.etag);
  });

  test('tells of digests that are of no layer, and how to name an image by one', async () => {
    const older = await busyboxImage('amd64');
    const noticeOf = async (...have: string[]): Promise<string | undefined> => {
      const named = have.map((digest) => `&have=${digest}`).join('');
      const answer = await httpCall(`${proxy.url}/dl?myimage=${image('2.1')}${named}`, { method: 'HEAD' });
      return answer.headers['dockerproxy-notice'] as string | undefined;
    };
    const [base] = newer.layers;
    assert.ok(base);
    assert.equal(
      await noticeOf(newer.descriptor.digest),
      '1 digest in have matches no layer of this archive; add the name to the digest of an image, as in app@sha256:...',
    );
    const other = `sha256:${'0'.repeat(64)}`;
    for (const known of [base.descriptor.digest, base.diffId]) {
      assert.match((await noticeOf(known)) ?? '', /^a delta: [^;]*(?:; the image has no tag: [^;]*)?$/);
      assert.match(
        (await noticeOf(known, other, older.descriptor.digest)) ?? '',
        /; 2 digests in have match no layer of this archive$/,
      );
    }
    const tree = `${proxy.url}/dl?myimage=${image('2.1')}&platform=all&format=oci&have=${other}`;
    const { headers } = await httpCall(tree, { method: 'HEAD' });
    assert.match(`${headers['dockerproxy-notice']}`, /^1 digest in have matches no layer of this archive; /);
  });

  test('from an unknown or refused image is an error', async () => {
    const missing = await httpCall(`${proxy.url}/dl?myimage=${image('2.1')}&have=${image('9')}`);
    assert.deepEqual([missing.status, JSON.parse(`${missing.body}`).code], [404, 'tag-not-found']);
    const refused = await httpCall(`${proxy.url}/dl?myimage=${image('2.1')}&have=evil.example/a`);
    assert.deepEqual([refused.status, JSON.parse(`${refused.body}`).code], [403, 'image-not-allowed']);
    const malformed = await httpCall(`${proxy.url}/dl?myimage=${image('2.1')}&have=sha256:12`);
    assert.deepEqual([malformed.status, JSON.parse(`${malformed.body}`).code], [400, 'reference-invalid']);
  });
});
