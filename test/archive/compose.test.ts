import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { composeArchive } from '../../src/archive/compose.ts';
import type { Piece } from '../../src/archive/layout.ts';
import { detail } from '../../src/errors/details.ts';
import { type ErrorCode, ServiceError } from '../../src/errors.ts';
import type { BlobReader } from '../../src/oci/blob-reader.ts';
import { parseDigest } from '../../src/oci/digest.ts';
import { send } from '../../src/util/streams.ts';

const never = new AbortController().signal;
const HEAD = Buffer.from('metadata');

function blobPiece(digit: string, size = 10): Piece {
  const digest = parseDigest(`sha256:${digit.repeat(64)}`);
  return { content: { mediaType: 'a/b', digest, size }, range: { start: 0, end: size } };
}

const pieces: Piece[] = [
  { content: HEAD, range: { start: 0, end: HEAD.length } },
  ...['1', '2', '3', '4', '5'].map((digit) => blobPiece(digit)),
];

/** Reads blobs of zeros. `ahead` decides what happens to those that are fetched ahead. */
function reader(ahead: (digit: string) => Promise<void>, more: Partial<BlobReader> = {}): BlobReader {
  return {
    read: async ({ size }) => Readable.from([Buffer.alloc(size)]),
    prefetch: ({ digest }) => ahead(digest.slice(-1)),
    ...more,
  };
}

const failing = (code: ErrorCode): Promise<never> =>
  Promise.reject(new ServiceError(code, detail('archive-removed', {})));

/** Returns the number of received bytes, and the error that ended the stream. */
async function given(stream: Readable): Promise<{ bytes: number; error: unknown }> {
  let bytes = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) bytes += chunk.length;
    return { bytes, error: undefined };
  } catch (error) {
    return { bytes, error };
  }
}

suite('an archive that is sent', () => {
  test('has no first byte before its first blob begins', async () => {
    const blobs = reader(async () => {}, { read: () => failing('layer-unavailable') });
    const { bytes, error } = await given(composeArchive(pieces, blobs, never));
    assert.equal(bytes, 0);
    assert.equal((error as ServiceError).code, 'layer-unavailable');
  });

  for (const code of ['size-mismatch', 'layer-unavailable'] as const) {
    test(`has no first byte where a blob that is fetched ahead fails with ${code}`, async () => {
      const blobs = reader(async (digit) => (digit === '4' ? failing(code) : undefined));
      const { bytes, error } = await given(composeArchive(pieces, blobs, never, { moment: 60_000 }));
      assert.equal(bytes, 0);
      assert.equal((error as ServiceError).code, code);
    });
  }

  for (const way of ['read', 'sent'] as const) {
    test(`fails at once where a blob that is fetched ahead is refused later, when it is ${way}`, async () => {
      const { promise: refusal, reject: refuse } = Promise.withResolvers<void>();
      const endless = new Readable({ read: () => {} });
      const blobs = reader(() => refusal, { read: async () => endless });
      const stream = composeArchive(pieces, blobs, never, { moment: 1 });
      const sink = new PassThrough();
      const ended = assert.rejects(way === 'read' ? buffer(stream) : send(stream, sink), {
        code: 'size-mismatch',
      });
      await once(way === 'read' ? stream : sink, 'readable');
      refuse(new ServiceError('size-mismatch', detail('archive-removed', {})));
      await ended;
      assert.ok(endless.destroyed);
    });
  }

  test('goes on where what is fetched ahead fails in a way that may pass', async () => {
    const blobs = reader(() => failing('registry-rate-limited'));
    assert.equal((await buffer(composeArchive(pieces, blobs, never))).length, HEAD.length + 50);
  });

  test('waits a moment at most for a blob that is fetched ahead and does not begin', async () => {
    const blobs = reader(() => new Promise(() => {}));
    assert.equal(
      (await buffer(composeArchive(pieces, blobs, never, { moment: 1 }))).length,
      HEAD.length + 50,
    );
  });

  test('fails if its first blob breaks while the bytes before it are sent', async () => {
    const first = new Readable({ read: () => {} });
    const blobs = reader(async () => {}, { read: async () => first });
    const stream = composeArchive(pieces, blobs, never);
    const ended = given(stream);
    await once(stream, 'readable');
    first.destroy(new ServiceError('registry-failed', detail('registry-failed', { host: 'a.io' })));
    const { bytes, error } = await ended;
    assert.equal(bytes, HEAD.length);
    assert.equal((error as ServiceError).code, 'registry-failed');
  });

  test('asks ahead once for each blob', async () => {
    const asked: string[] = [];
    const blobs = reader(async (digit) => void asked.push(digit));
    await buffer(composeArchive(pieces.slice(0, 3), blobs, never));
    assert.deepEqual(asked, ['2']);
  });
});
