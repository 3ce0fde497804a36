import { join } from 'node:path';
import { whyNot } from '../test/support/packages.ts';
import { temporaryFolder } from '../test/support/process.ts';
import { startRegistry } from '../test/support/registry.ts';
import { curl } from './curl.ts';
import { startOverTls } from './dockerproxy-over-tls.ts';
import type { RowId } from './figures.ts';
import { measureServer } from './measure-server.ts';
import { runMetered } from './metered-command.ts';
import { countGets, describeGets } from './registry-gets.ts';
import { residentBytes, startMeter } from './server-meter.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

const CLIENTS = 20;

/** A server that images are pulled through. */
interface Server {
  /** `host:port` */
  readonly host: string;
  readonly pid: number;
  /** The part of a repository name that selects the registry; empty if the server has only one. */
  readonly prefix: string;
}

/**
 * Pulls an image by skopeo: directly from its registry, and through DockerProxy and Debian's docker-registry, both over TLS,
 * with an empty cache and again.
 */
export function pullWays(stage: Stage, repetitions: number): Way[] {
  const way = (ids: RowId[], times: number, measure: Way['measure']): Way => ({
    ids,
    absent: whyNot('skopeo'),
    repetitions: times,
    measure,
  });
  return [
    way(['pull-direct'], repetitions, async () => [
      await pull(stage, 'pull-direct', { ...stage.registry, prefix: '' }),
    ]),
    way(['pull-registry-cold', 'pull-registry-warm'], repetitions, async () => {
      const { certificate: tls, registry } = stage;
      await using mirror = await startRegistry({ tls, mirrorOf: registry.url });
      const server = { ...mirror, prefix: '' };
      return [
        await pull(stage, 'pull-registry-cold', server),
        await pull(stage, 'pull-registry-warm', server),
      ];
    }),
    way(['pull-dockerproxy-cold', 'pull-dockerproxy-warm'], repetitions, async () => {
      await using proxy = await startProxy(stage);
      return [
        await pull(stage, 'pull-dockerproxy-cold', proxy),
        await pull(stage, 'pull-dockerproxy-warm', proxy),
      ];
    }),
    way(['pull-dockerproxy-cold-20'], 1, async () => [await pullAtOnce(stage)]),
  ];
}

/** Starts DockerProxy, where the registry has the name `lab`. */
async function startProxy(stage: Stage): Promise<Server & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const env = { DOCKERPROXY_REGISTRY_NAMES: `lab=${stage.registry.host}` };
  const { url, pid } = stack.use(await startOverTls(stage, folder, env));
  const held = stack.move();
  return {
    ...{ host: new URL(url).host, pid, prefix: 'lab/' },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** Copies the image to a folder. The costs are those of the server. */
async function pull(
  { signal, image, registry }: Stage,
  id: RowId,
  { host, pid, prefix }: Server,
): Promise<Measurement> {
  await using folder = await temporaryFolder();
  await registry.reset();
  const costSoFar = startMeter(pid, residentBytes(pid));
  const source = `docker://${host}/${prefix}${image.repository}:latest`;
  const { seconds, cpuSeconds: clientCpuSeconds } = await runMetered(
    'skopeo',
    [
      ...['--insecure-policy', 'copy', '--quiet', '--src-tls-verify=false', '--src-no-creds'],
      ...[source, `dir:${join(folder.path, 'image')}`],
    ],
    { signal },
  );
  const cost = costSoFar();
  const gets = countGets(await registry.requests(), image);
  return {
    id,
    figures: { seconds, imageBytes: image.bytes, ...cost, clientCpuShare: clientCpuSeconds / seconds },
    note: describeGets(gets),
    details: gets,
  };
}

/** Pulls all blobs as many clients at once. */
async function pullAtOnce(stage: Stage): Promise<Measurement> {
  const { signal, image, registry, certificate } = stage;
  await using proxy = await startProxy(stage);
  await registry.reset();
  const urls = image.blobUrls.map((url) => `https://${proxy.host}/v2/lab${new URL(url).pathname.slice(3)}`);
  const server = { pid: proxy.pid, idleBytes: residentBytes(proxy.pid) };
  const { figures } = await measureServer(server, CLIENTS * image.bytes, () =>
    curl(Array.from({ length: CLIENTS }, () => urls).flat(), {
      signal,
      certificate: certificate.certificate,
      parallel: true,
    }),
  );
  const gets = countGets(await registry.requests(), image);
  return { id: 'pull-dockerproxy-cold-20', figures, note: describeGets(gets), details: gets };
}
