import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { tagCommands } from '../../../src/download/tag-commands.ts';
import { detail } from '../../../src/errors/details.ts';
import { ServiceError } from '../../../src/errors.ts';
import { formatReference, parseReference } from '../../../src/oci/reference.ts';
import { DIGEST, ETAG, FILE, problemOf, sampleArchive, sharedServer, startServer } from '../samples.ts';

const DELTA = '/api/v1/delta?myimage=app:2.1&have=app:2.0';
const LAYER = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: DIGEST, size: 5000 };

suite('/api/v1/delta', { timeout: 600_000 }, () => {
  test('tells what a delta leaves out, and fetches nothing', async () => {
    const untagged = {
      reference: parseReference('app:2.1'),
      digest: DIGEST,
      config: DIGEST,
      platforms: [],
    };
    const omitted = {
      layers: [LAYER],
      fullSize: FILE.length + 5000,
      held: [],
      unknown: 2,
      untagged: [untagged],
    };
    await using server = await sharedServer(() => sampleArchive({ omitted }));
    const answer = await server.get(`${DELTA}&have=${DIGEST}&platform=linux/arm64&format=oci`);
    assert.deepEqual(JSON.parse(answer.body.toString()), {
      filename: 'busybox.tar',
      size: FILE.length,
      fullSize: FILE.length + 5000,
      saved: 5000,
      etag: ETAG,
      omitted: [{ digest: DIGEST, size: 5000 }],
      unknown: 2,
      untagged: [
        {
          image: 'app:2.1',
          loadedAs: `app@${DIGEST}`,
          ...tagCommands(untagged, 'busybox.tar'),
        },
      ],
      downloadUrl: `/dl?myimage=app:2.1&have=app:2.0&have=${DIGEST}&platform=linux/arm64&format=oci`,
    });
    const [request] = server.requests;
    assert.deepEqual(request?.have?.references.map(formatReference), ['docker.io/library/app:2.0']);
    assert.deepEqual(request?.have?.layers, [DIGEST]);
    assert.equal(request?.client, '127.0.0.1');
  });

  test('both images have to be allowed', async () => {
    await using server = await startServer({ deny: ['docker.io/secret/**'] });
    for (const query of ['myimage=secret/a&have=app', 'myimage=app&have=secret/a']) {
      for (const path of ['/api/v1/delta', '/dl']) {
        assert.equal(problemOf(await server.get(`${path}?${query}`)).code, 'image-not-allowed');
      }
    }
    assert.deepEqual(server.requests, []);
  });

  test('names the missing, unknown or wrong value', async () => {
    await using server = await sharedServer();
    assert.match((await server.get('/api/v1/delta?myimage=app')).reason, /have/);
    assert.equal((await server.get('/api/v1/delta?have=app')).status, 400);
    assert.equal((await server.get(`${DELTA}&parts=4GiB`)).status, 400);
    assert.equal(problemOf(await server.get('/api/v1/delta?myimage=app&have=APP')).code, 'reference-invalid');
  });

  test('if images are saved whole, that is said', async () => {
    const open = () => Promise.reject(new ServiceError('delta-unavailable', detail('engine-delta', {})));
    await using server = await startServer({ open });
    assert.equal(problemOf(await server.get(DELTA)).code, 'delta-unavailable');
  });
});

suite('a delta', { timeout: 600_000 }, () => {
  test('says in a header what it needs, and is pinned where all that it is made from is', async () => {
    const omitted = { layers: [LAYER], fullSize: FILE.length + 5000, held: [], unknown: 0, untagged: [] };
    await using server = await sharedServer(() => sampleArchive({ omitted }));
    const [image, older] = [`a@${DIGEST}`, `b@${DIGEST}`];
    const delta = await server.get(`/dl?myimage=${image}&have=${older}`);
    assert.match(
      delta.header('dockerproxy-notice') ?? '',
      /^a delta: .* the omitted layer is already present/,
    );
    assert.match(delta.header('cache-control') ?? '', /immutable/);
    const moving = await server.get(`/dl?myimage=${image}&have=b`);
    assert.equal(moving.header('cache-control'), 'public, no-cache');
  });
});
