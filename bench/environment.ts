import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { hasPart, type PartName } from '../test/support/packages.ts';
import { run } from '../test/support/process.ts';
import type { BenchImage } from './bench-image.ts';

/** The machine and the versions of a measurement. */
export interface Environment {
  date: string;
  machine: string;
  /** The version that each program reports. */
  versions: Record<string, string>;
}

/** docker-registry reports its Go version, but not its own. */
const versioned: [part: PartName, args: string[]][] = [
  ['curl', ['--version']],
  ['dockerd', ['--version']],
  ['skopeo', ['--version']],
  ['nginx', ['-v']],
];

export async function describeEnvironment(): Promise<Environment> {
  const versions: Record<string, string> = { node: process.version };
  for (const [part, args] of versioned.filter(([name]) => hasPart(name))) {
    const { stdout, stderr } = await run(part, args);
    versions[part] = /\d+\.\d+\S*\d/.exec(stdout || stderr)?.[0] ?? '';
  }
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  const model = cpus()[0]?.model.trim() ?? process.arch;
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${availableParallelism()} × ${model}, ${memory}, Linux ${release()}`,
    versions,
  };
}

/** `an image of 500 MB in 5 layers, 1350 MB unpacked`. */
export function describeImage({ bytes, unpackedBytes, blobUrls }: BenchImage): string {
  const megabytes = (count: number) => `${Math.round(count / 1e6)} MB`;
  return `an image of ${megabytes(bytes)} in ${blobUrls.length - 1} layers, ${megabytes(unpackedBytes)} unpacked`;
}
