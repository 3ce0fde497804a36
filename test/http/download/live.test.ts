import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import { detail } from '../../../src/errors/details.ts';
import { ServiceError } from '../../../src/errors.ts';
import type { LiveArchive } from '../../../src/sources/image-source.ts';
import { FILE, problemOf, sampleArchive, sharedServer } from '../samples.ts';

const DL = '/dl?myimage=busybox&stream=1';

function liveArchive(start: LiveArchive['start']): LiveArchive {
  const { filename, digests, zstd, staleSince } = sampleArchive();
  return { filename, digests, zstd, staleSince, size: undefined, start };
}

suite('an archive that is made as it is sent', { timeout: 600_000 }, () => {
  test('has no length, no ETag, and no ranges', async () => {
    await using server = await sharedServer(() => liveArchive(async () => Readable.from([FILE])));
    const { status, header, body } = await server.get(DL, { range: 'bytes=1-2', 'if-none-match': '"x"' });
    assert.equal(status, 200);
    for (const name of ['content-length', 'etag', 'content-range']) assert.equal(header(name), undefined);
    assert.equal(header('accept-ranges'), 'none');
    assert.equal(header('cache-control'), 'no-store');
    assert.equal(header('transfer-encoding'), 'chunked');
    assert.ok(body.includes(FILE));
    assert.match(body.toString(), /\r\n0\r\n\r\n$/);
    assert.equal(server.requests[0]?.stream, true);
    assert.match((await server.logged(/^\[OK\]/)).msg, /: all bytes in/);
  });

  test('HEAD does not begin to make it', async () => {
    let isBegun = false;
    const start = async (): Promise<Readable> => {
      isBegun = true;
      return Readable.from([FILE]);
    };
    await using server = await sharedServer(() => liveArchive(start));
    const { status, header } = await server.send('HEAD', DL);
    assert.deepEqual([status, header('content-type'), isBegun], [200, 'application/x-tar', false]);
    assert.equal(header('content-length'), undefined);
  });

  test('reports a failure before the first byte as a problem, and breaks the connection after it', async () => {
    const failed = new ServiceError('engine-failed', detail('engine-refused', {}));
    await using early = await sharedServer(() => liveArchive(() => Promise.reject(failed)));
    assert.equal(problemOf(await early.get(DL)).code, 'engine-failed');
    const half = async function* (): AsyncGenerator<Buffer> {
      yield FILE.subarray(0, 5000);
      throw failed;
    };
    await using late = await sharedServer(() => liveArchive(async () => Readable.from(half())));
    const { status, body } = await late.get(DL);
    assert.equal(status, 200);
    assert.doesNotMatch(body.toString(), /0\r\n\r\n$/);
  });

  test('If-Match fails, since nothing tells one from another', async () => {
    await using server = await sharedServer(() => liveArchive(async () => Readable.from([FILE])));
    assert.equal((await server.get(DL, { 'if-match': '"x"' })).status, 412);
    assert.equal((await server.get(DL, { 'if-match': '*' })).status, 200);
  });
});
