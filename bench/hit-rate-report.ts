import type { Simulation, Stream } from './simulation.ts';
import { drawPicture } from './svg.ts';
import { align } from './table.ts';

const headings = ['cache', 'bytes', 'downloads', 'upstream TB', 'GETs', 'pulls'];

/** A table for each exponent. */
export function formatHitRates(stream: Stream, results: readonly Simulation[]): string {
  return [describe(stream), ...results.map(formatOne), explanation].join('\n\n');
}

const explanation = `\
bytes and downloads: those that come from the cache (of a download, all of it). Upstream TB, GETs (of layers and
manifests) and pulls (of manifests, as Docker Hub counts them) are of one day, after others that filled the cache.`;

function formatOne({ exponent, rates, ...stream }: Simulation): string {
  const { distinctBytes, bytesPerDownload, layersPerDownload, newImages } = stream;
  const title = `Exponent ${exponent}: ${tera(distinctBytes)} TB of distinct blobs; a download has ${Math.round(
    bytesPerDownload / 1e6,
  )} MB in ${layersPerDownload.toFixed(1)} layers; ${newImages} images are new`;
  const lines = rates.map(({ cacheSize, bytes, downloads, upstreamBytes, upstreamGets, pulls }) => [
    sizeName(cacheSize),
    percent(bytes),
    percent(downloads),
    tera(upstreamBytes),
    String(upstreamGets),
    String(pulls),
  ]);
  return `${title}\n${align([headings, ...lines])}`;
}

/** The bytes that come from the cache, by its size, for each exponent. */
export function drawHitRates(stream: Stream, results: readonly Simulation[]): string {
  return drawPicture({
    title: 'What comes from the cache, of the bytes, by its size',
    subtitle: [describe(stream), 'Layers as large as those of 16 official images; npm run bench:hit-rate.'],
    charts: results.map(({ exponent, rates }) => ({
      title: `Popularity by Zipf, exponent ${exponent}`,
      bars: rates.map(({ cacheSize, bytes }) => ({ label: sizeName(cacheSize), value: bytes, accent: true })),
      format: percent,
      full: 1,
    })),
  });
}

function describe({ images, downloadsPerDay, seed }: Stream): string {
  const thousands = (count: number): string => count.toLocaleString('en');
  return `A simulation of ${thousands(downloadsPerDay)} downloads a day of ${thousands(images)} images, seed ${seed}.`;
}

/** `80 GiB`, `2 TiB`. */
function sizeName(bytes: number): string {
  const gib = bytes / 1024 ** 3;
  return gib < 1024 ? `${gib} GiB` : `${gib / 1024} TiB`;
}

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
const tera = (bytes: number): string => (bytes / 1e12).toFixed(2);
