import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { curl } from './curl.ts';
import { archiveUrl, startOverTls } from './dockerproxy-over-tls.ts';
import type { RowId } from './figures.ts';
import { measureServer } from './measure-server.ts';
import { countGets, describeGets } from './registry-gets.ts';
import type { Stage } from './stage.ts';
import type { Way } from './ways.ts';

const CLIENTS = 20;
const RANGES = 8;

/** Downloads whose connections share requests: a crowd without a disk cache, and ranges of one file, cold. */
export function sharedFetchWays(stage: Stage): Way[] {
  const { registry, image, signal, certificate } = stage;
  const way = (
    id: RowId,
    env: NodeJS.ProcessEnv,
    images: number,
    requestsOf: (url: string) => { urls: string[]; ranges?: string[] },
  ): Way => ({
    ids: [id],
    repetitions: 1,
    async measure() {
      await using folder = await temporaryFolder();
      await using proxy = await startOverTls(stage, folder, env);
      await registry.reset();
      const { urls, ranges } = requestsOf(archiveUrl(proxy, registry, image));
      const options = { signal, certificate: certificate.certificate, parallel: true };
      const server = { pid: proxy.pid, idleBytes: proxy.memory() };
      const { figures, details } = await measureServer(server, images * image.bytes, () =>
        curl(urls, { ...options, ...(ranges && { ranges }) }),
      );
      const gets = countGets(await registry.requests(), image);
      return [{ id, figures, note: describeGets(gets), details: { ...details, ...gets } }];
    },
  });
  return [
    way('dockerproxy-uncached-20', { DOCKERPROXY_CACHE_SIZE: '0' }, CLIENTS, (url) => ({
      urls: Array.from({ length: CLIENTS }, () => url),
    })),
    way('dockerproxy-ranges-8', {}, 1, (url) => ({
      urls: Array.from({ length: RANGES }, () => url),
      ranges: rangesOf(image.bytes),
    })),
  ];
}

/** Cuts a file of at least these bytes into HTTP ranges. */
function rangesOf(bytes: number): string[] {
  const size = Math.floor(bytes / RANGES);
  return Array.from({ length: RANGES }, (_, at) => {
    const isLast = at === RANGES - 1;
    return `${at * size}-${isLast ? '' : (at + 1) * size - 1}`;
  });
}
