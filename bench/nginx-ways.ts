import { mkdir, rm } from 'node:fs/promises';
import { curl } from './curl.ts';
import { diskBytes } from './disk.ts';
import { crowd } from './dockerproxy-ways.ts';
import { asOneImage, measureServer } from './measure-server.ts';
import type { Nginx } from './nginx.ts';
import { type Stage, staticFile } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** Measures nginx over TLS with the same bytes, as a proxy of the registry with and without a cache, and from a file. */
export function nginxWays(stage: Stage, repetitions: number): Way[] {
  const { nginx, signal, image } = stage;
  const options = { signal, certificate: stage.certificate.certificate };
  const withNginx = (use: (nginx: Nginx) => Promise<Measurement>) => ({
    absent: typeof nginx === 'string' ? nginx : undefined,
    measure: async () => (typeof nginx === 'string' ? [] : [await use(nginx)]),
  });
  const fetchFile = async (server: Nginx, id: Measurement['id'], clients: number): Promise<Measurement> => {
    const urls = Array.from({ length: clients }, () => `${server.url}/${staticFile}`);
    const { figures, details } = await measureServer(server, clients * image.bytes, () =>
      curl(urls, { ...options, parallel: clients > 1 }),
    );
    const file = `${server.root}/${staticFile}`;
    return { id, figures: { ...figures, diskBytes: await diskBytes(file) }, details };
  };
  const passOn = async (server: Nginx, id: Measurement['id'], prefix: string): Promise<Measurement> => {
    await emptyFolder(server.cache);
    const urls = image.blobUrls.map((url) => server.url + prefix + new URL(url).pathname);
    const { figures, details } = await measureServer(server, image.bytes, async () =>
      asOneImage(await curl(urls, options)),
    );
    return { id, figures: { ...figures, diskBytes: await diskBytes(server.cache) }, details };
  };
  return [
    {
      ids: ['nginx-proxy'],
      repetitions,
      ...withNginx((server) => passOn(server, 'nginx-proxy', '')),
    },
    {
      ids: ['nginx-proxy-cache'],
      repetitions,
      ...withNginx((server) => passOn(server, 'nginx-proxy-cache', '/stored')),
    },
    {
      ids: ['nginx-static'],
      repetitions,
      ...withNginx((server) => fetchFile(server, 'nginx-static', 1)),
    },
    {
      ids: ['nginx-static-50'],
      repetitions: 1,
      ...withNginx((server) => fetchFile(server, 'nginx-static-50', crowd)),
    },
  ];
}

/** Makes the next responses be fetched again, because nginx treats a stored response without a file as missing. */
async function emptyFolder(path: string): Promise<void> {
  await rm(path, { recursive: true });
  await mkdir(path);
}
