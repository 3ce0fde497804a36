import { join } from 'node:path';
import { whyNot } from '../test/support/packages.ts';
import type { RowId } from './figures.ts';
import { runMetered } from './metered-command.ts';
import type { ShapedDownload, ShapedTimes } from './shaped-download.ts';
import type { Stage } from './stage.ts';
import type { Way } from './ways.ts';

/** Bytes per second. */
const LINE = 40e6;

interface Shape extends Pick<ShapedDownload, 'registryLine' | 'clientLine' | 'connection'> {
  readonly proxy: RowId;
  /** Fetches the blobs one after the other, as a download without read-ahead does. */
  readonly blobs: RowId;
}

const shapes: readonly Shape[] = [
  {
    ...{ registryLine: LINE, clientLine: LINE },
    ...{ proxy: 'dockerproxy-equal-links', blobs: 'blobs-equal-links' },
  },
  { registryLine: LINE, proxy: 'dockerproxy-slow-registry', blobs: 'blobs-slow-registry' },
  { clientLine: LINE, proxy: 'dockerproxy-slow-client', blobs: 'blobs-slow-client' },
  {
    ...{ connection: LINE / 3, clientLine: LINE },
    ...{ proxy: 'dockerproxy-limited-connections', blobs: 'blobs-limited-connections' },
  },
];

const script = join(import.meta.dirname, 'shaped-download.ts');

/** Downloads, cold, over lines of limited rates: of the registry, of the client, or of each connection. */
export function shapedWays({ registry, signal, image, certificate, commandLine }: Stage): Way[] {
  return shapes.map(({ proxy, blobs, ...rates }) => ({
    ids: [proxy, blobs],
    absent: whyNot('namespaces'),
    repetitions: 1,
    async measure() {
      const download: ShapedDownload = { storage: registry.dir, image, certificate, commandLine, ...rates };
      const args = ['--net', process.execPath, script, JSON.stringify(download)];
      const { stdout } = await runMetered('unshare', args, { signal });
      const times = JSON.parse(stdout) as ShapedTimes;
      return [
        { id: proxy, figures: { seconds: times.proxy, imageBytes: image.bytes } },
        { id: blobs, figures: { seconds: times.blobs, imageBytes: image.bytes } },
      ];
    },
  }));
}
