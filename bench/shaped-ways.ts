import { type LinkRates, startShapedLink } from '../test/support/shaped-link.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { curl } from './curl.ts';
import { archiveUrl, startOverTls } from './dockerproxy-over-tls.ts';
import type { RowId } from './figures.ts';
import { asOneImage } from './measure-server.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** Bytes per second. */
const LINE = 40e6;

interface Shape {
  readonly registry: LinkRates;
  readonly client: LinkRates;
  readonly proxy: RowId;
  /** Fetches the blobs one after the other, as a download without read-ahead does. */
  readonly blobs: RowId;
}

const limited = { line: LINE };
const shapes: readonly Shape[] = [
  {
    ...{ registry: limited, client: limited },
    ...{ proxy: 'dockerproxy-equal-links', blobs: 'blobs-equal-links' },
  },
  {
    ...{ registry: limited, client: {} },
    ...{ proxy: 'dockerproxy-slow-registry', blobs: 'blobs-slow-registry' },
  },
  {
    ...{ registry: {}, client: limited },
    ...{ proxy: 'dockerproxy-slow-client', blobs: 'blobs-slow-client' },
  },
  {
    ...{ registry: { connection: LINE / 3 }, client: limited },
    ...{ proxy: 'dockerproxy-limited-connections', blobs: 'blobs-limited-connections' },
  },
];

/** Downloads, cold, over lines of limited rates: of the registry, of the client, or of each connection. */
export function shapedWays(stage: Stage): Way[] {
  return shapes.map((shape) => ({
    ids: [shape.proxy, shape.blobs],
    repetitions: 1,
    measure: async () => [await measureProxy(stage, shape), await measureBlobs(stage, shape)],
  }));
}

async function measureProxy(
  stage: Stage,
  { registry: rates, client: own, proxy: id }: Shape,
): Promise<Measurement> {
  const { registry, signal, image, certificate } = stage;
  await using folder = await temporaryFolder();
  await using upstream = await startShapedLink(registry.url, rates);
  await using proxy = await startOverTls({ ...stage, registry: upstream }, folder);
  await using client = await startShapedLink(proxy.url, own);
  const url = new URL(archiveUrl(proxy, upstream, image));
  url.host = client.host;
  const { seconds } = await curl([url.href], { signal, certificate: certificate.certificate });
  return { id, figures: { seconds, imageBytes: image.bytes } };
}

async function measureBlobs(
  { registry, signal, image, certificate }: Stage,
  { registry: rates, client: own, blobs: id }: Shape,
): Promise<Measurement> {
  await using upstream = await startShapedLink(registry.url, rates);
  await using client = await startShapedLink(`http://${upstream.host}`, own);
  const urls = image.blobUrls.map((blob) => Object.assign(new URL(blob), { host: client.host }).href);
  const { seconds } = asOneImage(await curl(urls, { signal, certificate: certificate.certificate }));
  return { id, figures: { seconds, imageBytes: image.bytes } };
}
