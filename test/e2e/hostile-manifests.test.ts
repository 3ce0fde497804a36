import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import {
  answering,
  challenging,
  flooding,
  type Handler,
  type Misbehaviour,
  raw,
} from '../support/hostile-registry.ts';
import type { Image } from '../support/images.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  byReference,
  digest,
  type HostileBed,
  type How,
  LAYER,
  MEBIBYTE,
  manifestOf,
  OCI_INDEX,
  refused,
  startHostileBed,
  withLayer,
} from './hostile-bed.ts';

suite('a registry that lies about manifests', { concurrency: 8, timeout: 600_000 }, () => {
  let bed: HostileBed;
  const failed = (title: string, how: How): void => refused(() => bed, title, 502, 'registry-failed', how);
  const other = (title: string, status: number, code: string, how: How): void =>
    refused(() => bed, title, status, code, how);

  before(async () => {
    bed = await startHostileBed();
  });
  after(() => bed.close());

  failed('1 GB of it', () => ({
    manifest: flooding(1024 * MEBIBYTE, { 'content-length': `${1024 * MEBIBYTE}` }),
  }));
  failed('no end of it', () => ({ manifest: flooding() }));
  failed('3 MB of brackets', () => ({ manifest: answering('['.repeat(3 * MEBIBYTE)) }));
  failed('100,000 nested lists beside what it needs', ({ bytes }) => ({
    manifest: answering(`${`${bytes}`.slice(0, -1)},"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
  }));
  failed('4 MiB of empty objects', () => ({ manifest: answering(`{"a":[${'{},'.repeat(1_398_000)}{}]}`) }));
  failed('objects within objects', () => ({
    manifest: answering(`${'{"a":'.repeat(500_000)}1${'}'.repeat(500_000)}`),
  }));
  failed('a part of it', ({ bytes }) => ({ manifest: answering(bytes.subarray(0, 100)) }));
  failed('shorter than its Content-Length', ({ bytes }) => ({
    manifest: raw(`HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n${bytes}`),
  }));
  failed('longer than its Content-Length', ({ bytes }) => ({
    manifest: raw(`HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n${bytes}`),
  }));
  failed('two Content-Lengths', ({ bytes }) => ({
    manifest: raw(`HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\n${bytes}`),
  }));
  failed('no HTTP', () => ({ manifest: raw('SSH-2.0-OpenSSH_9.2\r\n') }));
  failed('a close without an answer', () => ({ manifest: raw('') }));
  failed('a header of 1 MB', () => ({
    manifest: raw(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(MEBIBYTE)}\r\n\r\n`),
  }));
  failed('100,000 headers', () => ({
    manifest: raw(`HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(100_000)}\r\n`),
  }));
  other('another digest than it says', 502, 'content-mismatch', ({ bytes }) => ({
    manifest: answering(bytes, { 'docker-content-digest': digest('other') }),
  }));

  for (const size of [0, -1, 0.5, -0.5, 1e300, 2 ** 53, '10', null, [10], { size: 10 }, true, undefined]) {
    failed(`a layer of size ${JSON.stringify(size)}`, (honest) => ({
      manifest: withLayer(honest, { size }),
    }));
  }
  other('more bytes than can be counted', 403, 'image-too-large', (honest) =>
    imageOf(honest, layers(900, Number.MAX_SAFE_INTEGER)),
  );
  other('10,000 layers', 422, 'too-many-layers', (honest) => ({
    manifest: manifestOf(honest, (body) => ({ ...body, layers: layers(10_000, 1) })),
  }));
  other('more layers than the config knows', 422, 'not-an-image', (honest) => ({
    manifest: manifestOf(honest, (body) => ({ ...body, layers: layers(3, 1) })),
  }));
  other('one layer of two sizes', 502, 'content-mismatch', (honest) => {
    const [first] = honest.layers.map(({ descriptor }) => descriptor);
    return imageOf(honest, [{ ...first }, { ...first, size: 5 }]);
  });
  failed('an index of 30,000 images', ({ descriptor }) => ({
    manifest: answering({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: Array(30_000).fill(descriptor),
    }),
  }));
  failed('an index 1,000 deep', () => ({ manifest: deepIndex(1000) }));
  other('an index that contains itself', 502, 'content-mismatch', () => ({
    manifest: answering({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [entry(digest('itself'), 100)],
    }),
  }));
  failed('an index for an image', ({ descriptor: { mediaType, platform } }) => {
    const inner = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] });
    const described = { mediaType, platform, digest: digest(inner), size: inner.length };
    const outer = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [described] };
    return { manifest: byReference({ latest: JSON.stringify(outer), [digest(inner)]: inner }) };
  });

  failed('a config of 1 TB', (honest) => ({
    manifest: manifestOf(honest, (body) => ({ ...body, config: { ...body.config, size: 2 ** 40 } })),
  }));
  other('another config', 502, 'content-mismatch', ({ config }) => ({
    config: answering(Buffer.alloc(config.descriptor.size)),
  }));
  other('a config without end', 422, 'size-mismatch', () => ({ config: flooding() }));

  failed('a token of 10 MB', () => {
    bed.registry.at('/token/large', answering({ token: 'x'.repeat(10 * MEBIBYTE) }));
    return { manifest: challenging(`${bed.registry.url}/token/large`) };
  });
  failed('a token without end', () => {
    bed.registry.at('/token/endless', flooding());
    return { manifest: challenging(`${bed.registry.url}/token/endless`) };
  });
  failed('a token that would be a second header', () => {
    bed.registry.at('/token/split', answering({ token: 'x\r\nx-evil: 1' }));
    return { manifest: challenging(`${bed.registry.url}/token/split`) };
  });
  other('tokens that never suffice', 404, 'image-not-found', () => {
    bed.registry.at('/token/void', answering({ token: 'void', expires_in: -1e300 }));
    return { manifest: challenging(`${bed.registry.url}/token/void`) };
  });
  other('a challenge of 15 kB', 404, 'image-not-found', () => ({
    manifest: (_request, response) =>
      void response.writeHead(401, { 'www-authenticate': 'Negotiate a="'.padEnd(15_000, '\\"') }).end(),
  }));
  for (const after of ['-5', '1e9', '9'.repeat(400), 'Thu, 01 Jan 9999 00:00:00 GMT', 'soon']) {
    other(`a limit that ends after ${after.slice(0, 30)}`, 429, 'registry-rate-limited', () => ({
      manifest: (_request, response) => void response.writeHead(429, { 'retry-after': after }).end(),
    }));
  }

  test('endless responses are not read for long', async () => {
    bed.registry.misbehave('evil/measured', { manifest: flooding() });
    await bed.download('evil/measured');
    const sent = (): number => bed.registry.sent('/v2/evil/measured/');
    await waitFor(() => sent() > 0, { what: 'the end of the connection' });
    // The size limit of a manifest, plus the socket buffers.
    assert.ok(sent() < 30 * MEBIBYTE, `${sent()} bytes`);
  });
});

function layers(count: number, size: number): object[] {
  return Array.from({ length: count }, (_, at) => ({ mediaType: LAYER, digest: digest(`${at}`), size }));
}

/** An image with these layers, and a config with as many. */
function imageOf({ config, descriptor: { mediaType } }: Image, named: object[]): Misbehaviour {
  const rootfs = { type: 'layers', diff_ids: named.map((_, at) => digest(`${at}`)) };
  const body = JSON.stringify({ os: 'linux', architecture: 'amd64', rootfs });
  const described = { ...config.descriptor, digest: digest(body), size: body.length };
  return {
    manifest: answering({ schemaVersion: 2, mediaType, config: described, layers: named }),
    layer: answering(body),
  };
}

function entry(of: string, size: number): object {
  return { mediaType: OCI_INDEX, digest: of, size };
}

/** An index that contains an index, which contains another one. */
function deepIndex(depth: number): Handler {
  const bodies: Record<string, string> = {};
  let body = '';
  for (let level = 0; level < depth; level++) {
    const inner = entry(digest(body), body.length);
    body = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [inner] });
    bodies[digest(body)] = body;
  }
  return byReference({ ...bodies, latest: body });
}
