import {
  cpuSecondsPerGigabyte,
  type Figures,
  megabytesPerSecond,
  type Row,
  type RowId,
  rowNames,
} from './figures.ts';
import type { Report } from './report.ts';
import { type Bar, type Chart, drawPicture } from './svg.ts';

const files: RowId[] = ['dockerproxy-cold', 'dockerproxy-warm', 'docker', 'skopeo-docker', 'skopeo-oci'];
const streams: RowId[] = ['dockerproxy-cold', 'dockerproxy-warm', 'nginx-proxy', 'nginx-static'];
const crowds: RowId[] = ['dockerproxy-cold-50', 'dockerproxy-warm-50', 'nginx-static-50'];

/** The report as a picture. */
export function drawCharts({ rows, machine, date, image }: Report): string {
  const chart = (
    title: string,
    ids: RowId[],
    value: (figures: Figures) => number | undefined,
    format: Chart['format'],
  ): Chart => ({ title, format, bars: ids.map((id) => barOf(id, rows, value)) });
  const speed = (number: number) => `${Math.round(number)} MB/s`;
  const size = (number: number) => `${Math.round(number / 1e6)} MB`;
  return drawPicture({
    title: 'A container image as one file',
    subtitle: [
      `${image.slice(0, 1).toUpperCase()}${image.slice(1)}.`,
      `${machine}, ${date}. DockerProxy and nginx over TLS.`,
    ],
    charts: [
      chart('Time to the first byte', files, ({ firstByteMs }) => firstByteMs, duration),
      chart('Time to the whole file', files, ({ seconds }) => seconds * 1000, duration),
      chart('Throughput, one client', streams, megabytesPerSecond, speed),
      chart('Throughput, 50 clients at once', crowds, megabytesPerSecond, speed),
      chart(
        'CPU seconds per GB',
        [...files, 'nginx-proxy', 'nginx-static'],
        cpuSecondsPerGigabyte,
        (number) => number.toFixed(1),
      ),
      chart('Disk space taken', [...files, 'nginx-static'], ({ diskBytes }) => diskBytes, size),
      chart(
        'Peak memory, one client',
        [...files, 'nginx-proxy', 'nginx-static'],
        ({ peakBytes }) => peakBytes,
        size,
      ),
      chart(
        'Peak memory, many clients',
        [...crowds, 'dockerproxy-slow-200'],
        ({ peakBytes }) => peakBytes,
        size,
      ),
    ],
  });
}

function barOf(id: RowId, rows: Row[], value: (figures: Figures) => number | undefined): Bar {
  const row = rows.find((one) => one.id === id);
  const measured = row && 'figures' in row ? value(row.figures) : undefined;
  return { label: rowNames[id], value: measured ?? 'absent', accent: id.startsWith('dockerproxy') };
}

/** Formats milliseconds in the most readable unit. */
export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 1 : 0)} s`;
}
