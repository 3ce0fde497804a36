/** `npm run bench:hit-rate`: simulates the savings of caches by their size. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { drawHitRates, formatHitRates } from './hit-rate-report.ts';
import { writeOutput } from './report.ts';
import { simulate } from './simulation.ts';

const GIB = 1024 ** 3;
const cacheSizes = [5, 10, 20, 40, 80, 160, 320, 640, 1024, 2048, 8192].map((gib) => gib * GIB);
const exponents = [0.6, 0.8, 1, 1.2];

const help = `Simulates the cache with a stream of downloads, and prints how much of it comes from the cache.

npm run bench:hit-rate -- [--images N] [--downloads N] [--seed N] [--svg FILE]

  --images N      number of images; 50000 by default
  --downloads N   downloads a day; 1000000 by default
  --days N        days that fill the cache before the measured day; 1 by default
  --seed N        seed of the random numbers; 1 by default
  --svg FILE      the picture; test/output/hit-rate.svg by default
`;

const { values } = parseArgs({
  options: {
    images: { type: 'string', default: '50000' },
    downloads: { type: 'string', default: '1000000' },
    days: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    svg: { type: 'string', default: join(import.meta.dirname, '..', 'test', 'output', 'hit-rate.svg') },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(help);
} else {
  const stream = {
    images: countOf('images'),
    downloadsPerDay: countOf('downloads'),
    daysBefore: countOf('days'),
    seed: countOf('seed'),
  };
  const results = exponents.map((exponent) => simulate({ ...stream, exponent, cacheSizes }));
  process.stdout.write(`${formatHitRates(stream, results)}\n`);
  await writeOutput(values.svg, drawHitRates(stream, results));
}

function countOf(name: 'images' | 'downloads' | 'days' | 'seed'): number {
  const count = Number(values[name]);
  if (!Number.isInteger(count) || count < 1) throw new Error(`--${name} is no whole number above 0`);
  return count;
}
