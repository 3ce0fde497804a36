import { curl } from './curl.ts';
import { diskBytes } from './disk.ts';
import { crowd } from './dockerproxy-ways.ts';
import { asOneImage, measureServer } from './measure-server.ts';
import type { Nginx } from './nginx.ts';
import { type Stage, staticFiles } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** What nginx does over TLS with the same bytes: pass them on from the registry, or send them from a file. */
export function nginxWays(stage: Stage, repetitions: number): Way[] {
  const { nginx, signal } = stage;
  const options = { signal, certificate: stage.certificate.certificate };
  const withNginx = (use: (nginx: Nginx) => Promise<Measurement>) => ({
    absent: typeof nginx === 'string' ? nginx : undefined,
    measure: async () => (typeof nginx === 'string' ? [] : [await use(nginx)]),
  });
  const fetchFile = async (
    server: Nginx,
    id: Measurement['id'],
    size: 'whole' | 'quarter',
    clients: number,
  ) => {
    const urls = Array.from({ length: clients }, () => `${server.url}/${staticFiles[size]}`);
    const { figures, details } = await measureServer(server, clients * stage[size].bytes, () =>
      curl(urls, { ...options, parallel: clients > 1 }),
    );
    const file = `${server.root}/${staticFiles[size]}`;
    return { id, figures: { ...figures, diskBytes: await diskBytes(file) }, details };
  };
  const passOn = async (server: Nginx): Promise<Measurement> => {
    const urls = stage.whole.blobUrls.map((url) => server.url + new URL(url).pathname);
    const { figures, details } = await measureServer(server, stage.whole.bytes, async () =>
      asOneImage(await curl(urls, options)),
    );
    return { id: 'nginx-proxy', figures: { ...figures, diskBytes: 0 }, details };
  };
  return [
    { ids: ['nginx-proxy'], repetitions, ...withNginx(passOn) },
    {
      ids: ['nginx-static'],
      repetitions,
      ...withNginx((server) => fetchFile(server, 'nginx-static', 'whole', 1)),
    },
    {
      ids: ['nginx-static-50'],
      repetitions: 1,
      ...withNginx((server) => fetchFile(server, 'nginx-static-50', 'quarter', crowd)),
    },
  ];
}
