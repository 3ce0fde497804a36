import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Environment } from './environment.ts';
import type { Row } from './figures.ts';
import { formatTable, formatTargets } from './table.ts';
import type { Target } from './targets.ts';

/** The results of a run. */
export interface Report extends Environment {
  /** One sentence about the images. */
  image: string;
  rows: Row[];
  targets: Target[];
}

const explanation = `\
Cold is a fresh process with an empty cache; warm is the same once it has sent the image. MB/s and CPU count the
image as the registry stores it. CPU and memory are those of the server (of DockerProxy, nginx, or dockerd with its
containerd and the client), for skopeo, dockerproxy save and the blobs those of the command itself. Idle, memory is what
is held, not a peak. curl, the client of DockerProxy and nginx, writes to /dev/null, and has one processor for all its transfers: near 100 % it is curl that sets the speed.
docker and skopeo write a file. DockerProxy and nginx speak TLS. Of many clients' first bytes it is the median.`;

/** The report for people. */
export function formatReport({ date, machine, versions, image, rows, targets }: Report): string {
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `${date}: ${machine}\n${programs.join(', ')}\n${image}`,
    formatTable(rows),
    explanation,
    formatTargets(targets),
  ].join('\n\n');
}

/** Writes a file, with its folder. */
export async function writeOutput(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}
