import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { detail } from '../../../src/errors/details.ts';
import { ServiceError } from '../../../src/errors.ts';
import { streamFrom } from '../../../src/util/streams.ts';
import { DIGEST, ETAG, FILE, sampleArchive, sharedServer, startServer } from '../samples.ts';

const DL = '/dl?myimage=busybox';
const WARN = 40;

suite('the log of a download', { timeout: 600_000 }, () => {
  test('begins with the image as it was asked for', async () => {
    await using server = await sharedServer();
    await server.get('/dl?myimage=docker.io/library/busybox&myimage=ghcr.io/org/app:1', {
      range: 'bytes=5-',
    });
    const line = await server.logged(/^Downloading image: /);
    assert.equal(line.msg, 'Downloading image: busybox, ghcr.io/org/app:1');
    assert.equal(line.client, '127.0.0.1');
    assert.equal(line.range, 'bytes=5-');
    assert.equal(server.log.indexOf(await server.logged(/^Downloading|^\[/)), server.log.indexOf(line));
  });

  test('ends well with digest, bytes and seconds', async () => {
    await using server = await sharedServer();
    await server.get(DL);
    const line = await server.logged(/^\[/);
    assert.match(line.msg, new RegExp(`^\\[OK\\] busybox ${DIGEST}: 10000 bytes in [0-9.]+ s$`));
    const { image, status, digest, bytes, offset, zstd } = line;
    assert.deepEqual(
      { image, status, digest, bytes, offset, zstd },
      { image: 'busybox', status: 200, digest: DIGEST, bytes: 10_000, offset: 0, zstd: false },
    );
  });

  test('tells the bytes of a range', async () => {
    await using server = await sharedServer();
    await server.get(DL, { range: 'bytes=1000-1999' });
    const line = await server.logged(/^\[OK\] busybox sha256:\w+: 1000 bytes/);
    assert.deepEqual([line.status, line.offset, line.bytes], [206, 1000, 1000]);
  });

  test('warns of zstd layers', async () => {
    await using server = await startServer({ open: () => sampleArchive({ zstd: true }) });
    await server.get(DL);
    assert.match((await server.logged(/^\[OK\]/)).msg, /zstd layers do not load in Docker before 23\.0$/);
  });

  test('tells what the client had already', async () => {
    await using server = await sharedServer();
    await server.get(DL, { 'if-none-match': ETAG });
    const line = await server.logged(/^\[/);
    assert.equal(line.msg, '[OK] busybox is not modified');
    assert.equal(line.status, 304);
  });

  test('has the reason of a refusal', async () => {
    await using server = await startServer({
      open: () =>
        Promise.reject(new ServiceError('image-not-found', detail('image-unknown', { image: 'busybox' }))),
    });
    await server.get(DL);
    const line = await server.logged(/^\[/);
    assert.equal(line.msg, '[FAILED] busybox: The image busybox does not exist.');
    assert.equal(line.level, WARN);
    assert.equal(line.status, 404);
  });

  test('tells what was not allowed', async () => {
    await using server = await startServer({ deny: ['docker.io/**'] });
    await server.get(DL);
    await server.logged(/^Downloading image: busybox$/);
    const line = await server.logged(
      /^\[FAILED\] busybox: This service is not allowed to fetch "docker\.io\/library\/busybox"/,
    );
    assert.equal(line.status, 403);
  });

  for (const length of [0, 100]) {
    test(`tells what broke it off after ${length} bytes`, async () => {
      const read = (_range: unknown, signal: AbortSignal) =>
        streamFrom(async function* () {
          if (length > 0) yield FILE.subarray(0, length);
          throw new ServiceError('content-mismatch', detail('content-wrong', { digest: 'sha256:0' }));
        }, signal);
      await using server = await startServer({ open: () => sampleArchive({ read }) });
      await server.get(DL);
      const line = await server.logged(/^\[/);
      assert.equal(
        line.msg,
        '[FAILED] busybox: The bytes from the registry do not match the digest sha256:0.',
      );
      assert.equal(line.level, WARN);
      assert.match(JSON.stringify(line.err), /content-mismatch/);
    });
  }

  test('has one end for one beginning', async () => {
    await using server = await sharedServer();
    await server.get(DL);
    await server.get(DL, { range: 'bytes=20000-' });
    await server.logged(/^\[FAILED\]/);
    await server.get(DL, { 'if-none-match': ETAG });
    await server.logged(/is not modified/);
    const beginnings = server.log.filter(({ msg }) => msg.startsWith('Downloading'));
    const ends = server.log.filter(({ msg }) => msg.startsWith('['));
    assert.equal(beginnings.length, 3);
    assert.equal(ends.length, 3);
  });
});
