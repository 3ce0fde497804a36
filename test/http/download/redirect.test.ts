import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parsePlatform } from '../../../src/oci/platform.ts';
import { DIGEST, sampleArchive, sharedServer, startServer } from '../samples.ts';

const OTHER = `sha256:${'b'.repeat(64)}`;

suite('redirect=1', { timeout: 600_000 }, () => {
  for (const [asked, location] of [
    ['/dl?myimage=busybox', `/dl?myimage=busybox@${DIGEST}`],
    ['/dl?myimage=docker.io/library/busybox:1.36&platform=linux/arm64', `/dl?myimage=busybox@${DIGEST}`],
    [`/dl?myimage=busybox:1.36@${OTHER}&stream=1`, `/dl?myimage=busybox@${DIGEST}`],
    ['/dl?myimage=ghcr.io/org/app&format=oci', `/dl?myimage=ghcr.io/org/app@${DIGEST}&format=oci`],
    ['/dl?myimage=app/x&format=oci&platform=all', `/dl?myimage=app/x@${DIGEST}&platform=all&format=oci`],
    [
      '/dl?myimage=app/x&format=oci&platform=linux/arm64,linux/amd64',
      `/dl?myimage=app/x@${DIGEST}&platform=linux/arm64%2Clinux/amd64&format=oci`,
    ],
    ['/dl/org/app:1.tar?', `/dl?myimage=org/app@${DIGEST}`],
    ['/dl/busybox.tar.sha256?', `/dl?myimage=busybox@${DIGEST}&checksum=1`],
    ['/dl?myimage=busybox&parts=1MiB&part=2', `/dl?myimage=busybox@${DIGEST}&parts=1048576&part=2`],
  ] as const) {
    test(`leads from ${asked} to ${location}`, async () => {
      await using server = await sharedServer();
      for (const method of ['GET', 'HEAD']) {
        const answer = await server.send(method, `${asked}&redirect=1`);
        assert.equal(answer.status, 307, answer.head);
        assert.equal(answer.header('location'), location);
        assert.equal(answer.header('cache-control'), 'public, no-cache');
        assert.equal(answer.header('vary'), undefined);
        assert.equal(answer.header('docker-content-digest'), DIGEST);
        assert.equal(answer.body.length, 0);
      }
      assert.deepEqual(server.requests[0], server.requests[1], 'a HEAD asks for what a GET does');
      // The file of the source in memory has one part.
      assert.equal((await server.get(location.replace('part=2', 'part=1'))).status, 200);
    });
  }

  test('points at a bundle in its order, which is cacheable forever', async () => {
    await using server = await startServer({
      open: () => ({ ...sampleArchive(), digests: [DIGEST, OTHER] as never }),
    });
    const answer = await server.get('/dl?myimage=b&myimage=a:1&redirect=1');
    assert.equal(answer.header('location'), `/dl?myimage=b@${DIGEST}&myimage=a@${OTHER}`);
    const file = await server.get(answer.header('location') ?? '');
    assert.equal(file.header('cache-control'), 'public, max-age=31536000, immutable');
    assert.equal(file.header('vary'), undefined);
  });

  test('names the base of a delta by digest and the named layers; without omitted layers, no base', async () => {
    const layer = { mediaType: 'application/octet-stream', digest: DIGEST, size: 1 };
    let layers = [layer];
    await using server = await startServer({
      open: () =>
        sampleArchive({ omitted: { layers, fullSize: 1, held: [OTHER as never], unknown: 0, untagged: [] } }),
    });
    const asked = `/dl?myimage=busybox&have=busybox:1.35&have=${DIGEST}&redirect=1`;
    const answer = await server.get(asked);
    const there = `have=busybox@${OTHER}&have=${DIGEST}`;
    assert.equal(answer.header('location'), `/dl?myimage=busybox@${DIGEST}&${there}`);
    const file = await server.get(answer.header('location') ?? '');
    assert.equal(file.header('cache-control'), 'public, max-age=31536000, immutable');
    layers = [];
    assert.equal((await server.get(asked)).header('location'), `/dl?myimage=busybox@${DIGEST}`);
  });

  test('takes no download slot', async () => {
    await using server = await startServer({ limits: { downloadsPerIp: 1 } });
    const answers = await Promise.all(
      ['a', 'b', 'c'].map((image) => server.get(`/dl?myimage=${image}&redirect=1`)),
    );
    assert.deepEqual(
      answers.map(({ status }) => status),
      [307, 307, 307],
    );
  });

  test('says that a tag is an old one, where its registry does not answer', async () => {
    await using server = await sharedServer(() => ({ ...sampleArchive(), staleSince: 0 }));
    const answer = await server.get('/dl?myimage=busybox&redirect=1');
    assert.match(answer.header('dockerproxy-notice') ?? '', /registry does not answer/);
  });

  test('is refused where images come from an engine, and where it is neither 0 nor 1', async () => {
    await using engine = await startServer({ traits: { isReproducible: false } });
    assert.equal((await engine.get('/dl?myimage=busybox&redirect=1')).status, 400);
    assert.equal(engine.requests.length, 0);
    assert.equal((await engine.get('/dl?myimage=busybox&redirect=2')).status, 400);
    assert.equal((await engine.get('/dl?myimage=busybox&redirect=0')).status, 200);
  });
});

suite('cache headers', { timeout: 600_000 }, () => {
  const PINNED = `/dl?myimage=busybox@${DIGEST}`;

  test('a file by digest is the same for everyone, forever, in all its answers', async () => {
    await using server = await sharedServer();
    const whole = await server.get(PINNED);
    const etag = whole.header('etag') ?? '';
    const answers = [
      whole,
      await server.get(PINNED, { range: 'bytes=0-9' }),
      await server.get(PINNED, { 'if-none-match': etag }),
      await server.send('HEAD', PINNED),
      await server.get(PINNED, { accept: 'text/html', 'accept-encoding': 'gzip', 'accept-language': 'fa' }),
    ];
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 206, 304, 200, 200],
    );
    for (const answer of answers) {
      assert.equal(answer.header('cache-control'), 'public, max-age=31536000, immutable', answer.head);
      assert.match(answer.header('etag') ?? '', /^"[^"]+"$/);
      assert.equal(answer.header('etag'), etag);
      assert.equal(answer.header('vary'), undefined);
      assert.equal(answer.header('set-cookie'), undefined);
    }
  });

  test('a file of an index is forever where the URL says for which platform', async () => {
    const platform = parsePlatform('linux/arm64');
    await using server = await sharedServer(() => sampleArchive({ platform }));
    const cacheControl = async (url: string) => (await server.get(url)).header('cache-control');
    assert.equal(await cacheControl(PINNED), 'public, no-cache', 'the default of this service chose');
    assert.match((await cacheControl(`${PINNED}&platform=linux/arm64`)) ?? '', /immutable$/);
  });

  test('refusals are not cached', async () => {
    await using server = await startServer({ allow: [] });
    const answer = await server.get(PINNED);
    assert.equal(answer.status, 403);
    assert.equal(answer.header('cache-control'), 'no-store');
  });
});
