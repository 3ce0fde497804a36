import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import { detail } from '../../../src/errors/details.ts';
import { ServiceError } from '../../../src/errors.ts';
import { formatPlatformChoice } from '../../../src/oci/platform-choice.ts';
import { formatReference } from '../../../src/oci/reference.ts';
import { streamFrom } from '../../../src/util/streams.ts';
import { httpCall } from '../../support/http-request.ts';
import {
  type Answer,
  DIGEST,
  ETAG,
  FILE,
  problemOf,
  requestHead,
  sampleArchive,
  sharedServer,
  soon,
  startServer,
} from '../samples.ts';

const DL = '/dl?myimage=busybox';
const ARCHIVE_HEADERS = [
  'etag',
  'accept-ranges',
  'content-disposition',
  'docker-content-digest',
  'content-range',
  'dockerproxy-notice',
];

function assertWhole(answer: Answer): void {
  assert.equal(answer.status, 200, answer.head);
  assert.equal(answer.header('content-length'), `${FILE.length}`);
  assert.equal(answer.header('content-range'), undefined);
  assert.ok(answer.body.equals(FILE));
}

suite('a download', { timeout: 600_000 }, () => {
  test('is the file, with what describes it', async () => {
    await using server = await sharedServer();
    const answer = await server.get(DL);
    assertWhole(answer);
    assert.equal(answer.header('content-type'), 'application/x-tar');
    assert.equal(answer.header('content-disposition'), 'attachment; filename="busybox.tar"');
    assert.equal(answer.header('accept-ranges'), 'bytes');
    assert.equal(answer.header('etag'), ETAG);
    assert.equal(answer.header('docker-content-digest'), DIGEST);
    assert.equal(answer.header('dockerproxy-notice'), undefined);
    assert.equal(answer.header('transfer-encoding'), undefined);
  });

  test('asks the source for what the URL says', async () => {
    await using server = await sharedServer();
    await server.get('/dl?myimage=b/b:1&myimage=a%2Fa&platform=linux/arm64&format=oci');
    const [request] = server.requests;
    assert.deepEqual(request?.references.map(formatReference), ['docker.io/b/b:1', 'docker.io/a/a:latest']);
    assert.equal(request?.platform && formatPlatformChoice(request.platform), 'linux/arm64');
    assert.equal(request?.format, 'oci');
    assert.equal(request?.client, '127.0.0.1');
  });

  test('has a path form, for which the same holds', async () => {
    await using server = await sharedServer();
    assertWhole(await server.get('/dl/ghcr.io/org/app:1.2.tar?platform=linux/arm64'));
    assertWhole(await server.get('/dl/ghcr.io%2Forg%2Fapp%3A1.2.tar'));
    const names = server.requests.map(({ references }) => references.map(formatReference).join());
    assert.deepEqual(names, ['ghcr.io/org/app:1.2', 'ghcr.io/org/app:1.2']);
  });

  test('with several images names all their digests', async () => {
    const digests = [DIGEST, `sha256:${'0'.repeat(64)}` as typeof DIGEST];
    await using server = await sharedServer(() => sampleArchive({ digests }));
    assert.equal((await server.get(`${DL}&myimage=a`)).header('docker-content-digest'), digests.join(', '));
  });

  test('with zstd layers says which engines cannot load it', async () => {
    await using server = await sharedServer(() => sampleArchive({ zstd: true }));
    for (const method of ['GET', 'HEAD']) {
      const answer = await server.send(method, DL);
      assert.match(answer.header('dockerproxy-notice') ?? '', /zstd.*Docker Engine before 23\.0/);
    }
  });

  test('is immutable where every image is pinned by digest, and revalidated otherwise', async () => {
    await using server = await sharedServer();
    const pinned = `a/b@sha256:${'1'.repeat(64)}`;
    const cacheControl = async (path: string): Promise<string | undefined> =>
      (await server.get(path)).header('cache-control');
    const forever = 'public, max-age=31536000, immutable';
    assert.equal(await cacheControl(`/dl?myimage=${pinned}`), forever);
    assert.equal(await cacheControl(`/dl/${pinned}.tar`), forever);
    assert.equal(await cacheControl(DL), 'public, no-cache');
    assert.equal(await cacheControl(`/dl?myimage=${pinned}&myimage=busybox`), 'public, no-cache');
  });

  test('that is not allowed never reaches the source', async () => {
    await using server = await startServer({ allow: ['docker.io/**'], deny: ['docker.io/secret/**'] });
    for (const image of ['evil.example/a', 'secret/a']) {
      for (const path of [
        `/dl?myimage=${image}`,
        `/dl/${image}.tar`,
        `/dl?myimage=busybox&myimage=${image}`,
      ]) {
        const answer = await server.get(path);
        assert.equal(answer.status, 403);
        assert.equal(problemOf(answer).code, 'image-not-allowed');
      }
      assert.equal((await server.send('HEAD', `/dl?myimage=${image}`)).status, 403);
    }
    assert.deepEqual(server.requests, []);
    assert.equal(
      (await server.get('/dl?myimage=evil.example/a')).reason,
      'Images from evil.example are not allowed here',
    );
  });
});

suite('HEAD', { timeout: 600_000 }, () => {
  test('has the headers of GET and no body, and reads nothing', async () => {
    let reads = 0;
    await using server = await startServer({
      open: () => {
        const archive = sampleArchive();
        const read: typeof archive.read = (...asked) => {
          reads += 1;
          return archive.read(...asked);
        };
        return { ...archive, read };
      },
    });
    const head = await server.send('HEAD', DL);
    assert.equal(head.status, 200);
    assert.equal(head.body.length, 0);
    assert.equal(reads, 0);
    const get = await server.get(DL);
    assert.deepEqual(server.requests[0], server.requests[1], 'the source is asked the same');
    for (const name of ['content-length', 'content-type', 'cache-control', ...ARCHIVE_HEADERS]) {
      assert.equal(head.header(name), get.header(name), name);
    }
  });

  test('knows no ranges', async () => {
    await using server = await sharedServer();
    const answer = await server.send('HEAD', DL, { range: 'bytes=0-9' });
    assert.equal(answer.status, 200);
    assert.equal(answer.header('content-length'), `${FILE.length}`);
  });

  test('settles conditions', async () => {
    await using server = await sharedServer();
    assert.equal((await server.send('HEAD', DL, { 'if-none-match': ETAG })).status, 304);
    assert.equal((await server.send('HEAD', DL, { 'if-match': '"x"' })).status, 412);
  });

  test('has the status and no body for a failure', async () => {
    await using server = await startServer({
      open: () =>
        Promise.reject(new ServiceError('image-not-found', detail('image-unknown', { image: 'busybox' }))),
    });
    const answer = await server.send('HEAD', DL);
    assert.equal(answer.status, 404);
    assert.equal(answer.reason, 'Image not found');
    assert.equal(answer.body.length, 0);
  });
});

suite('conditional downloads', { timeout: 600_000 }, () => {
  for (const value of [ETAG, `W/${ETAG}`, `"x", ${ETAG}`, '*']) {
    test(`If-None-Match: ${value} is answered with 304, the validator and no body`, async () => {
      await using server = await sharedServer();
      const answer = await server.get(DL, { 'if-none-match': value, range: 'bytes=0-9' });
      assert.equal(answer.status, 304);
      assert.equal(answer.body.length, 0);
      assert.equal(answer.header('etag'), ETAG);
      assert.equal(answer.header('cache-control'), 'public, no-cache');
    });
  }

  test('If-None-Match of another version is answered with the file', async () => {
    await using server = await sharedServer();
    assertWhole(await server.get(DL, { 'if-none-match': '"x", W/"y"' }));
  });

  test('If-Match of another version fails', async () => {
    await using server = await sharedServer();
    const answer = await server.get(DL, { 'if-match': '"x"' });
    assert.equal(answer.status, 412);
    assert.equal(problemOf(answer).code, 'precondition-failed');
    assert.equal(answer.header('etag'), undefined);
    assertWhole(await server.get(DL, { 'if-match': ETAG }));
  });
});

suite('ranges', { timeout: 600_000 }, () => {
  const satisfiable: [string, number, number][] = [
    ['bytes=0-0', 0, 0],
    ['bytes=1000-1999', 1000, 1999],
    ['bytes=9000-', 9000, 9999],
    ['bytes=9990-20000', 9990, 9999],
    ['bytes=-100', 9900, 9999],
    ['bytes=0-', 0, 9999],
  ];
  for (const [range, first, last] of satisfiable) {
    test(`${range} is a 206 with those bytes`, async () => {
      await using server = await sharedServer();
      const answer = await server.get(DL, { range });
      assert.equal(answer.status, 206);
      assert.equal(answer.header('content-range'), `bytes ${first}-${last}/10000`);
      assert.equal(answer.header('content-length'), `${last - first + 1}`);
      assert.equal(answer.header('etag'), ETAG);
      assert.ok(answer.body.equals(FILE.subarray(first, last + 1)));
    });
  }

  for (const range of ['bytes=10000-', 'bytes=-0']) {
    test(`${range} is a 416 that tells the size, without what describes the file`, async () => {
      await using server = await sharedServer();
      const answer = await server.get(DL, { range });
      assert.equal(answer.status, 416);
      assert.equal(answer.header('content-range'), 'bytes */10000');
      assert.equal(answer.header('content-disposition'), undefined);
      assert.equal(answer.header('etag'), undefined);
      assert.equal(problemOf(answer).code, 'range-not-satisfiable');
    });
  }

  for (const range of ['bytes=0-0,5-9', 'items=0-5', 'bytes=9-5']) {
    test(`${range} is answered with the whole file`, async () => {
      await using server = await sharedServer();
      assertWhole(await server.get(DL, { range }));
    });
  }

  test('If-Range of this version lets the range count', async () => {
    await using server = await sharedServer();
    const answer = await server.get(DL, { range: 'bytes=100-', 'if-range': ETAG });
    assert.equal(answer.status, 206);
    assert.ok(answer.body.equals(FILE.subarray(100)));
  });

  for (const ifRange of ['"x"', `W/${ETAG}`, 'Wed, 21 Oct 2015 07:28:00 GMT']) {
    test(`If-Range: ${ifRange} makes it the whole file, even where the range cannot be satisfied`, async () => {
      await using server = await sharedServer();
      assertWhole(await server.get(DL, { range: 'bytes=100-', 'if-range': ifRange }));
      assertWhole(await server.get(DL, { range: 'bytes=20000-', 'if-range': ifRange }));
    });
  }

  test('two halves are the file', async () => {
    await using server = await sharedServer();
    const halves = await Promise.all(
      ['bytes=0-4999', 'bytes=5000-'].map((range) => server.get(DL, { range, 'if-range': ETAG })),
    );
    assert.ok(Buffer.concat(halves.map(({ body }) => body)).equals(FILE));
  });
});

suite('a download that breaks', { timeout: 600_000 }, () => {
  const failure = new ServiceError(
    'registry-timeout',
    detail('registry-silent', { host: 'registry.example' }),
  );
  const breakingAfter = (length: number, error: Error) =>
    sampleArchive({
      read: (_range, signal) =>
        streamFrom(async function* () {
          if (length > 0) yield FILE.subarray(0, length);
          throw error;
        }, signal),
    });

  for (const length of [1, 5000, FILE.length]) {
    test(`after ${length} bytes never ends cleanly`, async () => {
      await using server = await sharedServer(() => breakingAfter(length, failure));
      const answer = await server.get(DL, { connection: 'keep-alive' });
      assert.ok(answer.body.length <= length);
      assert.ok(answer.body.equals(FILE.subarray(0, answer.body.length)));
      if (length === FILE.length) return;
      assert.equal(answer.header('content-length'), `${FILE.length}`);
      await assert.rejects(httpCall(`http://127.0.0.1:${server.port}${DL}`), { code: 'ECONNRESET' });
    });
  }

  for (const error of [failure, new TypeError('a mistake of ours')]) {
    for (const headers of [{}, { range: 'bytes=5-' }]) {
      const asked = 'range' in headers ? ' of a range' : '';
      test(`before the first byte${asked} (${error.name}) is a problem without the archive's headers`, async () => {
        await using server = await sharedServer(() => breakingAfter(0, error));
        const answer = await server.get(DL, headers);
        const { status, code, detail } = problemOf(answer);
        const expected = error === failure ? [504, 'registry-timeout'] : [500, 'internal-error'];
        assert.deepEqual([answer.status, code], expected);
        assert.equal(status, answer.status);
        assert.doesNotMatch(detail, /mistake of ours/);
        assert.equal(answer.header('cache-control'), 'no-store');
        assert.equal(answer.header('content-length'), `${answer.body.length}`);
        for (const name of ARCHIVE_HEADERS) assert.equal(answer.header(name), undefined, name);
      });
    }
  }

  test('in `read` itself is a problem, too', async () => {
    const read = (): never => {
      throw failure;
    };
    await using server = await sharedServer(() => sampleArchive({ read }));
    const answer = await server.get(DL);
    assert.equal(answer.status, 504);
    for (const name of ARCHIVE_HEADERS) assert.equal(answer.header(name), undefined, name);
  });
});

suite('a client that leaves', { timeout: 600_000 }, () => {
  test('while the image is looked for ends the search', async () => {
    const searching = Promise.withResolvers<AbortSignal>();
    await using server = await startServer({
      open: (_request, signal) => {
        searching.resolve(signal);
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      },
    });
    const socket = connect(server.port, '127.0.0.1');
    socket.write(requestHead('GET', DL));
    const signal = await searching.promise;
    assert.equal(signal.aborted, false);
    socket.destroy();
    if (!signal.aborted) await once(signal, 'abort', soon());
    await server.logged(/^\[LEFT\] busybox/);
    assert.ok(
      server.log.every(({ level }) => level < 40),
      JSON.stringify(server.log),
    );
  });

  test('in the middle of the file ends the reading', async () => {
    const reading = Promise.withResolvers<{ stream: Readable; signal: AbortSignal }>();
    const read = (_range: unknown, signal: AbortSignal): Readable => {
      const stream = new Readable({ read: () => {} });
      stream.push(FILE.subarray(0, 100));
      reading.resolve({ stream, signal });
      return stream;
    };
    await using server = await sharedServer(() => sampleArchive({ read }));
    const socket = connect(server.port, '127.0.0.1');
    socket.write(requestHead('GET', DL));
    await once(socket, 'data', soon());
    const { stream, signal } = await reading.promise;
    assert.equal(signal.aborted, false);
    const closed = once(stream, 'close', soon());
    socket.destroy();
    if (!signal.aborted) await once(signal, 'abort', soon());
    await closed;
    await server.logged(/^\[LEFT\] busybox/);
    assert.equal((await server.get('/healthz')).status, 200);
  });

  test('delays reading upstream if it does not read', async () => {
    const size = 1024 ** 3;
    const chunk = Buffer.alloc(64 * 1024);
    let produced = 0;
    const read = (): Readable =>
      new Readable({
        read() {
          produced += chunk.length;
          this.push(chunk);
        },
      });
    await using server = await sharedServer(() => sampleArchive({ size, read }));
    const socket = connect(server.port, '127.0.0.1').pause();
    socket.write(requestHead('GET', DL));
    await once(socket, 'readable', soon());
    // The kernel's buffers have filled when the server still answers and has stopped producing.
    let before = -1;
    while (before !== produced) {
      before = produced;
      await server.get('/healthz');
    }
    assert.ok(produced < size / 4, `${produced} bytes were read ahead`);
    socket.destroy();
  });
});
