import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { answering, flooding, raw } from '../support/hostile-registry.ts';
import { blob, image } from '../support/images.ts';
import {
  broken,
  byReference,
  digest,
  type HostileBed,
  type How,
  LAYER,
  MEBIBYTE,
  refused,
  startHostileBed,
} from './hostile-bed.ts';

for (const [title, cacheSize] of [
  ['with the cache', '20GiB'],
  ['without it', '0'],
]) {
  suite(`a registry that lies about layers, ${title}`, { concurrency: 8, timeout: 180_000 }, () => {
    let bed: HostileBed;
    const breaks = (what: string, how: How): void => broken(() => bed, what, how);
    const refuses = (what: string, status: number, code: string, how: How): void =>
      refused(() => bed, what, status, code, how);

    before(async () => {
      bed = await startHostileBed({ DOCKERPROXY_CACHE_SIZE: cacheSize });
    });
    after(() => bed.close());

    refuses('longer than the manifest says', 422, 'size-mismatch', () => ({
      layer: answering(Buffer.alloc(1_000_000)),
    }));
    refuses('shorter than the manifest says', 422, 'size-mismatch', () => ({
      layer: answering(Buffer.alloc(5)),
    }));
    breaks('no end of it', () => ({ layer: flooding() }));
    breaks('other bytes', ({ layers: [layer] }) => ({
      layer: answering(Buffer.alloc(layer?.descriptor.size ?? 0)),
    }));
    breaks('other bytes of 200 MB, of which the last are kept back', ({ layers: [layer] }) => ({
      layer: flooding(layer?.descriptor.size),
    }));
    breaks('a close before the end, each time', ({ layers: [layer] }) => ({
      layer: raw(`HTTP/1.1 200 OK\r\ncontent-length: ${layer?.descriptor.size}\r\n\r\nx`),
    }));
    breaks('a body shorter than its Content-Length', ({ layers: [layer] }) => ({
      layer: raw(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ${layer?.descriptor.size}\r\n\r\n`),
    }));
    breaks('chunks that are none', () => ({
      layer: raw('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n'),
    }));
    refuses('another part than was asked for', 502, 'content-mismatch', () => ({
      layer: (_request, response) =>
        void response.writeHead(206, { 'content-range': 'bytes 7-9/10', 'content-length': 3 }).end('abc'),
    }));
    refuses('nothing', 422, 'layer-unavailable', () => ({
      layer: (_request, response) => void response.writeHead(404).end(),
    }));
    refuses('no HTTP', 502, 'registry-failed', () => ({ layer: raw('SSH-2.0-OpenSSH_9.2\r\n') }));

    test('a gzip bomb passes unchanged and is never unpacked', { timeout: 60_000 }, async () => {
      const bomb = gzipSync(Buffer.alloc(256 * MEBIBYTE));
      const bombed = { ...blob(LAYER, bomb), diffId: digest('bomb') };
      const made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [bombed] });
      const contents = [made.config, bombed].map(({ descriptor, content }) => [descriptor.digest, content]);
      const result = await bed.suffer(() => ({
        manifest: answering(made.bytes),
        blob: byReference(Object.fromEntries(contents) as Record<string, Uint8Array>, {
          'content-encoding': 'gzip',
        }),
      }));
      assert.ok('end' in result && result.end === 'whole' && result.size < bomb.length + 20_000);
    });
  });
}
