import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { ETAG, FILE, problemOf, sampleArchive, sharedServer, startServer } from '../samples.ts';

const DL = '/dl?myimage=busybox';
const MIB = 2 ** 20;
const LARGE = Buffer.alloc(2.5 * MIB, 'large');
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function largeArchive() {
  return sampleArchive({
    size: LARGE.length,
    read: (range) => Readable.from([LARGE.subarray(range?.start, range?.end)]),
  });
}

suite('the checksum of a download', { timeout: 600_000 }, () => {
  test('is a line for sha256sum -c, by a parameter or by the path', async () => {
    await using server = await sharedServer();
    const line = `${sha256(FILE)}  busybox.tar\n`;
    for (const path of [`${DL}&checksum=1`, '/dl/busybox.tar.sha256', '/dl/busybox.tar?checksum=1']) {
      const answer = await server.get(path);
      assert.equal(answer.status, 200, path);
      assert.equal(answer.body.toString(), line);
      assert.match(answer.header('content-type') ?? '', /^text\/plain/);
      assert.equal(answer.header('content-disposition'), 'attachment; filename="busybox.tar.sha256"');
      assert.notEqual(answer.header('etag'), ETAG);
    }
  });

  test('by the path has the name that wget saves that path by', async () => {
    await using server = await sharedServer();
    const answer = await server.get('/dl/ghcr.io/org/app:1.2.tar.sha256');
    assert.equal(answer.body.toString(), `${sha256(FILE)}  app:1.2.tar\n`);
  });

  test('asks for the image that is named, and is refused as it is', async () => {
    await using server = await startServer({ deny: ['docker.io/library/secret'] });
    await server.get('/dl/busybox.tar.sha256?platform=linux/arm64&format=oci');
    assert.equal(server.requests[0]?.format, 'oci');
    assert.equal(problemOf(await server.get('/dl/secret.tar.sha256')).code, 'image-not-allowed');
  });

  test('HEAD tells its length and computes nothing; conditions are kept', async () => {
    let reads = 0;
    const open = () =>
      sampleArchive({
        read: () => {
          reads += 1;
          return Readable.from([FILE]);
        },
      });
    await using server = await startServer({ open });
    const head = await server.send('HEAD', `${DL}&checksum=1`);
    assert.equal(reads, 0);
    const get = await server.get(`${DL}&checksum=1`);
    assert.equal(head.header('content-length'), `${get.body.length}`);
    assert.equal(head.header('etag'), get.header('etag'));
    const again = await server.get(`${DL}&checksum=1`, { 'if-none-match': `${get.header('etag')}` });
    assert.equal(again.status, 304);
    assert.equal(reads, 1);
  });

  test('from then on, downloads and HEAD have it as Repr-Digest (RFC 9530)', async () => {
    await using folder = await temporaryFolder();
    await using server = await startServer({ checksumFolder: folder.path });
    assert.equal((await server.get(DL)).header('repr-digest'), undefined);
    await server.get(`${DL}&checksum=1`);
    const expected = `sha-256=:${createHash('sha256').update(FILE).digest('base64')}:`;
    for (const answer of [
      await server.get(DL),
      await server.send('HEAD', DL),
      // The digest covers the whole file, whichever part is sent.
      await server.get(DL, { range: 'bytes=5-9' }),
    ]) {
      assert.equal(answer.header('repr-digest'), expected);
    }
    assert.equal((await server.get(DL, { range: 'bytes=20000-' })).header('repr-digest'), undefined);
  });

  test('counts as the bytes of a download once, when it is computed', async () => {
    await using folder = await temporaryFolder();
    await using server = await startServer({
      checksumFolder: folder.path,
      limits: { dailyBytes: FILE.length },
    });
    const left = async (): Promise<number> =>
      JSON.parse((await server.get('/api/v1/limits')).body.toString()).bytes.remaining;
    assert.equal((await server.get(`${DL}&checksum=1`)).status, 200);
    assert.equal(await left(), 0);
    assert.equal((await server.get(`${DL}&checksum=1`)).status, 200, 'one that is known costs nothing');
    assert.equal(problemOf(await server.get(DL)).code, 'daily-bytes-used');
  });

  test('is an error for an archive that breaks off', async () => {
    const read = () =>
      new Readable({
        read() {
          this.destroy(new TypeError('a mistake of ours'));
        },
      });
    await using server = await startServer({ open: () => sampleArchive({ read }) });
    const answer = await server.get(`${DL}&checksum=1`);
    assert.equal(answer.status, 500);
    assert.equal(answer.header('etag'), undefined);
  });
});

suite('parts of a download', { timeout: 600_000 }, () => {
  const part = (number: number): string => `${DL}&parts=1MiB&part=${number}`;

  test('are files that, one after the other, are the archive', async () => {
    await using server = await startServer({ open: largeArchive });
    const answers = await Promise.all([1, 2, 3].map((number) => server.get(part(number))));
    assert.deepEqual(Buffer.concat(answers.map(({ body }) => body)), LARGE);
    assert.deepEqual(
      answers.map((answer) => answer.header('content-disposition')),
      [1, 2, 3].map((number) => `attachment; filename="busybox.tar.part0${number}of03"`),
    );
    assert.equal(new Set([ETAG, ...answers.map((answer) => answer.header('etag'))]).size, 4);
    for (const { body } of answers) assert.ok(body.length < MIB);
  });

  test('have a length, ranges, conditions and HEAD as any file', async () => {
    await using server = await startServer({ open: largeArchive });
    const whole = await server.get(part(2));
    const size = MIB - 512;
    const range = await server.get(part(2), {
      range: 'bytes=1000-1999',
      'if-range': `${whole.header('etag')}`,
    });
    assert.equal(range.status, 206);
    assert.equal(range.header('content-range'), `bytes 1000-1999/${size}`);
    assert.deepEqual(range.body, LARGE.subarray(size + 1000, size + 2000));
    assert.equal((await server.get(part(2), { range: `bytes=${size}-` })).status, 416);
    assert.equal((await server.send('HEAD', part(2))).header('content-length'), `${size}`);
    assert.equal((await server.get(part(2), { 'if-none-match': `${whole.header('etag')}` })).status, 304);
  });

  test('have a list of checksums, and each its own', async () => {
    await using folder = await temporaryFolder();
    await using server = await startServer({ open: largeArchive, checksumFolder: folder.path });
    const answer = await server.get(`${DL}&parts=1MiB&checksum=1`);
    assert.equal(
      answer.header('content-disposition'),
      'attachment; filename="busybox.tar.3-parts.sha256"',
      'not that of the whole, nor anything that `busybox.tar.part*` finds',
    );
    const list = answer.body.toString().split('\n');
    assert.equal(list.length, 4);
    for (const number of [1, 2, 3]) {
      const answer = await server.get(part(number));
      const line = `${sha256(answer.body)}  busybox.tar.part0${number}of03`;
      assert.equal(list[number - 1], line);
      const own = await server.get(`${part(number)}&checksum=1`);
      assert.equal(own.body.toString(), `${line}\n`);
      assert.equal(
        answer.header('repr-digest'),
        `sha-256=:${createHash('sha256').update(answer.body).digest('base64')}:`,
      );
    }
  });

  test('an unknown or missing part is an error that states the number of parts', async () => {
    await using server = await startServer({ open: largeArchive });
    assert.equal((await server.get(part(4))).reason, 'The archive has 3 parts');
    assert.equal((await server.get(`${DL}&parts=1GiB&part=2`)).reason, 'The archive has 1 part');
    assert.equal((await server.get(`${DL}&parts=1MiB`)).reason, 'Choose one of 3 parts, as in &part=1');
  });

  test('a part larger than the file is the file', async () => {
    await using server = await sharedServer();
    const answer = await server.get(`${DL}&parts=4GiB&part=1`);
    assert.ok(answer.body.equals(FILE));
    assert.equal(answer.header('content-disposition'), 'attachment; filename="busybox.tar.part01of01"');
    const list = await server.get(`${DL}&parts=4GiB&checksum=1`);
    assert.equal(list.header('content-disposition'), 'attachment; filename="busybox.tar.part01of01.sha256"');
  });

  test('are not available for a live archive, and neither is a checksum', async () => {
    const live = {
      ...sampleArchive(),
      size: undefined,
      start: async () => Readable.from([FILE]),
    };
    await using server = await startServer({ open: () => live });
    for (const query of ['checksum=1', 'parts=1MiB&part=1']) {
      assert.equal(problemOf(await server.get(`${DL}&${query}`)).code, 'archive-not-kept');
    }
  });
});
