import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, entryPoint, startDockerProxy } from '../support/dockerproxy.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { type HttpRequest, httpCall } from '../support/http-request.ts';
import { type Image, image, index, layer, type Manifest } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { run } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import {
  createSigner,
  referrersOf,
  type Signer,
  signatureTag,
  signed,
  signedBundle,
} from '../support/signatures.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

suite('images under a policy', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  let registry: Registry;
  let proxy: DockerProxy;
  let folder: TemporaryFolder;
  let team: Signer;
  let stranger: Signer;
  let policyFile: string;
  const made = new Map<string, { list: Manifest; amd64: Image; arm64: Image }>();

  /** Pushes `team/NAME`, an index of two platforms. */
  const publish = async (name: string) => {
    const [amd64, arm64] = await Promise.all(
      ['amd64', 'arm64'].map(async (architecture) =>
        image({
          platform: { os: 'linux', architecture },
          layers: [await layer({ files: { name: `${name} for ${architecture}` } })],
        }),
      ),
    );
    assert.ok(amd64 && arm64);
    const found = { list: index([amd64, arm64]), amd64, arm64 };
    await push(registry.url, `team/${name}`, 'latest', found.list);
    made.set(name, found);
    return found;
  };
  const attach = async (name: string, { descriptor }: Manifest, signer: Signer): Promise<void> => {
    const manifest = await signed(signer, descriptor.digest);
    await push(registry.url, `team/${name}`, signatureTag(descriptor.digest), manifest);
  };
  const policyOf = (key: string, images = 'team/**'): string =>
    `[[rules]]\nimages = ["${registry.host}/other/**"]\nrequire = "none"\nkeys = ["${key}"]\n` +
    `[[rules]]\nimages = ["${registry.host}/${images}"]\nkeys = ["${key}"]\n`;
  const environment = () => ({
    DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
    DOCKERPROXY_OPERATOR_CONTACT: 'images@example.org',
    DOCKERPROXY_POLICY: policyFile,
  });
  const ask = (path: string, name: string, call?: HttpRequest, from = proxy) =>
    httpCall(`${from.url}${path.replace('REF', `${registry.host}/${name}`)}`, call);
  const codeOf = async (path: string, name: string, call?: HttpRequest, from = proxy): Promise<string> => {
    const { status, body, headers } = await ask(path, name, call, from);
    if (status < 400) return `${status}`;
    const { code = headers['content-type'] } = body.length > 0 ? JSON.parse(`${body}`) : { code: 'no body' };
    return `${status} ${code}`;
  };

  before(async () => {
    registry = await startRegistry();
    folder = await temporaryFolder();
    team = await createSigner();
    stranger = await createSigner('stranger');
    policyFile = join(folder.path, 'policy.toml');
    const both = await publish('signed');
    await attach('signed', both.list, team);
    await publish('unsigned');
    const wrong = await publish('wrong');
    await attach('wrong', wrong.list, stranger);
    const part = await publish('part');
    await attach('part', part.amd64, team);
    await push(registry.url, 'other/free', 'latest', part.list);
    await writeFile(policyFile, policyOf(team.publicKey));
    proxy = await startDockerProxy({ env: environment() });
  });
  after(async () => {
    await proxy[Symbol.asyncDispose]();
    await team[Symbol.asyncDispose]();
    await stranger[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  test('pass where the index is signed, for each platform, and where nothing is asked', async () => {
    for (const path of ['/dl?myimage=REF', '/dl?myimage=REF&platform=linux/arm64', '/dl/REF.tar']) {
      assert.equal(await codeOf(path, 'team/signed'), '200', path);
      assert.equal(await codeOf(path, 'other/free'), '200', path);
    }
  });

  test('are refused with the reason and a contact if they are unsigned, or signed by another key', async () => {
    const unsigned = await ask('/dl?myimage=REF', 'team/unsigned');
    assert.equal(unsigned.status, 403);
    assert.equal(
      JSON.parse(`${unsigned.body}`).detail,
      `${registry.host}/team/unsigned:latest is not signed. This service requires a signature by: team. For questions, contact images@example.org.`,
    );
    const wrong = await ask('/dl?myimage=REF', 'team/wrong');
    assert.equal(wrong.status, 403);
    const { code, detail } = JSON.parse(`${wrong.body}`);
    assert.equal(code, 'signature-invalid');
    assert.match(
      detail,
      /^No signature of .* is valid for exactly this image\. Signatures found: 1\. Accepted keys: team\./,
    );
  });

  test('are refused by every way to their bytes', async () => {
    const good = `${registry.host}/team/signed`;
    const ways = [
      '/dl?myimage=REF',
      '/dl/REF.tar',
      '/dl?myimage=REF&platform=linux/arm64',
      '/dl?myimage=REF&format=oci',
      '/dl?myimage=REF&checksum=1',
      '/dl/REF.tar.sha256',
      '/dl?myimage=REF&metalink=1',
      '/dl/REF.tar.meta4',
      '/dl?myimage=REF&parts=1MiB&part=1',
      '/dl?myimage=REF&parts=1MiB&checksum=1',
      `/dl?myimage=REF&have=${good}`,
      `/dl?myimage=${good}&myimage=REF`,
      '/dl?myimage=REF&platform=all&format=oci',
      '/dl?myimage=REF&platform=all&format=oci&referrers=1',
      '/dl?myimage=REF&platform=linux/amd64,linux/arm64&format=oci',
      '/dl?myimage=REF&stream=1',
      '/dl?myimage=REF&redirect=1',
      `/api/v1/delta?myimage=REF&have=${good}`,
      ...['rootfs', 'docker-classic', 'docker-classic&squash=1', 'rootfs&compress=zstd'].map(
        (format) => `/dl?myimage=REF&format=${format}`,
      ),
      '/dl?myimage=REF&format=rootfs&checksum=1',
      `/dl?myimage=${good}&myimage=REF&format=docker-classic`,
      '/file?myimage=REF&path=/name',
      '/api/v1/files?myimage=REF',
      '/api/v1/layers?myimage=REF',
    ];
    for (const way of ways) {
      assert.equal(await codeOf(way, 'team/unsigned'), '403 signature-required', way);
      assert.match(await codeOf(way, 'team/signed'), /^[23]0/, way);
      if (way.startsWith('/api')) continue;
      assert.equal((await ask(way, 'team/unsigned', { method: 'HEAD' })).status, 403, way);
    }
    const range = { headers: { range: 'bytes=512-' } };
    assert.equal(await codeOf('/dl?myimage=REF', 'team/unsigned', range), '403 signature-required');
    const status = await ask('/dl/status?myimage=REF', 'team/unsigned');
    assert.match(`${status.body}`, /^event: error\ndata: .*signature-required/m);
  });

  test('send nothing of a layer by ranges and parts that is not what was signed', async () => {
    await using fault = await startFaultProxy(registry.url);
    await using own = await temporaryFolder();
    await using large = await randomLayer(4_000_000, 'signed');
    const only = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [large] });
    const { digest } = only.descriptor;
    await push(registry.url, 'team/large', 'latest', only);
    await push(registry.url, 'team/large', signatureTag(digest), await signed(team, digest));
    const file = join(own.path, 'policy.toml');
    await writeFile(file, `[[rules]]\nimages = ["${fault.host}/**"]\nkeys = ["${team.publicKey}"]\n`);
    const env = { DOCKERPROXY_INSECURE_REGISTRIES: fault.host, DOCKERPROXY_POLICY: file };
    await using kept = await startDockerProxy({ env });
    await using bare = await startDockerProxy({ env: { ...env, DOCKERPROXY_CACHE_SIZE: '0' } });
    const url = `/dl?myimage=${fault.host}/team/large`;
    const ways: [query: string, headers: Record<string, string>][] = [
      ...[1, 2, 3].map((part): [string, Record<string, string>] => [`&parts=1MiB&part=${part}`, {}]),
      ['', { range: 'bytes=100000-100000' }],
      ['', { range: 'bytes=2000000-' }],
      ['&parts=2MiB&part=2', { range: 'bytes=1000-2000' }],
    ];
    const isLayer = (path: string): boolean => path.includes(large.descriptor.digest);
    // The fault is far from the requested ranges, whose own bytes are right.
    fault.inject(({ path }) => (isLayer(path) ? { kind: 'flip', at: 3_900_000 } : undefined));
    const wrong: string[] = [];
    for (const [query, headers] of ways) {
      for (const service of [kept, bare]) {
        const answer = await httpCall(`${service.url}${url}${query}`, { headers }).catch(() => undefined);
        if (answer !== undefined && answer.status < 400) wrong.push(`${service === kept} ${query}`);
      }
    }
    assert.deepEqual(wrong, [], 'complete answers with what nobody has signed');
    const middle = await httpCall(`${kept.url}${url}`, { headers: { range: 'bytes=2000000-2000009' } });
    assert.deepEqual([middle.status, JSON.parse(`${middle.body}`).code], [502, 'content-mismatch']);

    fault.inject(undefined);
    fault.requests.length = 0;
    const part = await httpCall(`${kept.url}${url}&parts=1MiB&part=2`);
    const whole = (await httpCall(`${kept.url}${url}`)).body;
    const size = 1_048_064;
    assert.ok(part.body.equals(whole.subarray(size, 2 * size)));
    const some = await httpCall(`${bare.url}${url}`, { headers: { range: 'bytes=2000000-2000009' } });
    assert.equal(some.status, 206);
    assert.ok(some.body.equals(whole.subarray(2_000_000, 2_000_010)));
    const asked = fault.requests.filter(({ path, status }) => isLayer(path) && status === 200);
    assert.equal(asked.length, 2, 'whole, once for the cache and once for whoever has none');
  });

  test('with one signed platform are allowed for that platform alone', async () => {
    const { amd64, arm64, list } = made.get('part') ?? assert.fail();
    assert.equal(await codeOf('/dl?myimage=REF', 'team/part'), '200');
    assert.equal(await codeOf('/dl?myimage=REF', `team/part@${amd64.descriptor.digest}`), '200');
    for (const name of ['team/part', `team/part@${list.descriptor.digest}`]) {
      assert.equal(
        await codeOf('/dl?myimage=REF&platform=linux/arm64', name),
        '403 signature-required',
        name,
      );
      const all = '/dl?myimage=REF&platform=all&format=oci';
      assert.equal(await codeOf(all, name), '403 signature-required', name);
    }
    assert.equal(
      await codeOf('/dl?myimage=REF', `team/part@${arm64.descriptor.digest}`),
      '403 signature-required',
    );
    const signedIndex = made.get('signed') ?? assert.fail();
    const digest = `team/signed@${signedIndex.amd64.descriptor.digest}`;
    assert.equal(
      await codeOf('/dl?myimage=REF', digest),
      '403 signature-required',
      'by itself it is not signed',
    );
  });

  test('are found by a signed digest', async () => {
    const { amd64 } = made.get('part') ?? assert.fail();
    const { list } = made.get('signed') ?? assert.fail();
    const locationOf = async (name: string, more = ''): Promise<string> => {
      const { headers } = await ask(`/dl?myimage=REF&redirect=1${more}`, name);
      const { location = '' } = headers;
      assert.equal((await httpCall(`${proxy.url}${location}`, { method: 'HEAD' })).status, 200, location);
      return location;
    };
    const base = `/dl?myimage=${registry.host}/team`;
    assert.equal(await locationOf('team/part'), `${base}/part@${amd64.descriptor.digest}`);
    // Another service may have another default platform.
    assert.equal(
      await locationOf('team/signed'),
      `${base}/signed@${list.descriptor.digest}&platform=linux/amd64`,
    );
    const platform = '&platform=linux/arm64';
    assert.equal(
      await locationOf('team/signed', platform),
      `${base}/signed@${list.descriptor.digest}${platform}`,
    );
    const some = '&platform=linux/arm64,linux/arm64/v8&format=oci';
    assert.match(
      await locationOf('team/signed', some),
      new RegExp(`@${list.descriptor.digest}&platform=linux/arm64`),
    );
  });

  test('pass with signatures that refer to them, as cosign 2 and 3 write them', async () => {
    for (const [name, signature] of [
      ['referred', ({ descriptor }: Manifest) => signed(team, descriptor.digest, descriptor)],
      ['bundled', ({ descriptor }: Manifest) => signedBundle(team, descriptor)],
    ] as const) {
      const { list } = await publish(name);
      assert.equal(await codeOf('/dl?myimage=REF', `team/${name}`), '403 signature-required', name);
      const tag = list.descriptor.digest.replace(':', '-');
      await push(registry.url, `team/${name}`, tag, referrersOf([await signature(list)]));
      assert.equal(await codeOf('/dl?myimage=REF', `team/${name}`), '200', name);
    }
    const { list } = await publish('attested');
    const attestation = await signedBundle(team, list.descriptor, 'https://slsa.dev/provenance/v1');
    const tag = list.descriptor.digest.replace(':', '-');
    await push(registry.url, 'team/attested', tag, referrersOf([attestation]));
    assert.equal(await codeOf('/dl?myimage=REF', 'team/attested'), '403 signature-required');
  });

  test('are shown as signed, unsigned or not checked', async () => {
    const signatureOf = async (name: string) => {
      const { status, body } = await ask('/api/v1/image?myimage=REF', name);
      assert.equal(status, 200, `${body}`);
      return JSON.parse(`${body}`).signature;
    };
    const signedOne = { state: 'signed', keys: ['team'], isRequired: true, reason: null };
    assert.deepEqual(await signatureOf('team/signed'), signedOne);
    const { reason, ...unsigned } = await signatureOf('team/unsigned');
    assert.deepEqual(unsigned, { state: 'unsigned', keys: [], isRequired: true });
    assert.match(reason, /is not signed/);
    assert.equal((await signatureOf('other/free')).state, 'unsigned');
    assert.equal((await signatureOf('other/free')).isRequired, false);

    await using free = await startDockerProxy({ env: { ...environment(), DOCKERPROXY_POLICY: undefined } });
    await registry.reset();
    const { body } = await ask('/api/v1/image?myimage=REF', 'team/signed', {}, free);
    const notChecked = { state: 'not-checked', keys: [], isRequired: false, reason: null };
    assert.deepEqual(JSON.parse(`${body}`).signature, notChecked);
    const asked = (await registry.requests()).map(({ path }) => path);
    assert.deepEqual(
      asked.filter((path) => /\.sig|referrers/.test(path)),
      [],
      'without a policy nothing is looked for',
    );
    const info = JSON.parse(`${(await httpCall(`${proxy.url}/api/v1/info`)).body}`);
    assert.deepEqual(info.policy, [
      { images: [`${registry.host}/other/**`], require: 'none', keys: ['team'] },
      { images: [`${registry.host}/team/**`], require: 'signature', keys: ['team'] },
    ]);
  });

  test('cost a HEAD for what is not there, and nothing more once they are known to be signed', async () => {
    const { list } = await publish('frugal');
    const signatureRequests = async () =>
      (await registry.requests())
        .filter(({ path }) => /sha256-/.test(path))
        .map(({ method, path }) => `${method} ${path.endsWith('.sig') ? 'signatures' : 'referrers'}`);
    await registry.reset();
    await codeOf('/dl?myimage=REF', 'team/frugal');
    const all = ['HEAD signatures', 'HEAD referrers', 'HEAD signatures', 'HEAD referrers'];
    assert.deepEqual(await signatureRequests(), all, 'of the index and of the image');
    await attach('frugal', list, team);
    await registry.reset();
    assert.equal(await codeOf('/dl?myimage=REF', 'team/frugal'), '200');
    assert.deepEqual(await signatureRequests(), ['HEAD signatures', 'GET signatures']);
    await registry.reset();
    assert.equal(await codeOf('/dl?myimage=REF', 'team/frugal'), '200');
    assert.deepEqual(await signatureRequests(), []);
  });

  test('are not saved by dockerproxy save, which leaves no file', async () => {
    const env = {
      PATH: process.env.PATH,
      HOME: folder.path,
      ...environment(),
      DOCKERPROXY_CACHE_DIR: join(folder.path, 'cache'),
      DOCKERPROXY_STATE_DIR: join(folder.path, 'state'),
    };
    const save = (name: string) =>
      run(
        process.execPath,
        [entryPoint, 'save', `${registry.host}/team/${name}`, '-o', join(folder.path, `${name}.tar`)],
        {
          env,
        },
      );
    const refused = await save('unsigned');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /team\/unsigned:latest is not signed\. /);
    assert.equal((await run('ls', [join(folder.path, 'unsigned.tar')])).code, 2);
    const saved = await save('signed');
    assert.equal(saved.code, 0, saved.stderr);
    const wrong = await run(process.execPath, [entryPoint, 'check-config'], {
      env: { ...env, DOCKERPROXY_POLICY: '/nowhere' },
    });
    assert.equal(wrong.code, 78);
    assert.match(wrong.stderr, /The file \/nowhere does not exist\./);
  });

  test('are checked by the keys that the file names after SIGHUP; a file with a mistake changes nothing', async () => {
    await using own = await temporaryFolder();
    const file = join(own.path, 'policy.toml');
    await writeFile(file, policyOf(team.publicKey));
    await using reloading = await startDockerProxy({ env: { ...environment(), DOCKERPROXY_POLICY: file } });
    const reload = async (policy: string, message: RegExp): Promise<void> => {
      const said = () => reloading.logs().filter(({ msg }) => message.test(msg)).length;
      const before = said();
      await writeFile(file, policy);
      process.kill(reloading.pid, 'SIGHUP');
      await waitFor(() => said() > before, { what: `${message}` });
    };
    const code = (name: string) => codeOf('/dl?myimage=REF', `team/${name}`, {}, reloading);
    assert.deepEqual([await code('signed'), await code('wrong')], ['200', '403 signature-invalid']);
    await reload(policyOf(stranger.publicKey), /Reloaded the settings and the access lists$/);
    assert.deepEqual([await code('signed'), await code('wrong')], ['403 signature-invalid', '200']);
    await reload('[[rules]]\nimages = ["**"]\nkeys = ["/nowhere"]', /stay as they were$/);
    assert.deepEqual([await code('signed'), await code('wrong')], ['403 signature-invalid', '200']);
    await reload('', /Reloaded the settings and the access lists$/);
    assert.deepEqual([await code('signed'), await code('unsigned')], ['200', '200']);
  });

  test('pass while their registry is down if they are known to be signed, and do not where that is not known', async () => {
    await using lost = await startRegistry();
    const small = await layer({ files: { one: '1' } });
    const only = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [small] });
    const name = `${lost.host}/team/known`;
    await push(lost.url, 'team/known', 'latest', only);
    await push(lost.url, 'team/new', 'latest', only);
    const { digest } = only.descriptor;
    await push(lost.url, 'team/known', signatureTag(digest), await signed(team, digest));
    await using own = await temporaryFolder();
    const file = join(own.path, 'policy.toml');
    const rule = (images: string): string =>
      `[[rules]]\nimages = ["${images}"]\nkeys = ["${team.publicKey}"]\n`;
    await writeFile(file, rule(name));
    const env = {
      ...environment(),
      DOCKERPROXY_POLICY: file,
      DOCKERPROXY_INSECURE_REGISTRIES: lost.host,
      DOCKERPROXY_CACHE_DIR: join(own.path, 'cache'),
    };
    {
      await using first = await startDockerProxy({ env });
      assert.equal((await httpCall(`${first.url}/dl?myimage=${name}`)).status, 200);
      assert.equal((await httpCall(`${first.url}/dl?myimage=${lost.host}/team/new`)).status, 200);
      await lost.stop();
      assert.equal((await httpCall(`${first.url}/dl?myimage=${name}`)).status, 200);
    }
    await writeFile(file, rule(`${lost.host}/**`));
    // A verified image can be verified again from the cache.
    await using second = await startDockerProxy({ env });
    assert.equal((await httpCall(`${second.url}/dl?myimage=${name}`)).status, 200);
    const { status, body } = await httpCall(`${second.url}/dl?myimage=${lost.host}/team/new`);
    assert.equal(status, 502);
    assert.match(
      JSON.parse(`${body}`).detail,
      /^The signature of .*team\/new:latest cannot be checked at the moment\. ./,
    );
  });
});
