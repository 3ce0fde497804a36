import { createImageCatalogue } from './image-catalogue.ts';
import { createLruModel } from './lru-model.ts';
import { createRandom, createZipf } from './random.ts';

export interface Stream {
  readonly images: number;
  readonly downloadsPerDay: number;
  /** Days that fill the cache before the measured day. */
  readonly daysBefore: number;
  readonly seed: number;
}

export interface SimulationOptions extends Stream {
  /** The exponent of Zipf's law: how much more often clients request the popular images. */
  readonly exponent: number;
  /** Bytes. */
  readonly cacheSizes: readonly number[];
}

/** The results of a cache of one size in one day, after it has filled. */
export interface HitRate {
  /** Bytes. */
  readonly cacheSize: number;
  /** The share of downloads that are complete in the cache. */
  readonly downloads: number;
  /** The share of bytes that come from the cache. */
  readonly bytes: number;
  /** GETs of layers and manifests. */
  readonly upstreamGets: number;
  /** The manifest requests among them, which Docker Hub counts as pulls. */
  readonly pulls: number;
  readonly upstreamBytes: number;
}

export interface Simulation {
  readonly exponent: number;
  /** Bytes of all requested blobs, each counted once. */
  readonly distinctBytes: number;
  /** The mean size of an image, over the downloads. */
  readonly bytesPerDownload: number;
  readonly layersPerDownload: number;
  /** The images that were requested for the first time on the counted day. A cache cannot have fewer pulls. */
  readonly newImages: number;
  readonly rates: readonly HitRate[];
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** Sends one stream of downloads through a cache of each size. */
export function simulate(options: SimulationOptions): Simulation {
  const { images, downloadsPerDay, daysBefore, seed, exponent, cacheSizes } = options;
  const catalogue = createImageCatalogue(images, createRandom(seed));
  const draw = createZipf(images, exponent, createRandom(seed + 1));
  const downloads = Array.from({ length: (daysBefore + 1) * downloadsPerDay }, (_, at) =>
    catalogue.blobsOf(draw(), at / downloadsPerDay),
  );
  const sizes = Float64Array.from(catalogue.sizes);
  const counted = downloads.slice(daysBefore * downloadsPerDay);
  const bytes = counted.reduce((sum, blobs) => sum + sizeOf(blobs, sizes), 0);
  const layers = counted.reduce((sum, blobs) => sum + blobs.length - 1, 0);
  const before = new Set(downloads.slice(0, daysBefore * downloadsPerDay));
  return {
    exponent,
    distinctBytes: sizes.reduce((sum, size) => sum + size, 0),
    bytesPerDownload: bytes / downloadsPerDay,
    layersPerDownload: layers / downloadsPerDay,
    newImages: [...new Set(counted)].filter((blobs) => !before.has(blobs)).length,
    rates: cacheSizes.map((cacheSize) => run(downloads, sizes, cacheSize, downloadsPerDay)),
  };
}

function run(
  downloads: readonly (readonly number[])[],
  sizes: Float64Array,
  cacheSize: number,
  downloadsPerDay: number,
): HitRate {
  const cache = createLruModel({ limit: cacheSize, sizes });
  const start = downloads.length - downloadsPerDay;
  let [whole, bytes, missedBytes, gets, pulls] = [0, 0, 0, 0, 0];
  downloads.forEach((blobs, at) => {
    const now = (at / downloadsPerDay) * DAY_MS;
    let missed = 0;
    blobs.forEach((blob, place) => {
      const isThere = cache.use(blob, now);
      if (at < start) return;
      bytes += sizes[blob] ?? 0;
      if (isThere) return;
      missed++;
      missedBytes += sizes[blob] ?? 0;
      if (place === 0) pulls++;
    });
    if (at < start) return;
    gets += missed;
    if (missed === 0) whole++;
  });
  return {
    cacheSize,
    downloads: whole / downloadsPerDay,
    bytes: 1 - missedBytes / bytes,
    upstreamGets: gets,
    pulls,
    upstreamBytes: missedBytes,
  };
}

function sizeOf(blobs: readonly number[], sizes: Float64Array): number {
  return blobs.reduce((sum, blob) => sum + (sizes[blob] ?? 0), 0);
}
