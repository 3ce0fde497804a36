import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { answering, type HostileRegistry, startHostileRegistry } from '../support/hostile-registry.ts';
import { type HttpResponse, httpCall } from '../support/http-request.ts';
import { blob, image, manifest, sha256 } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { type StandardImages, standardImages } from '../support/standard-images.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const EMPTY = 'application/vnd.oci.empty.v1+json';
const LONGEST_TAG = 'z'.repeat(128);
const ABSENT = `sha256:${'0'.repeat(64)}`;

/** Every MUST for registries in the parts "Pull" and "Content Discovery", by the section that has it. */
suite('distribution-spec 1.1', { skip: skipUnless('docker-registry') }, () => {
  let resources: AsyncDisposableStack;
  let registry: Registry;
  /** Has what Debian's registry lacks: lists of referrers, warnings, and wrong digests. */
  let other: HostileRegistry;
  let proxy: DockerProxy;
  let images: StandardImages;

  before(async () => {
    resources = new AsyncDisposableStack();
    registry = resources.use(await startRegistry());
    images = await standardImages(registry);
    for (const tag of ['b', 'B', 'a', '_x', '0', '10', '2'])
      await push(registry.url, 'test/tags', tag, images.helm);
    await push(registry.url, 'library/busybox', `${images.busybox.descriptor.digest.replace(':', '-')}`, {
      ...referrersIndex(),
    });
    await push(registry.url, 'test/tags', LONGEST_TAG, images.helm);
    other = resources.use(await startHostileRegistry());
    proxy = resources.use(
      await startDockerProxy({
        env: {
          DOCKERPROXY_INSECURE_REGISTRIES: `${registry.host},${other.host}`,
          DOCKERPROXY_REGISTRY_NAMES: `lab=${registry.host},other=${other.host}`,
        },
      }),
    );
  });
  after(() => resources.disposeAsync());

  /** Two artifacts that refer to busybox, and the index that a client keeps for registries without the list. */
  const referrersIndex = () => {
    const empty = blob(EMPTY, Buffer.from('{}'));
    const subject = images.busybox.descriptor;
    const artifacts = ['application/vnd.example.sbom', 'application/vnd.example.sig'].map((artifactType) =>
      manifest(
        MANIFEST,
        {
          ...{ schemaVersion: 2, mediaType: MANIFEST, artifactType, subject },
          ...{ config: empty.descriptor, layers: [empty.descriptor], annotations: { kind: artifactType } },
        },
        [empty],
        [],
      ),
    );
    const manifests = artifacts.map(({ descriptor, bytes }) => {
      const { artifactType, annotations } = JSON.parse(bytes.toString());
      return { ...descriptor, artifactType, annotations };
    });
    return manifest(INDEX, { schemaVersion: 2, mediaType: INDEX, manifests }, [], artifacts);
  };

  const call = (path: string, method = 'GET', headers: Record<string, string> = {}): Promise<HttpResponse> =>
    httpCall(`${proxy.url}/v2/${path}`, { method, headers });
  const codesOf = ({ body }: HttpResponse): string[] =>
    JSON.parse(body.toString()).errors.map(({ code }: { code: string }) => code);

  suite('Pulling manifests', () => {
    test('a GET of an existing manifest is 200 with exactly its bytes and its digest', async () => {
      for (const [path, { descriptor, bytes }] of [
        ['lab/library/busybox/manifests/latest', images.busybox],
        [`lab/library/busybox/manifests/${images.busybox.descriptor.digest}`, images.busybox],
        [`lab/library/busybox/manifests/${images.busyboxArm64.descriptor.digest}`, images.busyboxArm64],
        ['lab/library/busybox/manifests/1.35', images.busybox135],
        ['lab/test/helm/manifests/latest', images.helm],
        ['lab/test/nested/manifests/latest', images.nested],
        ['lab/test/no-media-type/manifests/latest', images.noMediaType],
      ] as const) {
        const { status, headers, body } = await call(path);
        assert.equal(status, 200, path);
        assert.equal(headers['docker-content-digest'], descriptor.digest, path);
        assert.equal(headers['content-type'], descriptor.mediaType, path);
        assert.deepEqual(body, bytes, path);
      }
    });

    test('a manifest that is not in the repository is 404', async () => {
      for (const path of [
        'lab/library/busybox/manifests/absent',
        `lab/library/busybox/manifests/${ABSENT}`,
        `lab/test/helm/manifests/${images.zstd.descriptor.digest}`,
        'lab/absent/manifests/latest',
        'lab/library/busybox/manifests/.INVALID_MANIFEST_NAME',
        `lab/library/busybox/manifests/${'a'.repeat(129)}`,
      ]) {
        const response = await call(path);
        assert.equal(response.status, 404, path);
        assert.deepEqual(codesOf(response), ['MANIFEST_UNKNOWN'], path);
      }
    });

    test('a reference is a digest or a tag of at most 128 characters', async () => {
      assert.equal((await call(`lab/test/tags/manifests/${LONGEST_TAG}`)).status, 200);
      for (const [reference, status, code] of [
        [`${LONGEST_TAG}z`, 404, 'MANIFEST_UNKNOWN'],
        ['-a', 404, 'MANIFEST_UNKNOWN'],
        ['a+b', 404, 'MANIFEST_UNKNOWN'],
        ['sha256:abc', 400, 'DIGEST_INVALID'],
        [`sha256:${'A'.repeat(64)}`, 400, 'DIGEST_INVALID'],
      ] as const) {
        const response = await call(`lab/test/tags/manifests/${reference}`);
        assert.deepEqual([response.status, codesOf(response)], [status, [code]], reference);
      }
    });

    test('a manifest whose registry states another digest is refused', async () => {
      const { bytes, descriptor } = other.honest('lie');
      const headers = { 'content-type': descriptor.mediaType, 'docker-content-digest': ABSENT };
      other.misbehave('lie', { manifest: answering(bytes, headers) });
      for (const reference of ['latest', descriptor.digest, ABSENT]) {
        const response = await call(`other/lie/manifests/${reference}`);
        assert.deepEqual([response.status, codesOf(response)], [502, ['UNAVAILABLE']], reference);
      }
    });

    test('a name has the form of the regular expression', async () => {
      for (const name of ['lab/Upper', 'lab/a..b', 'lab//a', 'lab/a___b', '-a']) {
        const response = await call(`${name}/manifests/latest`);
        assert.equal(response.status, 400, name);
        assert.deepEqual(codesOf(response), ['NAME_INVALID'], name);
      }
    });
  });

  suite('Pulling blobs', () => {
    test('a GET of an existing blob is 200 with its bytes and its digest', async () => {
      for (const { descriptor, content } of [images.busyboxAmd64.config, ...images.busyboxAmd64.layers]) {
        const { status, headers, body } = await call(`lab/library/busybox/blobs/${descriptor.digest}`);
        assert.equal(status, 200);
        assert.equal(headers['docker-content-digest'], descriptor.digest);
        assert.equal(headers['content-length'], `${descriptor.size}`);
        assert.deepEqual(body, Buffer.from(content as Uint8Array));
      }
    });

    test('a blob that is not in the repository is 404, also where another repository has it', async () => {
      const [layer] = images.zstd.layers;
      await call(`lab/test/zstd/blobs/${layer?.descriptor.digest}`);
      for (const digest of [ABSENT, layer?.descriptor.digest]) {
        for (const method of ['GET', 'HEAD']) {
          const response = await call(`lab/test/helm/blobs/${digest}`, method);
          assert.equal(response.status, 404, digest);
          if (method === 'GET') assert.deepEqual(codesOf(response), ['BLOB_UNKNOWN']);
        }
      }
    });

    test('a Range request gets the range', async () => {
      const [layer] = images.busyboxAmd64.layers;
      const path = `lab/library/busybox/blobs/${layer?.descriptor.digest}`;
      const content = Buffer.from(layer?.content as Uint8Array);
      for (const [range, start, end] of [
        ['bytes=0-0', 0, 1],
        ['bytes=1000-1999', 1000, 2000],
        [`bytes=${content.length - 7}-`, content.length - 7, content.length],
        ['bytes=-5', content.length - 5, content.length],
      ] as const) {
        const { status, headers, body } = await call(path, 'GET', { range });
        assert.equal(status, 206);
        assert.equal(headers['content-range'], `bytes ${start}-${end - 1}/${content.length}`);
        assert.deepEqual(body, content.subarray(start, end));
      }
      const past = await call(path, 'GET', { range: `bytes=${content.length}-` });
      assert.equal(past.status, 416);
      assert.equal(past.headers['content-range'], `bytes */${content.length}`);
    });
  });

  suite('Checking if content exists in the registry', () => {
    test('a HEAD of existing content is 200 with its digest and its size', async () => {
      const [layer] = images.busyboxAmd64.layers;
      assert.ok(layer);
      for (const [path, { digest, size }] of [
        ['manifests/latest', images.busybox.descriptor],
        [`manifests/${images.busyboxArm64.descriptor.digest}`, images.busyboxArm64.descriptor],
        [`blobs/${layer.descriptor.digest}`, layer.descriptor],
        [`blobs/${images.busyboxArm64.config.descriptor.digest}`, images.busyboxArm64.config.descriptor],
      ] as const) {
        const { status, headers } = await call(`lab/library/busybox/${path}`, 'HEAD');
        assert.equal(status, 200, path);
        assert.equal(headers['docker-content-digest'], digest, path);
        assert.equal(headers['content-length'], `${size}`, path);
      }
    });

    test('a HEAD of what is not in the repository is 404', async () => {
      for (const path of ['manifests/absent', `manifests/${ABSENT}`, `blobs/${ABSENT}`])
        assert.equal((await call(`lab/library/busybox/${path}`, 'HEAD')).status, 404, path);
    });
  });

  suite('Listing Tags', () => {
    const list = async (query = '') => {
      const { status, headers, body } = await call(`lab/test/tags/tags/list${query}`);
      assert.equal(status, 200);
      const { name, tags } = JSON.parse(body.toString());
      assert.equal(name, 'lab/test/tags');
      return { tags, link: headers.link };
    };
    const ALL = ['0', '10', '2', 'B', '_x', 'a', 'b', LONGEST_TAG];

    // Version 1.2 permits this order, and the conformance suite requires it.
    test('the tags are in ASCII order', async () => {
      assert.deepEqual(await list(), { tags: ALL, link: undefined });
    });

    test('n limits the list, and a Link with rel="next" points at the rest', async () => {
      const seen: string[] = [];
      for (let query = '?n=3'; query !== ''; ) {
        const { tags, link = '' } = await list(query);
        seen.push(...tags);
        const [, path = ''] =
          /^<\/v2\/lab\/test\/tags\/tags\/list([^>]*)>; rel="next"$/.exec(`${link}`) ?? [];
        assert.equal(path === '', link === '');
        assert.equal(tags.length, path === '' ? ALL.length % 3 : 3);
        query = path;
      }
      assert.deepEqual(seen, ALL);
    });

    test('n=0 is an empty list without a Link', async () => {
      assert.deepEqual(await list('?n=0'), { tags: [], link: undefined });
    });

    test('n with more digits than a list can have gets the whole list', async () => {
      for (const n of ['1000000000', '9223372036854775808', '9'.repeat(400)]) {
        const { tags, link } = await list(`?n=${n}`);
        assert.deepEqual({ tags, link }, { tags: (await list('')).tags, link: undefined }, n);
      }
    });

    test('last begins behind a tag, without n too', async () => {
      assert.deepEqual((await list('?last=B')).tags, ['_x', 'a', 'b', LONGEST_TAG]);
      assert.deepEqual((await list('?n=2&last=10')).tags, ['2', 'B']);
      assert.deepEqual((await list(`?n=2&last=${LONGEST_TAG}`)).tags, []);
    });

    test('a repository without tags is 200 with an empty list', async () => {
      other.at('/v2/untagged/tags/list', answering({ name: 'untagged', tags: null }));
      const { status, body } = await call('other/untagged/tags/list');
      assert.deepEqual([status, JSON.parse(body.toString())], [200, { name: 'other/untagged', tags: [] }]);
    });

    test('a repository that does not exist is 404', async () => {
      const response = await call('lab/absent/tags/list');
      assert.equal(response.status, 404);
      assert.deepEqual(codesOf(response), ['NAME_UNKNOWN']);
    });
  });

  suite('Listing Referrers', () => {
    const list = async (query = '', digest = images.busybox.descriptor.digest) => {
      const { status, headers, body } = await call(`lab/library/busybox/referrers/${digest}${query}`);
      assert.equal(status, 200);
      assert.equal(headers['content-type'], INDEX);
      const { schemaVersion, mediaType, manifests } = JSON.parse(body.toString());
      assert.deepEqual([schemaVersion, mediaType], [2, INDEX]);
      return { manifests, applied: headers['oci-filters-applied'] };
    };

    test('the list is an index, of the referrers tag schema where the registry has no list', async () => {
      const { manifests, applied } = await list();
      assert.deepEqual(manifests, JSON.parse(referrersIndex().bytes.toString()).manifests);
      assert.equal(applied, undefined);
    });

    test('a filter by artifactType is applied and stated', async () => {
      const { manifests, applied } = await list('?artifactType=application/vnd.example.sig');
      assert.deepEqual(
        manifests.map(({ artifactType }: { artifactType: string }) => artifactType),
        ['application/vnd.example.sig'],
      );
      assert.equal(applied, 'artifactType');
      assert.deepEqual((await list('?artifactType=application/none')).manifests, []);
    });

    test('a filter by several types lists the referrers of each, as containerd asks for them', async () => {
      const query = '?artifactType=application/vnd.example.sig&artifactType=application/none';
      const { manifests, applied } = await list(query);
      assert.equal(manifests.length, 1);
      assert.equal(applied, 'artifactType');
      const both = ['sbom', 'sig'].map((type) => `artifactType=application/vnd.example.${type}`).join('&');
      assert.equal((await list(`?${both}`)).manifests.length, 2);
    });

    test('all pages of the registry are one list, whose descriptors are unchanged', async () => {
      const { descriptor } = other.honest('subject');
      const path = `/v2/subject/referrers/${descriptor.digest}`;
      const entries = [
        { mediaType: MANIFEST, artifactType: 'application/vnd.example.sbom', annotations: { a: 'b' } },
        // The type of a config, for a manifest without a type of its own.
        { mediaType: MANIFEST, artifactType: 'application/vnd.example.config' },
        { mediaType: INDEX, annotations: { 'org.example': 'index' } },
      ].map((entry, at) => ({ ...entry, digest: sha256(Buffer.from(`${at}`)), size: at + 1 }));
      other.at(path, (request, response) => {
        const page = Number(new URL(request.url ?? '', other.url).searchParams.get('page'));
        const next = page + 1 < entries.length && `<${path}?page=${page + 1}>; rel="next"`;
        const body = { schemaVersion: 2, mediaType: INDEX, manifests: [entries[page]] };
        answering(body, { 'content-type': INDEX, ...(next && { link: next }) })(request, response);
      });
      const response = await call(`other/subject/referrers/${descriptor.digest}`);
      assert.equal(response.headers['content-type'], INDEX);
      assert.equal(response.headers.link, undefined);
      assert.deepEqual(JSON.parse(response.body.toString()).manifests, entries);
    });

    test('a descriptor has the type and the annotations of its manifest, even if a client omitted them', async () => {
      const subject = images.busyboxArm64.descriptor;
      const empty = blob(EMPTY, Buffer.from('{}'));
      const config = blob('application/vnd.example.config', Buffer.from('{}'));
      const artifactType = 'application/vnd.example.sbom';
      const annotations = { kind: 'test' };
      const fields = { schemaVersion: 2, subject, annotations };
      const typed = manifest(
        MANIFEST,
        { ...fields, mediaType: MANIFEST, artifactType, config: empty.descriptor, layers: [] },
        [empty],
        [],
      );
      const untyped = manifest(
        MANIFEST,
        { ...fields, mediaType: MANIFEST, artifactType: '', config: config.descriptor, layers: [] },
        [config],
        [],
      );
      const typedIndex = manifest(
        INDEX,
        { ...fields, mediaType: INDEX, artifactType, manifests: [] },
        [],
        [],
      );
      const untypedIndex = manifest(INDEX, { ...fields, mediaType: INDEX, manifests: [] }, [], []);
      const all = [typed, untyped, typedIndex, untypedIndex];
      const described = [
        { ...typed.descriptor, artifactType, annotations },
        { ...untyped.descriptor, artifactType: 'application/vnd.example.config', annotations },
        { ...typedIndex.descriptor, artifactType, annotations },
        { ...untypedIndex.descriptor, annotations },
      ];
      const body = { schemaVersion: 2, mediaType: INDEX, manifests: all.map(({ descriptor }) => descriptor) };
      const tag = subject.digest.replace(':', '-');
      await push(registry.url, 'library/busybox', tag, manifest(INDEX, body, [], all));
      assert.deepEqual((await list('', subject.digest)).manifests, described);
      const found = await list(`?artifactType=${artifactType}`, subject.digest);
      assert.deepEqual(found.manifests, [described[0], described[2]]);
      const without = await list('?artifactType=', subject.digest);
      assert.deepEqual(without, { manifests: [described[3]], applied: 'artifactType' });
    });

    test('a descriptor whose manifest is missing stays as it is', async () => {
      const { descriptor } = other.honest('dangling');
      const entry = { mediaType: MANIFEST, digest: ABSENT, size: 1 };
      const body = { schemaVersion: 2, mediaType: INDEX, manifests: [entry] };
      const tagged = answering(body, { 'content-type': INDEX });
      other.misbehave('dangling', {
        manifest: (request, response) =>
          request.url?.endsWith(ABSENT) ? response.writeHead(404).end() : tagged(request, response),
      });
      const response = await call(`other/dangling/referrers/${descriptor.digest}`);
      assert.deepEqual(JSON.parse(response.body.toString()).manifests, [entry]);
    });

    test('a tag of the referrers tag schema with another manifest is an empty list', async () => {
      const { descriptor } = images.helm;
      await push(registry.url, 'test/helm', descriptor.digest.replace(':', '-'), images.helm);
      const { status, body } = await call(`lab/test/helm/referrers/${descriptor.digest}`);
      assert.deepEqual([status, JSON.parse(body.toString()).manifests], [200, []]);
    });

    test('no referrers are an empty list and never 404', async () => {
      assert.deepEqual((await list('', ABSENT)).manifests, []);
    });

    test('an invalid digest is 400', async () => {
      const response = await call('lab/library/busybox/referrers/sha256:abc');
      assert.equal(response.status, 400);
      assert.deepEqual(codesOf(response), ['DIGEST_INVALID']);
    });
  });

  suite('Registry Proxying', () => {
    test('ns names the registry, and the response states it', async () => {
      const { status, headers, body } = await call(`library/busybox/manifests/latest?ns=${registry.host}`);
      assert.equal(status, 200);
      assert.equal(headers['oci-namespace'], registry.host);
      assert.deepEqual(body, images.busybox.bytes);
    });
  });

  suite('Determining Support', () => {
    test('GET /v2/ is 200', async () => {
      const { status, headers, body } = await call('');
      assert.deepEqual([status, body.toString()], [200, '{}']);
      assert.equal(headers['docker-distribution-api-version'], 'registry/2.0');
    });
  });

  suite('Deleting tags, manifests and blobs, and Push', () => {
    test('are 405 with UNSUPPORTED', async () => {
      for (const [method, path] of [
        ['DELETE', 'manifests/latest'],
        ['DELETE', `manifests/${ABSENT}`],
        ['DELETE', `blobs/${ABSENT}`],
        ['POST', 'blobs/uploads/'],
        ['PUT', 'manifests/latest'],
        ['PATCH', 'blobs/uploads/1'],
      ] as const) {
        const response = await call(`lab/library/busybox/${path}`, method);
        assert.equal(response.status, 405, `${method} ${path}`);
        assert.deepEqual(codesOf(response), ['UNSUPPORTED']);
        assert.equal(response.headers.allow, 'GET, HEAD');
      }
    });

    test('all methods except GET and HEAD are 405 with UNSUPPORTED', async () => {
      for (const method of ['OPTIONS', 'TRACE', 'PURGE', 'PROPFIND', 'QUERY', 'POST'])
        for (const path of ['', 'lab/library/busybox/manifests/latest', 'nothing']) {
          const response = await call(path, method);
          assert.equal(response.status, 405, `${method} ${path}`);
          assert.deepEqual(codesOf(response), ['UNSUPPORTED'], `${method} ${path}`);
          assert.equal(response.headers.allow, 'GET, HEAD', `${method} ${path}`);
        }
    });
  });

  suite('Warnings', () => {
    test('a warning of a registry is not passed on', async () => {
      const { bytes, descriptor } = other.honest('warning');
      const headers = { 'content-type': descriptor.mediaType, warning: `299 - "${'a'.repeat(5000)}"` };
      other.misbehave('warning', { manifest: answering(bytes, headers) });
      const response = await call('other/warning/manifests/latest');
      assert.deepEqual([response.status, response.headers.warning], [200, undefined]);
    });
  });

  suite('Error Codes', () => {
    test('each error has a code of the list and a message', async () => {
      const denied = await call('registry.example/app/manifests/latest');
      assert.equal(denied.status, 403);
      assert.deepEqual(codesOf(denied), ['DENIED']);
      assert.equal(typeof JSON.parse(denied.body.toString()).errors[0].message, 'string');
      const nothing = await call('_catalog');
      assert.equal(nothing.status, 404);
      assert.deepEqual(codesOf(nothing), ['UNSUPPORTED']);
      const malformed = await call('lab/library/busybox/manifests/%zz');
      assert.equal(malformed.status, 400);
      assert.deepEqual(codesOf(malformed), ['UNSUPPORTED']);
    });
  });

  test('an empty blob, and one without a manifest, are blobs', async () => {
    await using layer = await randomLayer(1000, 'alone');
    const empty = blob('application/octet-stream', Buffer.alloc(0));
    const platform = { os: 'linux', architecture: 'amd64' };
    const made = image({ platform, layers: [{ ...empty, diffId: sha256(Buffer.alloc(0)) }, layer] });
    await push(registry.url, 'test/odd', 'latest', made);
    const { status, headers, body } = await call(`lab/test/odd/blobs/${empty.descriptor.digest}`);
    assert.deepEqual([status, headers['content-length'], body.length], [200, '0', 0]);
    assert.equal(
      (await call(`lab/test/odd/blobs/${layer.descriptor.digest}`)).body.length,
      layer.descriptor.size,
    );
  });
});
