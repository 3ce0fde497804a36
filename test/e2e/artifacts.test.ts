import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import {
  dockerModel,
  dockerPlugin,
  emptyArtifact,
  helmChart,
  orasArtifact,
  sbomOf,
  toolIndex,
  wasmModule,
} from '../support/artifacts.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { index, type Manifest } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { busyboxImage } from '../support/standard-images.ts';
import { untarStrictly } from '../support/strict-untar.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

suite('artifacts', {
  skip: skipUnless('docker-registry', 'busybox-amd64', 'skopeo'),
}, () => {
  let registry: Registry;
  let proxy: DockerProxy;

  before(async () => {
    registry = await startRegistry();
    proxy = await startDockerProxy({
      env: { DOCKERPROXY_ALLOW: `${registry.host}/**`, DOCKERPROXY_INSECURE_REGISTRIES: registry.host },
    });
    const all: [string, string, Manifest][] = [
      ['charts/app', '1.2.3', await helmChart('app', '1.2.3')],
      ['charts/signed', '2.0.0_build.5', await helmChart('signed', '2.0.0+build.5', true)],
      ['test/files', 'v1', threeFiles()],
      ['test/wasm', 'latest', wasmModule()],
      ['test/plugin', 'latest', await dockerPlugin()],
      ['test/model', 'latest', dockerModel()],
      ['test/empty', 'latest', emptyArtifact()],
      ['test/tool', 'v1', toolIndex()],
      ['test/hostile', 'latest', hostileTitles()],
      ['library/busybox', 'latest', await busyboxImage('amd64')],
    ];
    for (const [repository, tag, manifest] of all) await push(registry.url, repository, tag, manifest);
  });

  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  const threeFiles = (): Manifest =>
    orasArtifact({
      artifactType: 'application/vnd.example.config',
      files: [
        { content: 'a: 1\n', title: 'config.yaml', mediaType: 'application/yaml' },
        { content: 'hello\n', title: 'docs/readme.md' },
        {
          content: 'a packed folder',
          title: 'assets',
          mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
          annotations: { 'io.deis.oras.content.unpack': 'true' },
        },
      ],
    });

  const HOSTILE = [
    '/etc/passwd',
    '../../.ssh/authorized_keys',
    'a//b',
    '.bashrc',
    'CON',
    'x'.repeat(300),
    'line\nbreak\u0000',
    'same',
    'SAME',
    'same/inner',
    'naïve 名前.txt',
  ];
  const hostileTitles = (): Manifest =>
    orasArtifact({ files: HOSTILE.map((title, at) => ({ content: `content ${at}`, title })) });

  const get = (name: string, query = '', headers: Record<string, string> = {}) =>
    httpCall(`${proxy.url}/dl?myimage=${registry.host}/${name}${query}`, { headers });
  const problemOf = async (name: string, query = '') => {
    const { status, body } = await get(name, query);
    return { status, problem: JSON.parse(body.toString()) as { code: string; detail: string } };
  };

  test('a chart is sent as helm names it, with headers that disarm it', async () => {
    const { status, headers, body } = await get('charts/app:1.2.3');
    assert.equal(status, 200);
    assert.equal(headers['content-disposition'], 'attachment; filename="app-1.2.3.tgz"');
    assert.equal(headers['content-type'], 'application/octet-stream');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    assert.equal(headers['content-security-policy'], "sandbox; default-src 'none'");
    assert.equal(headers['content-length'], `${body.length}`);
    const chart = (await helmChart('app', '1.2.3')).blobs[1]?.content as Uint8Array;
    assert.deepEqual(body, Buffer.from(chart));
  });

  test('a file has a length, an ETag, ranges, parts, a checksum, and a metalink', async () => {
    const name = 'charts/app:1.2.3';
    const whole = await get(name);
    const { etag = '' } = whole.headers;
    const range = await get(name, '', { range: 'bytes=10-19' });
    assert.equal(range.status, 206);
    assert.deepEqual(range.body, whole.body.subarray(10, 20));
    assert.equal((await get(name, '', { 'if-none-match': etag })).status, 304);
    const sha256 = createHash('sha256').update(whole.body).digest('hex');
    assert.equal((await get(name, '&checksum=1')).body.toString(), `${sha256}  app-1.2.3.tgz\n`);
    const metalink = (await get(name, '&metalink=1')).body.toString();
    assert.match(metalink, new RegExp(`<file name="app-1.2.3.tgz">\\n<size>${whole.body.length}</size>`));
    assert.ok(metalink.includes(sha256));
    const [, url = ''] = /<url[^>]*>([^<]*)</.exec(metalink) ?? [];
    const pinned = await httpCall(url.replaceAll('&amp;', '&'));
    assert.equal(pinned.headers.etag, etag);
    assert.match(`${pinned.headers['cache-control']}`, /immutable/);
    const part = await get(name, '&parts=1MiB&part=1');
    assert.equal(part.headers['content-disposition'], 'attachment; filename="app-1.2.3.tgz.part01of01"');
    assert.equal(part.headers['content-security-policy'], "sandbox; default-src 'none'");
  });

  test('HEAD has the headers of GET', async () => {
    for (const name of ['charts/app:1.2.3', 'test/files:v1']) {
      const url = `${proxy.url}/dl?myimage=${registry.host}/${name}`;
      const [head, whole] = [await httpCall(url, { method: 'HEAD' }), await httpCall(url)];
      for (const header of ['content-length', 'etag', 'content-disposition', 'content-security-policy'])
        assert.equal(head.headers[header], whole.headers[header], `${name} ${header}`);
    }
  });

  const plain: [name: string, filename: RegExp][] = [
    ['test/wasm', /^sha256-[0-9a-f]{64}\.wasm$/],
    ['test/plugin', /^sha256-[0-9a-f]{64}\.tar\.gz$/],
    ['test/tool:v1', /^tool$/],
  ];
  for (const [name, expected] of plain) {
    test(`the only file of ${name} is sent as it is`, async () => {
      const { status, headers } = await get(name);
      assert.equal(status, 200);
      const [, filename = ''] = /filename="(.*)"/.exec(`${headers['content-disposition']}`) ?? [];
      assert.match(filename, expected);
    });
  }

  const several: [name: string, filename: string, files: RegExp[]][] = [
    [
      'test/files:v1',
      'test_files_v1_files.tar',
      [/^config\.yaml$/, /^docs\/$/, /^docs\/readme\.md$/, /^assets\.tar\.gz$/],
    ],
    ['test/model', 'test_model_files.tar', [/^sha256-\w+\.gguf$/, /^sha256-\w+\.txt$/]],
    [
      'charts/signed:2.0.0_build.5',
      'charts_signed_2.0.0_build.5_files.tar',
      [/^signed-2\.0\.0\+build\.5\.tgz$/, /^signed-2\.0\.0\+build\.5\.tgz\.prov$/],
    ],
  ];
  for (const [name, filename, files] of several) {
    test(`the files of ${name} are sent as one tar`, async () => {
      await using folder = await temporaryFolder();
      const { headers, body } = await get(name);
      assert.equal(headers['content-type'], 'application/x-tar');
      assert.equal(headers['content-disposition'], `attachment; filename="${filename}"`);
      const names = await untarStrictly(body, folder.path);
      assert.equal(names.length, files.length, `${names}`);
      for (const [at, pattern] of files.entries()) assert.match(names[at] ?? '', pattern);
    });
  }

  test('hostile titles become safe names inside the folder, as tar unpacks them', async () => {
    await using folder = await temporaryFolder();
    const { body } = await get('test/hostile');
    await writeFile(join(folder.path, 'hostile.tar'), body);
    await runOrThrow('tar', ['-xf', 'hostile.tar'], { cwd: folder.path });
    const names = (
      await runOrThrow('tar', ['-tf', 'hostile.tar', '--quoting-style=literal'], { cwd: folder.path })
    ).stdout;
    const files = names.split('\n').filter((name) => name !== '' && !name.endsWith('/'));
    assert.equal(files.length, HOSTILE.length);
    assert.deepEqual(
      files.filter((name) => /^\/|(^|\/)\.|\/\//.test(name)),
      [],
    );
    for (const [at, name] of files.entries())
      assert.equal(await readFile(join(folder.path, name), 'utf8'), `content ${at}`);
    assert.ok(files.includes('naïve 名前.txt'));
  });

  test('a file with a name outside ASCII has it by RFC 8187', async () => {
    const content = orasArtifact({ files: [{ content: 'x', title: 'naïve 100%.txt' }] });
    await push(registry.url, 'test/unicode', 'latest', content);
    const { headers } = await get('test/unicode');
    assert.equal(
      headers['content-disposition'],
      `attachment; filename="na_ve 100_.txt"; filename*=UTF-8''na%C3%AFve%20100%25.txt`,
    );
  });

  const names = [
    'charts/app:1.2.3',
    'test/files:v1',
    'test/wasm',
    'test/plugin',
    'test/model',
    'test/empty',
    'test/tool:v1',
    'test/hostile',
  ];
  for (const name of names) {
    test(`${name} is an OCI image layout in format=oci, which holds every blob of the registry`, async () => {
      await using folder = await temporaryFolder();
      const { status, body, headers } = await get(name, '&format=oci');
      assert.equal(status, 200, body.toString().slice(0, 300));
      const paths = await untarStrictly(body, folder.path);
      const layout = JSON.parse(await readFile(join(folder.path, 'index.json'), 'utf8'));
      const [root] = layout.manifests;
      assert.equal(root.digest, headers['docker-content-digest']);
      assert.equal(layout.manifests.length, 1);
      const bytes = await readFile(join(folder.path, 'blobs', root.digest.replace(':', '/')), 'utf8');
      const { config, layers, manifests } = JSON.parse(bytes);
      for (const { digest } of [config ?? [], layers ?? [], manifests ?? []].flat())
        assert.ok(paths.includes(`blobs/${digest.replace(':', '/')}`), digest);
    });
  }

  test('skopeo copies a chart and a module from the layout to a registry, byte for byte', async () => {
    for (const name of ['charts/app:1.2.3', 'test/wasm:latest']) {
      await using folder = await temporaryFolder();
      const { body, headers } = await get(name, '&format=oci');
      const file = join(folder.path, 'artifact.tar');
      await writeFile(file, body);
      const target = `docker://${registry.host}/copies/${name}`;
      await runOrThrow('skopeo', ['copy', '--dest-tls-verify=false', `oci-archive:${file}`, target]);
      const copy = await httpCall(`${registry.url}/v2/copies/${name.replace(':', '/manifests/')}`, {
        headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
      });
      assert.equal(copy.headers['docker-content-digest'], headers['docker-content-digest'], name);
    }
  });

  const refusals: [query: string, code: string, detail: RegExp][] = [
    ['charts/app:1.2.3&format=docker', 'not-an-image', /&format=oci or &format=files\.$/],
    ['test/tool:v1&format=docker', 'not-an-image', /&format=oci or &format=files\.$/],
    ['library/busybox&format=files', 'no-files', /&format=docker, &format=oci, /],
    ['test/empty', 'no-files', /&format=oci\.$/],
    ['test/tool:v1&platform=linux/s390x', 'platform-not-found', /linux\/amd64, linux\/arm64/],
    [`charts/app:1.2.3&have=sha256:${'0'.repeat(64)}`, 'not-an-image', /&format=oci or &format=files\.$/],
  ];
  for (const [query, code, detail] of refusals) {
    test(`${query} is refused with the formats that would do`, async () => {
      const { problem } = await problemOf(query);
      assert.equal(problem.code, code);
      assert.match(problem.detail, detail);
    });
  }

  test('a file in a folder is sent under its own name, which is not hidden', async () => {
    const content = orasArtifact({ files: [{ content: 'x', title: 'home/.profile' }] });
    await push(registry.url, 'test/folder', 'latest', content);
    const { headers } = await get('test/folder');
    assert.equal(headers['content-disposition'], 'attachment; filename="_profile"');
  });

  test('an image and a chart are refused as one file, and sent as one layout', async () => {
    const both = `charts/app:1.2.3&myimage=${registry.host}/library/busybox`;
    const { problem } = await problemOf(both);
    assert.equal(problem.code, 'not-an-image');
    assert.match(problem.detail, /together with &format=oci/);
    const { status, body } = await get(both, '&format=oci');
    assert.equal(status, 200);
    await using folder = await temporaryFolder();
    await untarStrictly(body, folder.path);
    const { manifests } = JSON.parse(await readFile(join(folder.path, 'index.json'), 'utf8'));
    assert.equal(manifests.length, 2);
  });

  test('the platform chooses among the artifacts of an index', async () => {
    assert.equal((await get('test/tool:v1')).body.toString(), 'tool for amd64');
    assert.equal((await get('test/tool:v1', '&platform=linux/arm64')).body.toString(), 'tool for arm64');
  });

  test('one image comes with its SBOM, its signature, and its attestations from the index', async () => {
    const image = await busyboxImage('amd64');
    const { digest } = image.descriptor;
    const tag = digest.replace(':', '-');
    const sbom = sbomOf(image.descriptor);
    const repository = 'test/referred';
    await push(registry.url, repository, 'latest', index([image], { attestations: true }));
    await push(registry.url, repository, tag, index([sbom]));
    const signature = orasArtifact({ files: [{ content: 'a signature' }] });
    await push(registry.url, repository, `${tag}.sig`, signature);
    const { status, body } = await get(repository, '&format=oci&referrers=1');
    assert.equal(status, 200);
    await using folder = await temporaryFolder();
    const paths = await untarStrictly(body, folder.path);
    const { manifests } = JSON.parse(await readFile(join(folder.path, 'index.json'), 'utf8'));
    const names = manifests.map(
      (entry: { annotations: Record<string, string> }) =>
        entry.annotations['org.opencontainers.image.ref.name'] ??
        entry.annotations['vnd.docker.reference.digest'],
    );
    assert.deepEqual(names, ['latest', tag, `${tag}.sig`, digest]);
    assert.equal(manifests[0].digest, digest);
    assert.ok(paths.includes(`blobs/${sbom.descriptor.digest.replace(':', '/')}`));
    const file = join(folder.path, 'image.tar');
    await writeFile(file, body);
    const target = `docker://${registry.host}/copies/referred:latest`;
    await runOrThrow('skopeo', ['copy', '--dest-tls-verify=false', `oci-archive:${file}:latest`, target]);
    const plain = await get(repository, '&format=oci');
    assert.notEqual(plain.headers.etag, (await get(repository, '&format=oci&referrers=1')).headers.etag);
    assert.equal(
      (await get(`${repository}@${sbom.descriptor.digest}`)).headers['content-disposition'],
      'attachment; filename="sbom.spdx.json"',
    );
  });

  test('the API lists what refers to an image, with its kind, annotations, and download', async () => {
    const image = await busyboxImage('amd64');
    const tag = image.descriptor.digest.replace(':', '-');
    const sbom = sbomOf(image.descriptor);
    const listed = {
      ...sbom,
      descriptor: {
        ...sbom.descriptor,
        artifactType: 'application/spdx+json',
        annotations: { 'org.opencontainers.image.created': '2026-01-01T00:00:00Z' },
      },
    };
    const repository = 'test/listed';
    await push(registry.url, repository, 'latest', index([image], { attestations: true }));
    await push(registry.url, repository, tag, index([listed]));
    const signature = orasArtifact({
      files: [{ content: '{}', mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json' }],
    });
    await push(registry.url, repository, `${tag}.sig`, signature);
    const { status, body } = await httpCall(
      `${proxy.url}/api/v1/referrers?myimage=${registry.host}/${repository}`,
    );
    assert.equal(status, 200, body.toString());
    const { referrers, complete } = JSON.parse(body.toString());
    assert.equal(complete, true);
    assert.deepEqual(
      referrers.map(({ kinds }: { kinds: string[] }) => kinds),
      [['sbom'], ['signature'], ['provenance']],
    );
    const [first] = referrers;
    assert.equal(first.digest, sbom.descriptor.digest);
    assert.equal(first.size, sbom.descriptor.size);
    assert.equal(first.artifactType, 'application/spdx+json');
    assert.deepEqual(first.annotations, listed.descriptor.annotations);
    assert.equal(
      (await httpCall(`${proxy.url}${first.downloadUrl}`)).body.toString(),
      '{"spdxVersion":"SPDX-2.3"}',
    );
  });

  test('a mixed index is that of its images', async () => {
    const mixed = index([await helmChart('beside', '1.0.0'), await busyboxImage('amd64')]);
    await push(registry.url, 'test/mixed', 'latest', mixed);
    const { headers } = await get('test/mixed');
    assert.equal(headers['content-disposition'], 'attachment; filename="test_mixed.tar"');
  });
});
