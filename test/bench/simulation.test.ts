import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatHitRates } from '../../bench/hit-rate-report.ts';
import { ASSUMED, createImageCatalogue } from '../../bench/image-catalogue.ts';
import officialImages from '../../bench/official-images.json' with { type: 'json' };
import { createRandom, createZipf } from '../../bench/random.ts';
import { simulate } from '../../bench/simulation.ts';

const stream = { images: 300, downloadsPerDay: 2_000, daysBefore: 1, seed: 3 };

suite('the stream of downloads', () => {
  test('the images are as large as Docker Hub says', () => {
    const bases: Record<string, { from?: string; layers: number[] }> = officialImages.bases;
    const bytesOf = (name: string): number => {
      const { from, layers = [] } = bases[name] ?? {};
      return (from === undefined ? 0 : bytesOf(from)) + layers.reduce((sum, size) => sum + size, 0);
    };
    // The totals from the same source. Its sizes are from other days, so some kB differ.
    const totals = { postgres: 162_473_560, node: 442_394_221, golang: 312_305_560, wordpress: 274_695_616 };
    for (const [name, total] of Object.entries(totals)) {
      const image = officialImages.images.find((one) => one.name === name) ?? assert.fail(name);
      const bytes = bytesOf(image.from) + image.layers.reduce((sum, size) => sum + size, 0);
      assert.ok(Math.abs(bytes - total) < 500_000, `${name}: ${bytes} instead of ${total}`);
    }
  });

  test('images share the layers of their bases, and never a manifest', () => {
    const { blobsOf, sizes } = createImageCatalogue(stream.images, createRandom(1));
    const images = Array.from({ length: stream.images }, (_, image) => blobsOf(image, 0));
    const manifests = new Set(images.map(([manifest]) => manifest));
    assert.equal(manifests.size, stream.images);
    const layers = images.flatMap(([, ...rest]) => rest);
    assert.ok(new Set(layers).size < layers.length * 0.8);
    assert.ok(layers.every((layer) => (sizes[layer] ?? 0) > 0));
  });

  test('some tags move with a build, all others stay', () => {
    const { blobsOf } = createImageCatalogue(stream.images, createRandom(1));
    const isMoved = (image: number): boolean =>
      blobsOf(image, 0)[0] !== blobsOf(image, ASSUMED.daysBetweenBuilds)[0];
    const moved = Array.from({ length: stream.images }, (_, image) => image).filter(isMoved);
    const share = moved.length / stream.images;
    assert.ok(Math.abs(share - ASSUMED.shareOfMovingTags) < 0.1, `${share}`);
    assert.equal(blobsOf(0, 0), blobsOf(0, 0));
  });

  test('popularity falls as Zipf has it', () => {
    const draw = createZipf(100, 1, createRandom(5));
    const counts = new Float64Array(100);
    for (let at = 0; at < 100_000; at++) {
      const image = draw();
      counts[image] = (counts[image] ?? 0) + 1;
    }
    const ratio = (counts[0] ?? 0) / (counts[9] ?? 1);
    assert.ok(ratio > 7 && ratio < 14, `the first is asked for ${ratio} times as often as the tenth`);
  });
});

suite('the simulation', () => {
  const cacheSizes = [1e9, 5e9, 20e9, 1e12];
  const result = simulate({ ...stream, exponent: 1, cacheSizes });

  test('is the same for the same seed, and another for another one', () => {
    assert.deepEqual(simulate({ ...stream, exponent: 1, cacheSizes }), result);
    assert.notDeepEqual(simulate({ ...stream, seed: 4, exponent: 1, cacheSizes }), result);
  });

  test('a larger cache saves more, and one for everything all but what is new', () => {
    const shares = result.rates.map(({ bytes }) => bytes);
    assert.deepEqual(
      shares,
      shares.toSorted((a, b) => a - b),
    );
    const { pulls, bytes } = result.rates.at(-1) ?? assert.fail();
    // The images that were built on that day, and those without a request on the day before.
    assert.equal(pulls, result.newImages);
    assert.ok(pulls < 60, `${pulls} pulls`);
    assert.ok(bytes > 0.97, `${bytes}`);
  });

  test('bytes outside the cache come from upstream', () => {
    const total = result.bytesPerDownload * stream.downloadsPerDay;
    for (const { bytes, upstreamBytes, upstreamGets, pulls } of result.rates) {
      assert.ok(Math.abs(bytes + upstreamBytes / total - 1) < 1e-9);
      assert.ok(pulls <= upstreamGets);
    }
  });

  test('the table has a line for each size', () => {
    const text = formatHitRates(stream, [result]);
    assert.match(
      text,
      /^Exponent 1: .* TB of distinct blobs; a download has \d+ MB in [\d.]+ layers; \d+ images are new$/m,
    );
    assert.equal(text.match(/^[\d.]+ [GT]iB .* %/gm)?.length, cacheSizes.length);
  });
});
