import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { parseDigest } from '../../../src/oci/digest.ts';
import { parseNamePattern } from '../../../src/oci/name-pattern.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import {
  createImageSignatures,
  type ImageSignatures,
} from '../../../src/sources/signatures/image-signatures.ts';
import { parseSigningKey } from '../../../src/trust/signing-key.ts';
import { createTrustPolicy, type TrustRule } from '../../../src/trust/trust-policy.ts';
import { createStack, type Stack } from '../../registry/stack.ts';
import {
  answering,
  type Handler,
  type HostileRegistry,
  startHostileRegistry,
} from '../../support/hostile-registry.ts';
import { type Blob, blob, image, layer, type Manifest, manifest } from '../../support/images.ts';
import { skipUnless } from '../../support/packages.ts';
import { push } from '../../support/push.ts';
import { type Registry, startRegistry } from '../../support/registry.ts';
import {
  createSigner,
  referrersOf,
  type Signer,
  signatureLayer,
  signatureManifest,
  signatureTag,
  signed,
  signedBundle,
  simpleSigning,
} from '../../support/signatures.ts';

const never = new AbortController().signal;

suite('the signatures of images', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  let registry: Registry;
  let hostile: HostileRegistry;
  let stack: Stack;
  let team: Signer;
  let stranger: Signer;
  let subject: Manifest;

  before(async () => {
    registry = await startRegistry();
    hostile = await startHostileRegistry();
    stack = createStack({ hosts: [registry.host, hostile.host] });
    team = await createSigner();
    stranger = await createSigner('stranger');
    const files = { name: 'signed' };
    subject = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [await layer({ files })] });
  });
  after(async () => {
    for (const part of [stack, team, stranger, hostile, registry]) await part[Symbol.asyncDispose]();
  });

  /** A new checker with an empty cache. */
  const fresh = (rule: Partial<TrustRule> = {}, contact?: string): ImageSignatures => {
    const keys = [parseSigningKey('team', team.pem)];
    const whole = { images: [parseNamePattern('**')], isRequired: true, keys, ...rule };
    return createImageSignatures({ client: stack.client, policy: createTrustPolicy([whole], contact) });
  };
  const referenceTo = (repository: string, host = registry.host) => parseReference(`${host}/${repository}`);
  const verdictOn = async (repository: string, checks = fresh(), host = registry.host): Promise<string> => {
    const digest = parseDigest(subject.descriptor.digest);
    try {
      await checks.require(referenceTo(repository, host), [digest], never);
      return 'signed';
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  /** Pushes objects that claim to be signatures of the subject into a new repository, and checks them. */
  const checked = async (repository: string, layers: readonly Blob[]): Promise<string> => {
    await push(registry.url, repository, signatureTag(subject.descriptor.digest), signatureManifest(layers));
    return verdictOn(repository);
  };
  const good = async (signer = team): Promise<Blob> => {
    const payload = simpleSigning(subject.descriptor.digest);
    return signatureLayer(payload, await signer.sign(payload));
  };

  test('count when one of several is by the key', async () => {
    assert.equal(await checked('one', [await good()]), 'signed');
    assert.equal(await checked('second', [await good(stranger), await good()]), 'signed');
    const bystander = blob('text/plain', Buffer.from('no signature'));
    assert.equal(await checked('beside', [bystander, await good()]), 'signed');
  });

  test('do not count for another image, from another key, or as garbage', async () => {
    const { digest } = subject.descriptor;
    const payload = simpleSigning(digest);
    const other = simpleSigning(`sha256:${'0'.repeat(64)}`);
    const tampered = Buffer.from(`${payload}`.replace('null', '{}'));
    const signature = await team.sign(payload);
    const huge = Buffer.concat([payload, Buffer.alloc(70_000, ' ')]);
    const cases: [name: string, layer: Blob][] = [
      ['another-key', await good(stranger)],
      ['another-image', signatureLayer(other, await team.sign(other))],
      ['copied', signatureLayer(payload, await team.sign(other))],
      ['tampered', signatureLayer(tampered, signature)],
      ['garbage', signatureLayer(payload, '§§§')],
      ['endless', signatureLayer(payload, signature.repeat(100))],
      ['huge', signatureLayer(huge, await team.sign(huge))],
    ];
    for (const [name, layer] of cases) assert.equal(await checked(name, [layer]), 'signature-invalid', name);
    assert.equal(await checked('empty', []), 'signature-required');
    assert.equal(await verdictOn('nothing'), 'signature-required');
  });

  test('tell how many there are, whose would count, and whom to ask', async () => {
    await checked('several', [await good(stranger), await good(stranger)]);
    const digest = parseDigest(subject.descriptor.digest);
    const refused = fresh({}, 'mailto:ops@example.org').require(referenceTo('several'), [digest], never);
    await assert.rejects(refused, {
      message: `No signature of ${registry.host}/several:latest is valid for exactly this image. Signatures found: 2. Accepted keys: team. For questions, contact ops@example.org.`,
    });
  });

  test('are checked up to fifty, and no list of thousands is read', async () => {
    const strangers = await good(stranger);
    assert.equal(await checked('fifty', [...Array(49).fill(strangers), await good()]), 'signed');
    assert.equal(await checked('many', [...Array(50).fill(strangers), await good()]), 'signature-invalid');
    await registry.reset();
    assert.equal(await checked('thousands', Array(1001).fill(strangers)), 'signature-invalid');
    const blobs = (await registry.requests()).filter(
      ({ method, path }) => method === 'GET' && /blobs/.test(path),
    );
    assert.deepEqual(blobs, []);
  });

  test('are found among what refers to an image, and only there', async () => {
    const { descriptor } = subject;
    const tag = descriptor.digest.replace(':', '-');
    const attestation = await signedBundle(team, descriptor, 'https://slsa.dev/provenance/v1');
    await push(
      registry.url,
      'referrers',
      tag,
      referrersOf([attestation, await signedBundle(stranger, descriptor)]),
    );
    assert.equal(await verdictOn('referrers'), 'signature-invalid');
    const signature = await signed(team, descriptor.digest, descriptor);
    await push(registry.url, 'referrers', tag, referrersOf([attestation, signature]));
    assert.equal(await verdictOn('referrers'), 'signed');
    const body = { ...JSON.parse(`${signature.bytes}`), artifactType: 'application/x-other' };
    const other = manifest(signature.descriptor.mediaType, body, signature.blobs, []);
    await push(registry.url, 'charts', tag, referrersOf([other]));
    assert.equal(await verdictOn('charts'), 'signature-required');
  });

  test('are found where the list of what refers to an image does not say what it is, as cosign 3.0 writes it', async () => {
    const { descriptor } = subject;
    const bundle = await signedBundle(team, descriptor);
    const bundles = await Promise.all(Array.from({ length: 10 }, () => signedBundle(stranger, descriptor)));
    const EMPTY = 'application/vnd.oci.empty.v1+json';
    const verdictOf = async (name: string, entries: readonly [Manifest, artifactType?: string][]) => {
      const mediaType = 'application/vnd.oci.image.index.v1+json';
      const manifests = entries.map(([one, artifactType]) => ({
        ...one.descriptor,
        ...(artifactType !== undefined && { artifactType }),
      }));
      const body = { schemaVersion: 2, mediaType, manifests };
      const list = manifest(mediaType, body, [], [...new Set(entries.map(([one]) => one))]);
      await push(registry.url, name, descriptor.digest.replace(':', '-'), list);
      return verdictOn(name);
    };
    assert.equal(await verdictOf('cosign30/empty', [[bundle, EMPTY]]), 'signed');
    assert.equal(await verdictOf('cosign30/absent', [[bundle]]), 'signed');
    const chart: [Manifest, string] = [bundles[0] ?? assert.fail(), 'application/x-other'];
    assert.equal(await verdictOf('cosign30/beside', [chart, [bundle, EMPTY]]), 'signed');
    const others = bundles.map((one): [Manifest, string] => [one, EMPTY]);
    assert.equal(await verdictOf('cosign30/many', [...others, [bundle, EMPTY]]), 'signature-invalid');
    const stated: [Manifest, string] = [bundle, 'application/vnd.dev.sigstore.bundle.v0.3+json'];
    assert.equal(
      await verdictOf('cosign30/stated', [...others, stated]),
      'signed',
      'what says so comes first',
    );
    const attestation = await signedBundle(team, descriptor, 'https://slsa.dev/provenance/v1');
    assert.equal(await verdictOf('cosign30/attested', [[attestation, EMPTY]]), 'signature-invalid');
  });

  test('are remembered by repository, digest and key, and only that they count', async () => {
    const checks = fresh();
    assert.equal(await verdictOn('late', checks), 'signature-required');
    await checked('late', [await good()]);
    assert.equal(await verdictOn('late', checks), 'signed', 'a moment later');
    await registry.reset();
    assert.equal(await verdictOn('late', checks), 'signed');
    assert.deepEqual(await registry.requests(), []);
    assert.equal(await verdictOn('elsewhere', checks), 'signature-required');
  });

  test('are asked for once by all who want to know at the same time', async () => {
    await checked('shared', [await good()]);
    const checks = fresh();
    await registry.reset();
    const verdicts = await Promise.all(Array.from({ length: 20 }, () => verdictOn('shared', checks)));
    assert.deepEqual(new Set(verdicts), new Set(['signed']));
    assert.equal((await registry.requests()).length, 3, 'HEAD, manifest, payload');
  });

  test('are not requested without a key', async () => {
    const digest = parseDigest(subject.descriptor.digest);
    await registry.reset();
    const shown = fresh({ isRequired: false });
    assert.equal(await shown.require(referenceTo('one'), [digest], never), undefined);
    const none = fresh({ isRequired: false, keys: [] });
    assert.equal((await none.describe(referenceTo('one'), [digest], never)).state, 'not-checked');
    assert.deepEqual(await registry.requests(), []);
    assert.equal((await shown.describe(referenceTo('one'), [digest], never)).state, 'signed');
  });

  test('are found by the list that a registry has of referrers, too', async () => {
    // Debian's registry has no such list.
    const { descriptor } = subject;
    const found = await signedBundle(team, descriptor);
    const blobs = new Map(found.blobs.map(({ descriptor: { digest }, content }) => [digest, content]));
    hostile.at(`/v2/listed/app/referrers/${descriptor.digest}`, answering(referrersOf([found]).bytes));
    hostile.misbehave('listed/app', {
      manifest: (request, response) => {
        if (request.url?.endsWith(found.descriptor.digest)) return answering(found.bytes)(request, response);
        response.writeHead(404).end();
      },
      blob: (request, response) => {
        const content = blobs.get(request.url?.split('/').at(-1) ?? '');
        assert.ok(content instanceof Uint8Array);
        answering(content)(request, response);
      },
    });
    assert.equal(await verdictOn('listed/app', fresh(), hostile.host), 'signed');
    const asked = hostile.requests('listed/app').map(({ method, url }) => `${method} ${url?.split('/')[4]}`);
    assert.deepEqual(asked, ['HEAD manifests', 'GET referrers', 'GET manifests', 'GET blobs']);
  });

  for (const status of [401, 403, 404, 405]) {
    test(`are found where HEAD is answered with ${status}, and GET is not`, async () => {
      const signatures = signatureManifest([await good()]);
      const name = `headless/${status}`;
      const content = (at: string): unknown =>
        signatures.blobs.find(({ descriptor: { digest } }) => at.endsWith(digest))?.content;
      hostile.misbehave(name, {
        manifest: (request, response) => {
          const isThere = request.url?.endsWith(signatureTag(subject.descriptor.digest)) === true;
          if (isThere && request.method === 'GET') return answering(signatures.bytes)(request, response);
          response.writeHead(request.method === 'HEAD' ? status : 404).end();
        },
        blob: (request, response) => answering(content(request.url ?? ''))(request, response),
      });
      assert.equal(await verdictOn(name, fresh(), hostile.host), 'signed');
    });
  }

  suite('at a hostile registry', () => {
    const payload = (): Buffer => simpleSigning(subject.descriptor.digest);
    /** Serves a manifest of signatures under cosign's tag, and nothing else. */
    const serving = (repository: string, body: unknown, blobs: Handler): void =>
      hostile.misbehave(repository, {
        manifest: (request, response) => {
          if (request.url?.endsWith('.sig')) return answering(body)(request, response);
          response.writeHead(404).end();
        },
        blob: blobs,
      });
    const bodyOf = (layer: Blob): unknown => JSON.parse(`${signatureManifest([layer]).bytes}`);

    test('a payload that is not what its digest says does not count', async () => {
      const lie = signatureLayer(Buffer.from('x'.repeat(payload().length)), await team.sign(payload()));
      serving('evil/lie', bodyOf(lie), answering(payload()));
      assert.equal(await verdictOn('evil/lie', fresh(), hostile.host), 'signature-invalid');
    });

    test('content other than a manifest does not count', async () => {
      for (const [at, body] of ['no JSON', [], {}, { layers: {} }, { layers: [{}] }].entries()) {
        serving(`evil/manifest${at}`, body, answering('x'));
        const verdict = await verdictOn(`evil/manifest${at}`, fresh(), hostile.host);
        assert.equal(verdict, 'signature-invalid', JSON.stringify(body));
      }
    });

    test('with a failing one, no image passes, and the error says that signatures cannot be checked', async () => {
      hostile.misbehave('evil/down', {
        manifest: (_request, response) => void response.writeHead(503).end(),
      });
      assert.equal(await verdictOn('evil/down', fresh(), hostile.host), 'registry-unavailable');
      const digest = parseDigest(subject.descriptor.digest);
      const details = await fresh().describe(referenceTo('evil/down', hostile.host), [digest], never);
      const { reason = '', ...rest } = details;
      assert.deepEqual(rest, { state: 'not-checked', keys: [], isRequired: true });
      assert.match(reason, /^The signature of .*evil\/down:latest cannot be checked at the moment\. /);
    });

    test('an aborted request does not wait for it', async () => {
      hostile.misbehave('evil/hanging', { manifest: () => {} });
      const leaving = new AbortController();
      const digest = parseDigest(subject.descriptor.digest);
      const waiting = fresh().require(referenceTo('evil/hanging', hostile.host), [digest], leaving.signal);
      leaving.abort(new Error('left'));
      await assert.rejects(waiting, { message: 'left' });
    });
  });
});
