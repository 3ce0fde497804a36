import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type KnownLayers, layersToOmit, withoutLayers } from '../../src/archive/delta.ts';
import { FORMATS } from '../../src/archive/format.ts';
import { layoutArchive } from '../../src/archive/layout.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { MemoryBlobs, sampleImage } from './samples.ts';

const blobs = new MemoryBlobs();
const layerOf = (text: string): Descriptor => blobs.add(new TextEncoder().encode(text));
const [a, b, c, x] = ['a', 'b', 'c', 'x'].map(layerOf) as [Descriptor, Descriptor, Descriptor, Descriptor];

const holding = (...images: Descriptor[][]): KnownLayers => ({
  images: images.map((layers) => layers.map(({ digest }) => digest)),
  layers: new Set(),
});
const naming = (...layers: Descriptor[]): KnownLayers => ({
  images: [],
  layers: new Set(layers.map(({ digest }) => digest)),
});

suite('the layers that a receiver has', () => {
  test('need not be sent', () => {
    assert.deepEqual(layersToOmit([[a, b, c]], holding([a, b]), FORMATS.docker), [a, b]);
    assert.deepEqual(layersToOmit([[a, b, c]], holding([a, b, c]), FORMATS.docker), [a, b, c]);
    assert.deepEqual(layersToOmit([[a, b, c]], holding([x]), FORMATS.docker), []);
    assert.deepEqual(layersToOmit([[a, b, c]], holding(), FORMATS.docker), []);
  });

  test('are the most of a single image, if it has several', () => {
    assert.deepEqual(layersToOmit([[a, b, c]], holding([a], [a, b]), FORMATS.docker), [a, b]);
  });

  test('above one that is new are sent to Docker, which knows a layer by what is below it', () => {
    assert.deepEqual(layersToOmit([[a, x, c]], holding([a, b, c]), FORMATS.docker), [a]);
    assert.deepEqual(layersToOmit([[a, x, c]], naming(a, c), FORMATS.docker), [a]);
    assert.deepEqual(layersToOmit([[x, a]], holding([a]), FORMATS.docker), []);
  });

  test('are omitted anywhere where layers are known by themselves', () => {
    assert.deepEqual(layersToOmit([[a, x, c]], holding([a, b, c]), FORMATS.oci), [a, c]);
    assert.deepEqual(layersToOmit([[a, x, c]], naming(c), FORMATS.oci), [c]);
  });

  test('are sent where they stand in a new place, too', () => {
    assert.deepEqual(layersToOmit([[a, b, a]], holding([a]), FORMATS.docker), []);
    assert.deepEqual(
      layersToOmit(
        [
          [a, b],
          [x, b],
        ],
        holding([a, b]),
        FORMATS.docker,
      ),
      [a],
    );
  });
});

suite('an archive without some layers', () => {
  const image = sampleImage('app:2', blobs, [a, b]);
  const full = FORMATS.docker.entries([image]);

  test('has the same metadata and lacks only their files', () => {
    const delta = withoutLayers(full, [a]);
    const missing = full.filter((entry) => !delta.includes(entry));
    assert.deepEqual(
      missing.map(({ path }) => path),
      [`blobs/sha256/${a.digest.slice('sha256:'.length)}`],
    );
  });

  test('is another file, with another ETag', () => {
    const [whole, delta] = [full, withoutLayers(full, [a])].map(layoutArchive);
    assert.notEqual(whole?.etag, delta?.etag);
    assert.equal((whole?.size ?? 0) - (delta?.size ?? 0), 1024, 'a header and a block');
  });
});
