import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { PassThrough, Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { finished } from 'node:stream/promises';
import { after, afterEach, before, beforeEach, suite, test } from 'node:test';
import type { HttpClient } from '../../src/net/http.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { parseDigest, sha256 } from '../../src/oci/digest.ts';
import { parseReference, type Repository } from '../../src/oci/reference.ts';
import { registryOrigin } from '../../src/oci/registry-host.ts';
import type { Authorizer, RegistryAuthorizer } from '../../src/registry/authorizer.ts';
import { createRegistryClient, type RegistryClient } from '../../src/registry/client.ts';
import { missingOrPrivate } from '../../src/registry/status-error.ts';
import { send } from '../../src/util/streams.ts';
import { type Fault, type FaultProxy, type ProxiedRequest, startFaultProxy } from '../support/fault-proxy.ts';
import { blob, type Image, image, index, layer, layerMediaType, manifest } from '../support/images.ts';
import { listen } from '../support/listen.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { waitFor } from '../support/wait-for.ts';
import { createStack, type Stack } from './stack.ts';

const never = new AbortController().signal;
const MEBIBYTE = 1024 * 1024;

const platform = { os: 'linux', architecture: 'amd64' };

suite('the registry client, against a real registry behind faults', {
  skip: skipUnless('docker-registry'),
}, () => {
  let registry: Registry;
  let proxy: FaultProxy;
  let stack: Stack;
  let oci: Image;
  /** Incompressible, so that it comes in many chunks. */
  const bytes = randomBytes(MEBIBYTE);
  const big: Descriptor = { mediaType: layerMediaType.gzip, digest: sha256(bytes), size: bytes.length };

  before(async () => {
    registry = await startRegistry();
    proxy = await startFaultProxy(registry.url);
    const random = { ...blob(layerMediaType.gzip, bytes), diffId: big.digest };
    oci = image({ platform, layers: [await layer({ files: { one: '1' } }), random] });
    await push(registry.url, 'test/image', 'oci', oci);
  });

  after(async () => {
    await proxy.close();
    await registry[Symbol.asyncDispose]();
  });

  beforeEach(() => {
    proxy.inject(undefined);
    proxy.requests.length = 0;
    stack = createStack({ hosts: [proxy.host], trusted: [proxy.elsewhere] });
  });

  afterEach(() => stack.http.close());

  const repository = () => parseReference(`${proxy.host}/test/image`);
  const open = (what: Descriptor = big, range?: { start: number; end: number }, signal = never) =>
    stack.client.blobs(repository()).read(what, range, signal);
  const read = async (...what: Parameters<typeof open>): Promise<Buffer> => buffer(await open(...what));
  const ranges = (requests = proxy.requests) => requests.map(({ headers }) => headers.range);

  /** Faults for the first, the second, … request for a blob; later ones are forwarded. */
  const inTurn = (...faults: (Fault | Fault[] | undefined)[]): void => {
    let at = 0;
    proxy.inject(({ path }) => (path.includes('/blobs/') ? faults[at++] : undefined));
  };

  /** Returns the chunks of a stream before it failed, and the error. */
  async function untilFailure(
    stream: Readable | Promise<Readable>,
  ): Promise<{ given: number; error: unknown }> {
    let given = 0;
    try {
      for await (const chunk of (await stream) as AsyncIterable<Buffer>) given += chunk.length;
    } catch (error) {
      return { given, error };
    }
    return assert.fail('the stream ended as if it were whole');
  }

  suite('manifests', () => {
    const get = (reference: string, name = 'test/image') =>
      stack.client.manifest(parseReference(`${proxy.host}/${name}`), reference, never);

    for (const mediaTypes of ['oci', 'docker'] as const) {
      test(`${mediaTypes}: a manifest and an index, by tag and by digest, byte for byte`, async () => {
        const one = image({ platform, mediaTypes, layers: [await layer({ files: { two: '2' } })] });
        const list = index([one], { mediaTypes });
        await push(registry.url, `test/${mediaTypes}`, 'list', list);
        await push(registry.url, `test/${mediaTypes}`, 'one', one);
        for (const [tag, { descriptor, bytes }] of [
          ['list', list],
          ['one', one],
        ] as const) {
          for (const reference of [tag, descriptor.digest]) {
            const fetched = await get(reference, `test/${mediaTypes}`);
            assert.deepEqual(Buffer.from(fetched.bytes), bytes);
            assert.equal(fetched.digest, descriptor.digest);
            assert.equal(fetched.contentType, descriptor.mediaType);
          }
        }
      });
    }

    test('all four types are asked for', async () => {
      await get('oci');
      assert.deepEqual(proxy.requests[0]?.headers.accept?.split(', ').sort(), [
        'application/vnd.docker.distribution.manifest.list.v2+json',
        'application/vnd.docker.distribution.manifest.v2+json',
        'application/vnd.oci.image.index.v1+json',
        'application/vnd.oci.image.manifest.v1+json',
      ]);
    });

    test('a tampered manifest is refused: by its digest, and by the one that the registry states', async () => {
      proxy.inject(() => ({ kind: 'flip', at: 30 }));
      for (const reference of ['oci', oci.descriptor.digest]) {
        await assert.rejects(get(reference), {
          code: 'content-mismatch',
          message: new RegExp(oci.descriptor.digest),
        });
      }
    });

    test('a manifest by digest is verified, whatever the registry states', async () => {
      const body = '{"schemaVersion":2}';
      const headers = { 'docker-content-digest': sha256(Buffer.from(body)) };
      proxy.inject(() => ({ kind: 'answer', status: 200, headers, body }));
      await assert.rejects(get(oci.descriptor.digest), { code: 'content-mismatch' });
    });

    test('a registry that states no digest is believed for a tag, and verified for a digest', async () => {
      proxy.inject(() => ({ kind: 'strip', headers: ['docker-content-digest'] }));
      assert.equal((await get('oci')).digest, oci.descriptor.digest);
      proxy.inject(() => [
        { kind: 'strip', headers: ['docker-content-digest'] },
        { kind: 'flip', at: 30 },
      ]);
      await assert.rejects(get(oci.descriptor.digest), { code: 'content-mismatch' });
    });

    test('4 MiB are read, one byte more is refused', async () => {
      const answer = (size: number): Fault => ({
        kind: 'answer',
        status: 200,
        body: Buffer.alloc(size, ' '),
      });
      proxy.inject(() => answer(4 * MEBIBYTE));
      assert.equal((await get('oci')).bytes.length, 4 * MEBIBYTE);
      proxy.inject(() => answer(4 * MEBIBYTE + 1));
      await assert.rejects(get('oci'), { code: 'registry-failed', message: /more than 4194304 bytes/ });
    });

    test('one that breaks off is a failure', async () => {
      proxy.inject(() => ({ kind: 'cut', after: 20 }));
      await assert.rejects(get('oci'), { code: 'registry-failed' });
    });

    const statuses: [status: number, code: string, retryAfter: number | undefined][] = [
      [401, 'image-not-found', undefined],
      [403, 'image-not-found', undefined],
      [404, 'image-not-found', undefined],
      [429, 'registry-rate-limited', 17],
      [500, 'registry-failed', undefined],
      [503, 'registry-unavailable', 17],
      [504, 'registry-timeout', undefined],
      [204, 'registry-failed', undefined],
    ];
    for (const [status, code, retryAfter] of statuses) {
      test(`${status} becomes ${code}`, async () => {
        proxy.inject(() => ({ kind: 'answer', status, headers: { 'retry-after': '17' } }));
        await assert.rejects(get('oci'), { code, retryAfter });
      });
    }

    test('a missing manifest is reported with its name', async () => {
      await assert.rejects(get('none'), {
        code: 'image-not-found',
        message: `The image ${proxy.host}/test/image:none does not exist.`,
      });
      const digest = `sha256:${'0'.repeat(64)}`;
      await assert.rejects(get(digest), {
        message: `The image ${proxy.host}/test/image@${digest} does not exist.`,
      });
    });
  });

  suite('whole blobs', () => {
    test('come without a Range header, byte for byte', async () => {
      assert.deepEqual(await read(), bytes);
      assert.deepEqual(ranges(), [undefined]);
    });

    test('without bytes need no request', async () => {
      const empty = { ...big, digest: sha256(Buffer.alloc(0)), size: 0 };
      assert.equal((await read(empty)).length, 0);
      assert.equal(proxy.requests.length, 0);
      await assert.rejects(read({ ...big, size: 0 }), { code: 'content-mismatch' });
    });

    for (const at of [0, MEBIBYTE / 2, MEBIBYTE - 1]) {
      test(`with byte ${at} wrong fail before their last bytes are out`, async () => {
        proxy.inject(() => ({ kind: 'flip', at }));
        const { given, error } = await untilFailure(open());
        assert.equal(given < big.size, true);
        assert.equal((error as { code?: string }).code, 'content-mismatch');
      });
    }

    test('with a wrong size are refused after one byte, in this registry and for a while', async () => {
      let time = 1000;
      await using own = createStack({ hosts: [proxy.host, registry.host], now: () => time });
      const { client } = own;
      const wrong = { ...big, size: MEBIBYTE - 7 };
      const check = async (at: Repository = repository()): Promise<void> =>
        client.checkSizes(at, [big, wrong], never);
      await check();
      assert.equal(proxy.requests.length, 0);
      for (const range of [undefined, { start: 500, end: 600 }]) {
        await assert.rejects(client.blobs(repository()).read(wrong, range, never), { code: 'size-mismatch' });
      }
      await assert.rejects(check(), {
        code: 'size-mismatch',
        status: 422,
        message: /states 1048569 bytes for the blob sha256:\w+, but 127.0.0.1:\d+ sends 1048576\.$/,
      });
      assert.equal(ranges().at(-1), 'bytes=0-0');
      const asked = proxy.requests.length;
      await client.checkSizes(repository(), [big], never);
      await check(parseReference(`${registry.host}/test/image`));
      time += 600_001;
      await check();
      assert.equal(proxy.requests.length, asked);
    });

    test('with a size that is right after all are requested once more', async () => {
      proxy.inject(() => ({
        kind: 'answer',
        status: 200,
        headers: { 'content-length': '14' },
        body: 'something else',
      }));
      await assert.rejects(read(), { code: 'size-mismatch' });
      proxy.inject(undefined);
      const { length: asked } = proxy.requests;
      for (let round = 0; round < 2; round++) await stack.client.checkSizes(repository(), [big], never);
      assert.equal(proxy.requests.length, asked + 1);
    });

    test('that end early without a length are too short where their digest is right', async () => {
      const wrong = { ...big, size: MEBIBYTE + 7 };
      proxy.inject(() => ({
        kind: 'answer',
        status: 200,
        headers: { 'transfer-encoding': 'chunked' },
        body: Buffer.from(bytes),
      }));
      const { error } = await untilFailure(open(wrong));
      assert.equal((error as { code?: string }).code, 'size-mismatch');
      assert.equal(proxy.requests.length, 1, 'it is not asked for again');
    });

    test('by a foreign URL do not tell whether the registry has the layer', async () => {
      const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
      const wrong = { ...big, mediaType, size: 7 };
      await assert.rejects(read(wrong), { code: 'size-mismatch' });
      const { length: asked } = proxy.requests;
      await stack.client.checkSizes(repository(), [wrong], never);
      assert.equal(proxy.requests.length, asked);
    });

    test('are verified over all their parts', async () => {
      inTurn({ kind: 'cut', after: 400_000 }, { kind: 'flip', at: 100 });
      const { given, error } = await untilFailure(open());
      assert.ok(given < big.size);
      assert.equal((error as { code?: string }).code, 'content-mismatch');
    });

    test('are continued where the connection broke, as often as it does', async () => {
      inTurn({ kind: 'cut', after: 300_000 }, { kind: 'cut', after: 1 }, { kind: 'cut', after: 500_000 });
      assert.deepEqual(await read(), bytes);
      assert.deepEqual(ranges(), [
        undefined,
        `bytes=300000-${MEBIBYTE - 1}`,
        `bytes=300001-${MEBIBYTE - 1}`,
        `bytes=800001-${MEBIBYTE - 1}`,
      ]);
      assert.deepEqual(
        proxy.requests.map(({ sent }) => sent),
        [300_000, 1, 500_000, MEBIBYTE - 800_001],
      );
    });

    test('are continued more often than they may fail in a row, as long as bytes come', async () => {
      inTurn(...Array<Fault>(6).fill({ kind: 'cut', after: 1000 }));
      assert.deepEqual(await read(), bytes);
      assert.equal(proxy.requests.length, 7);
    });

    test('a registry that breaks off after every few bytes fails', async ({ mock }) => {
      let now = 0;
      mock.method(performance, 'now', () => now);
      await using ours = createStack({
        hosts: [proxy.host],
        slowest: { bytesPerSecond: 1024, patience: 500 },
      });
      proxy.inject(({ path }) => {
        now += 100;
        return path.includes('/blobs/') ? { kind: 'cut', after: 10 } : undefined;
      });
      const stream = await ours.client.blobs(repository()).read(big, undefined, never);
      await assert.rejects(buffer(stream), {
        code: 'registry-timeout',
        message: `${proxy.host} sends too slowly.`,
      });
      assert.ok(proxy.requests.length > 1, 'it is asked to go on meanwhile');
    });

    test('a slow reader is not a failure of the registry', async ({ mock }) => {
      let now = 0;
      mock.method(performance, 'now', () => now);
      await using ours = createStack({
        hosts: [proxy.host],
        slowest: { bytesPerSecond: 1e9, patience: 2_000 },
      });
      const stream = await ours.client.blobs(repository()).read(big, undefined, never);
      let length = 0;
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        length += chunk.length;
        // When the reader pauses, the registry has already sent the next chunk.
        await waitFor(() => stream.readableLength > 0 || stream.destroyed || length === big.size, {
          what: 'the next chunk',
        });
        now += 10_000;
      }
      assert.equal(length, big.size);
    });

    test('are continued where the registry ended them cleanly, but early', async () => {
      const headers = { 'content-type': 'application/octet-stream', 'transfer-encoding': 'chunked' };
      const body = bytes.subarray(0, 123_456);
      inTurn({ kind: 'answer', status: 200, headers, body });
      assert.deepEqual(await read(), bytes);
      assert.deepEqual(ranges(), [undefined, `bytes=123456-${MEBIBYTE - 1}`]);
    });

    test('are continued after a registry that fell silent', async () => {
      inTurn({ kind: 'stall', after: 200_000 });
      // A real second, because undici measures it. With less, a busy machine would look like an unresponsive registry.
      await using impatient = createStack({ hosts: [proxy.host], idleTimeout: 1000 });
      const stream = await impatient.client.blobs(repository()).read(big, undefined, never);
      assert.deepEqual(await buffer(stream), bytes);
      assert.deepEqual(ranges(), [undefined, `bytes=200000-${MEBIBYTE - 1}`]);
      await waitFor(() => proxy.requests[0]?.state === 'aborted by client');
    });

    test('are continued from a registry that ignores ranges', async () => {
      inTurn({ kind: 'cut', after: 200_000 }, { kind: 'ignore-range' });
      assert.deepEqual(await read(), bytes);
      assert.deepEqual(
        proxy.requests.map(({ status, sent }) => [status, sent]),
        [
          [200, 200_000],
          [200, MEBIBYTE],
        ],
      );
    });

    for (const status of [400, 405, 406, 412, 416, 501]) {
      test(`begin again, and skip what is here, where a range is answered with ${status}`, async () => {
        let cuts = 0;
        proxy.inject(({ path, headers }) => {
          if (!path.includes('/blobs/')) return undefined;
          if (headers.range !== undefined) return { kind: 'answer', status };
          return cuts++ < 2 ? { kind: 'cut', after: 200_000 * cuts } : undefined;
        });
        assert.deepEqual(await read(), bytes);
        // The second time, the client knows that ranges are refused.
        assert.deepEqual(ranges(), [undefined, `bytes=200000-${MEBIBYTE - 1}`, undefined, undefined]);
      });
    }

    const places: [title: string, contentRange: string | undefined][] = [
      ['with its place', `bytes 0-${MEBIBYTE - 1}/${MEBIBYTE}`],
      ['without a place', undefined],
    ];
    for (const [title, place] of places) {
      test(`are taken as a part that was not asked for, ${title}`, async () => {
        const headers = place === undefined ? {} : { 'content-range': place };
        proxy.inject(() => ({ kind: 'answer', status: 206, headers, body: bytes }));
        assert.deepEqual(await read(), bytes);
      });
    }

    test('survive a 503 and a dropped connection between two parts', async () => {
      inTurn({ kind: 'cut', after: 200_000 }, { kind: 'answer', status: 503 }, { kind: 'drop' });
      assert.deepEqual(await read(), bytes);
      assert.equal(proxy.requests.length, 4);
    });

    test('wait as long as a registry that limits us says', async () => {
      const limited = { kind: 'answer', status: 429, headers: { 'retry-after': '1' } } as const;
      inTurn({ kind: 'cut', after: 200_000 }, limited);
      assert.deepEqual(await read(), bytes);
      assert.equal(proxy.requests.length, 3);
    });

    for (const header of [{}, { 'retry-after': '880.092µs' }, { 'retry-after': 'soon' }]) {
      test(`go on soon after 429 with ${JSON.stringify(header)}`, async () => {
        const pauses: number[] = [];
        await using ours = createStack({
          hosts: [proxy.host],
          pause: async (milliseconds) => void pauses.push(milliseconds),
        });
        inTurn({ kind: 'cut', after: 200_000 }, { kind: 'answer', status: 429, headers: header });
        const stream = await ours.client.blobs(repository()).read(big, undefined, never);
        assert.deepEqual(await buffer(stream), bytes);
        assert.equal(proxy.requests.length, 3);
        assert.ok(Math.max(...pauses) < 1000, `${pauses}`);
      });
    }

    test('do not wait for a registry that wants minutes', async () => {
      proxy.inject(() => ({ kind: 'answer', status: 429, headers: { 'retry-after': '300' } }));
      await assert.rejects(read(), { code: 'registry-rate-limited', retryAfter: 300 });
      assert.equal(proxy.requests.length, 1);
    });

    test('are given up when nothing comes five times in a row', async () => {
      let answered = 0;
      proxy.inject(() => (answered++ === 0 ? { kind: 'cut', after: 200_000 } : { kind: 'drop' }));
      const { given, error } = await untilFailure(open());
      assert.ok(given <= 200_000);
      assert.equal((error as { code?: string }).code, 'registry-failed');
      assert.deepEqual(ranges(), [undefined, ...Array(4).fill(`bytes=200000-${MEBIBYTE - 1}`)]);
    });

    const lies: [title: string, fault: () => Fault, code: string, message: RegExp][] = [
      [
        'whose Content-Length is another one',
        () => ({
          kind: 'answer',
          status: 200,
          headers: { 'content-length': `${MEBIBYTE - 1}` },
          body: bytes.subarray(1),
        }),
        'size-mismatch',
        /states 1048576 bytes for the blob sha256:\w+, but 127.0.0.1:\d+ sends 1048575\.$/,
      ],
      [
        'that are longer than the manifest says',
        () => ({
          kind: 'answer',
          status: 200,
          headers: { 'transfer-encoding': 'chunked' },
          body: Buffer.concat([bytes, Buffer.alloc(1)]),
        }),
        'size-mismatch',
        /states 1048576 bytes for the blob sha256:\w+, but 127.0.0.1:\d+ sends more\.$/,
      ],
      [
        'that are other bytes of the same length',
        () => ({ kind: 'answer', status: 200, body: Buffer.alloc(MEBIBYTE) }),
        'content-mismatch',
        /do not match the digest/,
      ],
    ];
    for (const [title, fault, code, message] of lies) {
      test(`${title} are refused, and not asked for again`, async () => {
        proxy.inject(fault);
        const { given, error } = await untilFailure(open());
        assert.ok(given < big.size);
        assert.equal((error as { code?: string }).code, code);
        assert.match((error as Error).message, message);
        assert.equal(proxy.requests.length, 1);
      });
    }

    test('are unavailable if the registry does not have them', async () => {
      await assert.rejects(read({ ...big, digest: parseDigest(`sha256:${'0'.repeat(64)}`) }), {
        code: 'layer-unavailable',
        message: new RegExp(`^${proxy.host} does not have the blob sha256:0+\\.$`),
      });
    });

    test('that are refused for good are asked for once', async () => {
      proxy.inject(() => ({ kind: 'answer', status: 403 }));
      await assert.rejects(read(), { code: 'registry-refused' });
      assert.equal(proxy.requests.length, 1);
    });
  });

  suite('ranges of blobs', () => {
    test('are asked for as ranges, to the byte', async () => {
      for (const [start, end] of [
        [0, 1],
        [100, 70_000],
        [MEBIBYTE - 1, MEBIBYTE],
      ] as const) {
        proxy.requests.length = 0;
        assert.deepEqual(await read(big, { start, end }), bytes.subarray(start, end));
        assert.deepEqual(
          proxy.requests.map(({ status, sent, headers }) => [status, sent, headers.range]),
          [[206, end - start, `bytes=${start}-${end - 1}`]],
        );
      }
    });

    test('without bytes need no request', async () => {
      assert.equal((await read(big, { start: 5, end: 5 })).length, 0);
      assert.equal(proxy.requests.length, 0);
    });

    test('are continued at the right byte', async () => {
      inTurn({ kind: 'cut', after: 1000 }, { kind: 'cut', after: 10 });
      assert.deepEqual(await read(big, { start: 5000, end: 500_000 }), bytes.subarray(5000, 500_000));
      assert.deepEqual(ranges(), ['bytes=5000-499999', 'bytes=6000-499999', 'bytes=6010-499999']);
    });

    test('to the end come right from a registry that ignores ranges', async () => {
      proxy.inject(() => ({ kind: 'ignore-range' }));
      assert.deepEqual(await read(big, { start: 700_000, end: MEBIBYTE }), bytes.subarray(700_000));
    });

    test('in the middle come right from a registry that ignores ranges', async () => {
      proxy.inject(() => ({ kind: 'ignore-range' }));
      assert.deepEqual(await read(big, { start: 700_000, end: 700_100 }), bytes.subarray(700_000, 700_100));
    });

    for (const contentRange of [
      `Bytes 100-199/${MEBIBYTE}`,
      `BYTES 100-199/${MEBIBYTE}`,
      `bytes  100 - 199 / ${MEBIBYTE} `,
      `bytes=100-199/${MEBIBYTE}`,
      `bytes: 100-199/${MEBIBYTE}`,
    ]) {
      test(`with Content-Range: ${contentRange} are taken`, async () => {
        const headers = { 'content-range': contentRange };
        proxy.inject(() => ({ kind: 'answer', status: 206, headers, body: bytes.subarray(100, 200) }));
        assert.deepEqual(await read(big, { start: 100, end: 200 }), bytes.subarray(100, 200));
      });
    }

    test('are cut from the whole blob if the registry refuses ranges', async () => {
      proxy.inject(({ headers }) =>
        headers.range === undefined ? undefined : { kind: 'answer', status: 416 },
      );
      assert.deepEqual(await read(big, { start: 700_000, end: 700_100 }), bytes.subarray(700_000, 700_100));
      assert.deepEqual(ranges(), ['bytes=700000-700099', undefined]);
    });

    const wrong: [contentRange: string | undefined, message: RegExp][] = [
      [`bytes 0-99/${MEBIBYTE}`, /another range was sent/],
      [`bytes 101-199/${MEBIBYTE}`, /another range was sent/],
      [`bytes 100-199/${MEBIBYTE + 1}`, /states 1048576 bytes .* sends 1048577/],
      ['bytes */1048576', /another range was sent/],
      ['100-199', /another range was sent/],
      [undefined, /another range was sent/],
    ];
    for (const [contentRange, message] of wrong) {
      test(`with Content-Range: ${contentRange ?? '(absent)'} are refused`, async () => {
        const headers = contentRange === undefined ? {} : { 'content-range': contentRange };
        proxy.inject(() => ({ kind: 'answer', status: 206, headers, body: bytes.subarray(100, 200) }));
        await assert.rejects(read(big, { start: 100, end: 200 }), {
          code: /^(?:content|size)-mismatch$/,
          message,
        });
        assert.equal(proxy.requests.length, 1);
      });
    }

    test('with more bytes than asked for are refused', async () => {
      const headers = { 'content-range': `bytes 100-199/${MEBIBYTE}` };
      proxy.inject(() => ({ kind: 'answer', status: 206, headers, body: bytes.subarray(100, 300) }));
      await assert.rejects(read(big, { start: 100, end: 200 }), { code: 'content-mismatch' });
    });

    test('with an unknown whole length are taken', async () => {
      const headers = { 'content-range': 'bytes 100-199/*' };
      proxy.inject(() => ({ kind: 'answer', status: 206, headers, body: bytes.subarray(100, 200) }));
      assert.deepEqual(await read(big, { start: 100, end: 200 }), bytes.subarray(100, 200));
    });
  });

  suite('redirects of blobs', () => {
    const elsewhere = () => proxy.requests.filter(({ origin }) => origin === 'elsewhere');

    test('are followed without the credentials, which the registry got', async () => {
      // Like a registry with a token server, this one requires an Authorization header.
      proxy.inject(({ headers, origin }) => {
        if (origin === 'elsewhere') return undefined;
        if (headers.authorization) return { kind: 'redirect' };
        return { kind: 'answer', status: 401, headers: { 'www-authenticate': 'Basic realm="test"' } };
      });
      await using ours = createStack({
        hosts: [proxy.host],
        trusted: [proxy.elsewhere],
        credentials: { kind: 'password', username: 'alice', password: 'secret' },
      });
      const stream = await ours.client.blobs(repository()).read(big, undefined, never);
      assert.deepEqual(await buffer(stream), bytes);
      assert.deepEqual(
        proxy.requests.map(({ origin, headers }) => [origin, headers.authorization]),
        [
          ['registry', undefined],
          ['registry', `Basic ${btoa('alice:secret')}`],
          ['elsewhere', undefined],
        ],
      );
    });

    test('are followed with the range, and again for each part', async () => {
      let parts = 0;
      proxy.inject(({ origin }) => {
        if (origin === 'registry') return { kind: 'redirect' };
        parts += 1;
        return parts === 1 ? { kind: 'cut', after: 1000 } : undefined;
      });
      assert.deepEqual(await read(big, { start: 100, end: 5000 }), bytes.subarray(100, 5000));
      assert.deepEqual(ranges(elsewhere()), ['bytes=100-4999', 'bytes=1100-4999']);
    });

    test('into the inside are refused, and not tried again', async () => {
      const location = `http://127.0.0.2:${new URL(registry.url).port}/v2/test/image/blobs/${big.digest}`;
      proxy.inject(() => ({ kind: 'answer', status: 307, headers: { location } }));
      await assert.rejects(read(), { code: 'address-refused' });
      assert.equal(proxy.requests.length, 1);
    });
  });

  suite('aborted requests', () => {
    const held = (): ProxiedRequest => proxy.requests.at(-1) ?? assert.fail('no request');
    const isGone = () => waitFor(() => held().state === 'aborted by client');

    beforeEach(() => {
      proxy.inject(() => ({ kind: 'stall', after: 100_000 }));
    });

    for (const way of ['destroys the stream', 'aborts the signal'] as const) {
      test(`and ${way} ends the upstream request at once, while it waits for bytes`, async () => {
        const abort = new AbortController();
        const stream = await open(big, undefined, abort.signal);
        const ended = untilFailure(stream);
        await waitFor(() => proxy.requests.at(-1)?.sent === 100_000);
        if (way === 'aborts the signal') abort.abort();
        else stream.destroy();
        await isGone();
        assert.equal(
          ((await ended).error as Error).name,
          way === 'aborts the signal' ? 'AbortError' : 'Error',
        );
        assert.equal(stream.destroyed, true);
        assert.equal(proxy.requests.length, 1);
      });

      test(`and ${way} ends the upstream request at once, even without a pending read`, async () => {
        const abort = new AbortController();
        const stream = await open(big, undefined, abort.signal);
        stream.on('error', () => {});
        await new Promise((resolve) => stream.once('readable', resolve));
        if (way === 'aborts the signal') abort.abort();
        else stream.destroy();
        await isGone();
        assert.equal(proxy.requests.length, 1);
      });
    }

    test('and aborts the signal ends the upstream request at once, before its answer', async () => {
      const asked = Promise.withResolvers<void>();
      proxy.inject(() => {
        asked.resolve();
        return { kind: 'hold', until: new Promise(() => {}) };
      });
      const abort = new AbortController();
      const ended = untilFailure(open(big, undefined, abort.signal));
      await asked.promise;
      abort.abort();
      await isGone();
      await ended;
    });

    test('and aborts the signal in the pause between two tries causes no other try', async () => {
      const abort = new AbortController();
      const paused = Promise.withResolvers<void>();
      await using ours = createStack({
        hosts: [proxy.host],
        pause: async (_milliseconds, signal) => {
          paused.resolve();
          await once(signal, 'abort');
          signal.throwIfAborted();
        },
      });
      proxy.inject(() => ({ kind: 'drop' }));
      const ended = untilFailure(ours.client.blobs(repository()).read(big, undefined, abort.signal));
      await paused.promise;
      abort.abort();
      await ended;
      proxy.inject(undefined);
      assert.deepEqual(await read(), bytes);
      assert.equal(proxy.requests.length, 2);
    });

    test('an aborted manifest is an AbortError', async () => {
      const abort = new AbortController();
      proxy.inject(() => {
        abort.abort();
        return { kind: 'hold', until: new Promise(() => {}) };
      });
      await assert.rejects(stack.client.manifest(repository(), 'oci', abort.signal), { name: 'AbortError' });
      await isGone();
    });

    test('a slow reader holds the upstream back', async () => {
      proxy.inject(undefined);
      const stream = await open();
      await new Promise((resolve) => stream.once('readable', resolve));
      assert.ok(stream.readableLength < big.size / 4);
      stream.destroy();
    });

    test('a slow sink holds the upstream back, too, and gets every byte', async () => {
      proxy.inject(undefined);
      const taken: Buffer[] = [];
      const gate = Promise.withResolvers<void>();
      const sink = new Writable({
        highWaterMark: 1,
        write: (chunk: Buffer, _encoding, done) => {
          taken.push(Buffer.from(chunk));
          gate.promise.then(() => setImmediate(done));
        },
      });
      const sent = send(await open(), sink);
      await waitFor(() => taken.length === 1);
      assert.ok(sink.writableLength < big.size / 4);
      gate.resolve();
      await sent;
      await finished(sink.end());
      assert.ok(Buffer.concat(taken).equals(bytes));
    });

    test('a sink that breaks ends the upstream request where its owner destroys the stream', async () => {
      const stream = await open();
      const sink = new PassThrough().on('close', () => stream.destroy());
      const sent = assert.rejects(send(stream, sink));
      await waitFor(() => proxy.requests.at(-1)?.sent === 100_000);
      sink.destroy();
      await sent;
      await isGone();
    });
  });

  suite('the existence of a blob in the registry itself', () => {
    const has = async ({ digest, size }: Descriptor = big): Promise<boolean> => {
      const found = await stack.client.findBlob(repository(), digest, never);
      if (found !== undefined) assert.equal(found.size, size);
      return found !== undefined;
    };
    const asked = () => proxy.requests.map(({ method, headers: { range } }) => `${method} ${range ?? ''}`);
    const refused = (status: number) =>
      proxy.inject(({ method }) => (method === 'HEAD' ? { kind: 'answer', status } : undefined));

    test('is checked by HEAD', async () => {
      assert.equal(await has(), true);
      assert.equal(await has({ ...big, digest: parseDigest(`sha256:${'0'.repeat(64)}`) }), false);
      assert.deepEqual(asked(), ['HEAD ', 'HEAD ']);
    });

    for (const status of [400, 401, 403, 405, 501]) {
      test(`is asked by the GET of a byte where HEAD is answered with ${status}`, async () => {
        refused(status);
        assert.equal(await has(), true);
        const absent = { ...big, digest: parseDigest(`sha256:${'0'.repeat(64)}`) };
        assert.equal(await has(absent), false);
        assert.deepEqual(asked(), ['HEAD ', 'GET bytes=0-0', 'HEAD ', 'GET bytes=0-0']);
      });
    }

    test('is checked by GET if HEAD fails twice', async () => {
      refused(502);
      assert.equal(await has(), true);
      assert.deepEqual(asked(), ['HEAD ', 'HEAD ', 'GET bytes=0-0']);
    });

    test('is unknown if the registry is unavailable', async () => {
      proxy.inject(() => ({ kind: 'answer', status: 503 }));
      await assert.rejects(has(), { code: 'registry-unavailable' });
      assert.deepEqual(asked(), ['HEAD ', 'HEAD ', ...Array(3).fill('GET bytes=0-0')]);
    });
  });

  suite('foreign layers', () => {
    const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    const content = randomBytes(1000);

    /** Starts a server for foreign layers, like a vendor's own. */
    async function startVendor(listener: RequestListener): Promise<{ url: string } & AsyncDisposable> {
      const listening = await listen(createServer(listener));
      return { ...listening, url: `http://${listening.host}` };
    }

    const foreign = (...urls: string[]): Descriptor => ({
      mediaType,
      digest: sha256(content),
      size: content.length,
      urls,
    });

    const readFrom = async (what: Descriptor, open: string[], trusted: string[] = []): Promise<Buffer> => {
      await using ours = createStack({ hosts: [proxy.host], open, trusted });
      return await buffer(await ours.client.blobs(repository()).read(what, undefined, never));
    };

    test('come from their URL where the registry lacks them, without any credentials', async () => {
      let authorization: string | undefined = 'never asked';
      await using vendor = await startVendor((request, response) => {
        authorization = request.headers.authorization;
        response.end(content);
      });
      assert.deepEqual(await readFrom(foreign(`${vendor.url}/layer`), [vendor.url]), content);
      assert.equal(authorization, undefined);
      assert.equal(proxy.requests.length, 1, 'the registry was asked first');
    });

    test('come from the next URL if one does not have them', async () => {
      await using vendor = await startVendor((request, response) => {
        if (request.url === '/gone') response.writeHead(410).end();
        else response.end(content);
      });
      const what = foreign('not a URL', `${vendor.url}/gone`, `${vendor.url}/layer`);
      assert.deepEqual(await readFrom(what, [vendor.url]), content);
    });

    test('come from the registry where it has them', async () => {
      const what = { ...big, mediaType, urls: ['http://127.0.0.1:9/never'] };
      assert.deepEqual(await readFrom(what, []), bytes);
    });

    test('are verified like any blob', async () => {
      await using vendor = await startVendor((_request, response) =>
        response.end(Buffer.alloc(content.length)),
      );
      await assert.rejects(readFrom(foreign(vendor.url), [vendor.url]), { code: 'content-mismatch' });
    });

    for (const url of [
      'http://127.0.0.1:9/',
      'https://127.0.0.1:9/',
      'https://169.254.169.254/',
      'file:///etc/passwd',
    ]) {
      test(`are not fetched from ${url}`, async () => {
        await assert.rejects(readFrom(foreign(url), []), { code: 'address-refused' });
        assert.equal(proxy.requests.length, 1, 'not tried again');
      });
    }

    test('are not fetched from an origin that the operator has listed, as an image’s author chose it', async () => {
      let asked = 0;
      await using vendor = await startVendor((_request, response) => {
        asked += 1;
        response.end(content);
      });
      const refused = { code: 'address-refused' };
      await assert.rejects(readFrom(foreign(`${vendor.url}/layer`), [], [vendor.url]), refused);
      await assert.rejects(readFrom(foreign(`${proxy.url}/v2/test/image/manifests/oci`), []), refused);
      assert.equal(asked, 0);
      assert.ok(proxy.requests.every(({ path }) => path.includes('/blobs/')));
    });

    test('that every URL lacks are not available', async () => {
      await assert.rejects(readFrom(foreign(), []), { code: 'layer-unavailable' });
    });

    test('come from the next URL where one is refused or fails', async () => {
      await using vendor = await startVendor((_request, response) => response.end(content));
      const what = foreign('http://127.0.0.1:9/', `${vendor.url}/layer`);
      assert.deepEqual(await readFrom(what, [vendor.url]), content);
    });

    test('an ordinary layer’s URLs are not used', async () => {
      let asked = 0;
      await using vendor = await startVendor((_request, response) => {
        asked += 1;
        response.end(content);
      });
      const what = { ...foreign(vendor.url), mediaType: layerMediaType.gzip };
      await assert.rejects(readFrom(what, [vendor.url]), { code: 'layer-unavailable' });
      assert.equal(asked, 0);
    });
  });

  test('a manifest whose body names no media type has the one of its header', async () => {
    const bare = manifest(
      oci.descriptor.mediaType,
      { schemaVersion: 2, ...JSON.parse(String(oci.bytes)), mediaType: undefined },
      oci.blobs,
      [],
    );
    await push(registry.url, 'test/image', 'bare', bare);
    const fetched = await stack.client.manifest(repository(), 'bare', never);
    assert.equal(fetched.contentType, oci.descriptor.mediaType);
  });
});

suite('the address of a registry', () => {
  const insecure = new Set(['127.0.0.1:5000', 'localhost']);
  for (const [domain, origin] of [
    ['docker.io', 'https://registry-1.docker.io'],
    ['ghcr.io', 'https://ghcr.io'],
    ['registry.test:443', 'https://registry.test'],
    ['registry.test:5000', 'https://registry.test:5000'],
    ['127.0.0.1:5000', 'http://127.0.0.1:5000'],
    ['127.0.0.1:5001', 'https://127.0.0.1:5001'],
    ['localhost', 'http://localhost'],
    ['[::1]:5000', 'https://[::1]:5000'],
  ] as const) {
    test(`${domain} is at ${origin}`, () => assert.equal(registryOrigin(domain, insecure), origin));
  }

  test('Docker Hub’s images are asked for by their full names, and 404 is a tag that does not exist', async () => {
    const asked: string[] = [];
    const http: HttpClient = {
      request: async (url) => {
        asked.push(url.href);
        return { status: 404, url, header: () => undefined, body: Readable.from([]), release() {} };
      },
      close: async () => {},
    };
    const anonymous: Authorizer = {
      authorization: async () => undefined,
      challenged: async () => undefined,
      refusal: async (image) => missingOrPrivate(image),
    };
    const authorizer: RegistryAuthorizer = { ...anonymous, redirected: () => anonymous };
    const client: RegistryClient = createRegistryClient({ http, authorizer, insecure });
    await assert.rejects(client.manifest(parseReference('busybox'), 'latest', never), {
      code: 'image-not-found',
      message: 'The image docker.io/library/busybox:latest does not exist.',
    });
    assert.deepEqual(asked, ['https://registry-1.docker.io/v2/library/busybox/manifests/latest']);
  });
});
