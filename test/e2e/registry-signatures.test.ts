import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import {
  type Blob,
  blob,
  type Image,
  image,
  index,
  layer,
  type Manifest,
  manifest,
} from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { createSigner, type Signer, signatureTag, signed, signedBundle } from '../support/signatures.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

suite('the registry API under a policy', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  let registry: Registry;
  let folder: TemporaryFolder;
  let team: Signer;
  let list: Manifest;
  let [amd64, arm64, evil]: Image[] = [];
  const env = (): NodeJS.ProcessEnv => ({
    DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
    DOCKERPROXY_REGISTRY_NAMES: `lab=${registry.host}`,
    DOCKERPROXY_POLICY: join(folder.path, 'policy.toml'),
  });

  const imageOf = async (name: string, architecture = 'amd64'): Promise<Image> =>
    image({
      platform: { os: 'linux', architecture },
      // A byte that does not occur in text, but in every program.
      layers: [await layer({ files: { [name]: Uint8Array.of(0x7f, 0, 0xff) } })],
    });
  const put = (made: Manifest, tag?: string) => push(registry.url, 'team/app', tag, made);
  const tagOf = ({ descriptor }: Manifest): string => descriptor.digest.replace(':', '-');
  /** An image's content in a manifest that says that it is something else, and refers to the signed index. */
  const disguised = (made: Image, change: object): Manifest => {
    const body = { ...JSON.parse(made.bytes.toString()), subject: list.descriptor, ...change };
    return manifest(MANIFEST, body, made.blobs, []);
  };
  const relabelled = (made: Image, mediaType: string) => ({
    layers: made.layers.map(({ descriptor }) => ({ ...descriptor, mediaType })),
  });

  before(async () => {
    registry = await startRegistry();
    folder = await temporaryFolder();
    team = await createSigner();
    amd64 = await imageOf('amd64');
    arm64 = await imageOf('arm64', 'arm64');
    evil = await imageOf('evil');
    list = index([amd64, arm64]);
    await put(list, 'latest');
    await put(evil, 'evil');
    await put(await signed(team, list.descriptor.digest), signatureTag(list.descriptor.digest));
    await writeFile(
      join(folder.path, 'policy.toml'),
      `[[rules]]\nimages = ["${registry.host}/team/**"]\nkeys = ["${team.publicKey}"]\n`,
    );
  });
  after(async () => {
    await team[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  const asking =
    (proxy: DockerProxy) => async (kind: 'manifests' | 'blobs' | 'referrers', target: string) => {
      const { status, body } = await httpCall(`${proxy.url}/v2/lab/team/app/${kind}/${target}`);
      if (status < 400) return `${status}`;
      return `${status} ${JSON.parse(body.toString()).errors[0].code}`;
    };
  const blobsOf = ({ blobs }: Manifest): string[] => blobs.map(({ descriptor }: Blob) => descriptor.digest);

  test('serves a signed index, its entries once it was pulled, and their blobs once those were', async () => {
    await using proxy = await startDockerProxy({ env: env() });
    const ask = asking(proxy);
    assert.ok(amd64 && arm64);
    assert.equal(await ask('manifests', amd64.descriptor.digest), '403 DENIED');
    for (const digest of blobsOf(amd64)) assert.equal(await ask('blobs', digest), '404 BLOB_UNKNOWN');
    assert.equal(await ask('manifests', 'latest'), '200');
    assert.equal(await ask('manifests', list.descriptor.digest), '200');
    assert.equal(await ask('manifests', amd64.descriptor.digest), '200');
    for (const digest of blobsOf(amd64)) assert.equal(await ask('blobs', digest), '200');
    for (const digest of blobsOf(arm64).filter((one) => !blobsOf(amd64 as Image).includes(one)))
      assert.equal(await ask('blobs', digest), '404 BLOB_UNKNOWN');
  });

  test('serves what a process before it has learned', async () => {
    await using cache = await temporaryFolder();
    const own = { ...env(), DOCKERPROXY_CACHE_DIR: cache.path };
    assert.ok(amd64);
    {
      await using first = await startDockerProxy({ env: own });
      for (const target of ['latest', amd64.descriptor.digest])
        assert.equal(await asking(first)('manifests', target), '200');
    }
    await using second = await startDockerProxy({ env: own });
    for (const digest of blobsOf(amd64)) assert.equal(await asking(second)('blobs', digest), '200');
  });

  test('refuses an unsigned image by tag, by digest, and by its blobs', async () => {
    await using proxy = await startDockerProxy({ env: env() });
    const ask = asking(proxy);
    assert.ok(evil);
    assert.equal(await ask('manifests', 'latest'), '200');
    assert.equal(await ask('manifests', 'evil'), '403 DENIED');
    assert.equal(await ask('manifests', evil.descriptor.digest), '403 DENIED');
    assert.equal(await ask('referrers', evil.descriptor.digest), '403 DENIED');
    const own = blobsOf(evil).filter((one) => !blobsOf(amd64 as Image).includes(one));
    for (const digest of own) assert.equal(await ask('blobs', digest), '404 BLOB_UNKNOWN');
    const head = await httpCall(`${proxy.url}/v2/lab/team/app/manifests/evil`, { method: 'HEAD' });
    assert.equal(head.status, 403);
  });

  test('serves signatures and other artifacts that refer to a signed manifest, and their blobs', async () => {
    const bundle = await signedBundle(team, list.descriptor);
    const document = blob('application/spdx+json', Buffer.from('{"spdxVersion":"SPDX-2.3"}'));
    const empty = blob('application/vnd.oci.empty.v1+json', Buffer.from('{}'));
    const body = {
      ...{ schemaVersion: 2, mediaType: MANIFEST, artifactType: 'application/spdx+json' },
      ...{ config: empty.descriptor, layers: [document.descriptor], subject: list.descriptor },
    };
    const sbom = manifest(MANIFEST, body, [empty, document], []);
    for (const one of [bundle, sbom]) await put(one);
    await using proxy = await startDockerProxy({ env: env() });
    const ask = asking(proxy);
    const tag = signatureTag(list.descriptor.digest);
    assert.equal(await ask('manifests', tag), '200');
    const { headers, body: bytes } = await httpCall(`${proxy.url}/v2/lab/team/app/manifests/${tag}`);
    assert.equal(await ask('manifests', `${headers['docker-content-digest']}`), '200');
    for (const { digest } of JSON.parse(bytes.toString()).layers)
      assert.equal(await ask('blobs', digest), '200');
    for (const one of [bundle, sbom]) {
      assert.equal(await ask('manifests', one.descriptor.digest), '200');
      for (const digest of blobsOf(one)) assert.equal(await ask('blobs', digest), '200');
    }
    assert.equal(await ask('referrers', list.descriptor.digest), '200');
  });

  test('refuses an image that claims to refer to a signed one', async () => {
    assert.ok(evil);
    const claims = [
      disguised(evil, {}),
      disguised(evil, { artifactType: 'application/vnd.example.sbom' }),
      disguised(evil, relabelled(evil, 'application/vnd.dev.cosign.simplesigning.v1+json')),
      disguised(evil, { config: { ...evil.config.descriptor, mediaType: 'application/vnd.example+json' } }),
    ];
    for (const claim of claims) await put(claim);
    await using proxy = await startDockerProxy({ env: env() });
    const ask = asking(proxy);
    assert.equal(await ask('manifests', 'latest'), '200');
    for (const [at, { descriptor }] of claims.entries())
      assert.equal(await ask('manifests', descriptor.digest), '403 DENIED', `claim ${at}`);
  });

  test('refuses an image that only engines read as one', async () => {
    assert.ok(evil);
    const other = 'application/vnd.example+json';
    /** The image with another config, by default of a type that is not an image's. */
    const withConfig = (text: string, mediaType = other): Manifest => {
      const config = blob(mediaType, Buffer.from(text));
      const changed = disguised(evil as Image, { config: config.descriptor });
      return { ...changed, blobs: [config, ...(evil as Image).layers] };
    };
    const { rootfs, ...rest } = JSON.parse(`${evil.config.content}`);
    const fields = JSON.stringify(rest).slice(1, -1);
    const diffIds = JSON.stringify(rootfs.diff_ids);
    const claims = {
      'uppercase names': withConfig(`{${fields},"RootFS":{"Type":"layers","DIFF_IDS":${diffIds}}}`),
      'a long s': withConfig(`{${fields},"rootf\u017f":{"diff_id\u017f":${diffIds}}}`),
      'escaped names': withConfig(`{${fields},"rootfs":{"\\u0064iff_ids":${diffIds}}}`),
      'merged members': withConfig(`{${fields},"rootfs":{"diff_ids":${diffIds}},"rootfs":{}}`),
      'a config that is too large to parse': withConfig(
        `{${fields},"rootfs":${JSON.stringify(rootfs)},"x":[${'{},'.repeat(60_000)}{}]}`,
      ),
      'a config without unpacked layers, for Podman': withConfig(
        `{${fields},"rootfs":{"type":"layers","diff_ids":[]}}`,
        evil.config.descriptor.mediaType,
      ),
      'a second config in another case': twoConfigs(evil),
    };
    for (const claim of Object.values(claims)) await put(claim);
    await using proxy = await startDockerProxy({ env: env() });
    const ask = asking(proxy);
    assert.equal(await ask('manifests', 'latest'), '200');
    const passed: string[] = [];
    for (const [name, { descriptor }] of Object.entries(claims))
      if ((await ask('manifests', descriptor.digest)) !== '403 DENIED') passed.push(name);
    assert.deepEqual(passed, []);
  });

  /** A manifest with a harmless config and no layers, and with those of an image under names that only Go reads. */
  const twoConfigs = (made: Image): Manifest => {
    const empty = blob('application/vnd.oci.empty.v1+json', Buffer.from('{}'));
    const body = {
      ...{ schemaVersion: 2, mediaType: MANIFEST, subject: list.descriptor },
      ...{ config: empty.descriptor, layers: [] },
      ...{ Config: made.config.descriptor, Layers: made.layers.map(({ descriptor }) => descriptor) },
    };
    return manifest(MANIFEST, body, [empty, ...made.blobs], []);
  };

  test('refuses an image under the tag of a signature, and the entries of a list of referrers', async () => {
    const subject = await imageOf('subject');
    assert.ok(evil);
    await put(subject, 'subject');
    await push(registry.url, 'team/other', 'latest', subject);
    await put(await signed(team, subject.descriptor.digest), signatureTag(subject.descriptor.digest));
    await put(evil, `${tagOf(subject)}.att`);
    const body = { schemaVersion: 2, mediaType: INDEX, manifests: [evil.descriptor] };
    await put(manifest(INDEX, body, [], [evil]), tagOf(subject));
    await using proxy = await startDockerProxy({ env: env() });
    const ask = asking(proxy);
    assert.equal(await ask('manifests', 'subject'), '200');
    assert.equal(await ask('manifests', `${tagOf(subject)}.att`), '403 DENIED');
    assert.equal(await ask('manifests', tagOf(subject)), '200', 'a list is harmless by itself');
    assert.equal(await ask('manifests', evil.descriptor.digest), '403 DENIED');
  });

  test('refuses a manifest that an artifact names as its layer', async () => {
    assert.ok(evil);
    const empty = blob('application/vnd.oci.empty.v1+json', Buffer.from('{}'));
    const asLayer = blob(MANIFEST, evil.bytes);
    const body = {
      ...{ schemaVersion: 2, mediaType: MANIFEST, artifactType: 'application/vnd.example' },
      ...{ config: empty.descriptor, layers: [asLayer.descriptor], subject: list.descriptor },
    };
    const artifact = manifest(MANIFEST, body, [empty, asLayer], []);
    await put(artifact);
    await using proxy = await startDockerProxy({ env: env() });
    const ask = asking(proxy);
    assert.equal(await ask('manifests', artifact.descriptor.digest), '200');
    assert.equal(await ask('manifests', evil.descriptor.digest), '403 DENIED');
  });
});
