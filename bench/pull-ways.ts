import { join } from 'node:path';
import { whyNot } from '../test/support/packages.ts';
import { startRegistry } from '../test/support/registry.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
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

/** The lines of a server: skopeo with an empty cache, skopeo again, and curl. */
type PullIds = [RowId, RowId, RowId];

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
 * with an empty cache and again. skopeo limits the speed, so curl then pulls the blobs from both.
 */
export function pullWays(stage: Stage, repetitions: number): Way[] {
  const way = (ids: RowId[], times: number, measure: Way['measure']): Way => ({
    ids,
    absent: whyNot('skopeo'),
    repetitions: times,
    measure,
  });
  const pullThrough = async (server: Server, ids: PullIds): Promise<Measurement[]> => {
    const cold = await pull(stage, ids[0], server);
    // Not counted: a new process of DockerProxy still compiles, and collects the garbage of its startup.
    await pullBlobs(stage, ids[2], server, 1);
    return [cold, await pull(stage, ids[1], server), await pullBlobs(stage, ids[2], server, 1)];
  };
  const registryIds: PullIds = ['pull-registry-cold', 'pull-registry-warm', 'pull-registry-blobs'];
  const proxyIds: PullIds = ['pull-dockerproxy-cold', 'pull-dockerproxy-warm', 'pull-dockerproxy-blobs'];
  return [
    way(['pull-direct'], repetitions, async () => [
      await pull(stage, 'pull-direct', { ...stage.registry, prefix: '' }),
    ]),
    way(registryIds, repetitions, async () => {
      const { certificate: tls, registry } = stage;
      await using mirror = await startRegistry({ tls, mirrorOf: registry.url });
      const { host, pid } = mirror;
      return await pullThrough({ host, pid, prefix: '' }, registryIds);
    }),
    way(proxyIds, repetitions, async () => {
      await using proxy = await startProxy(stage);
      return await pullThrough(proxy, proxyIds);
    }),
    way(['pull-dockerproxy-cold-20'], 1, async () => {
      await using proxy = await startProxy(stage);
      return [await pullBlobs(stage, 'pull-dockerproxy-cold-20', proxy, CLIENTS)];
    }),
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

/** Pulls all blobs by curl for some clients, all at once. */
async function pullBlobs(
  { signal, image, registry, certificate: { certificate } }: Stage,
  id: RowId,
  { host, pid, prefix }: Server,
  clients: number,
): Promise<Measurement> {
  await registry.reset();
  const blobs = image.blobUrls.map(
    (url) => `https://${host}/v2/${prefix}${new URL(url).pathname.slice('/v2/'.length)}`,
  );
  const urls = Array.from({ length: clients }, () => blobs).flat();
  const server = { pid, idleBytes: residentBytes(pid) };
  const { figures } = await measureServer(server, clients * image.bytes, () =>
    curl(urls, { signal, certificate, parallel: true }),
  );
  const gets = countGets(await registry.requests(), image);
  return { id, figures, note: describeGets(gets), details: gets };
}
