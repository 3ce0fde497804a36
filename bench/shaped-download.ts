/**
 * `unshare --net node bench/shaped-download.ts JSON`: downloads an image over lines whose rates the kernel limits, in a
 * network namespace that has nothing else. A proxy would fill the system's buffers of connections that wait, which a real
 * line does not.
 */
import { runOrThrow } from '../test/support/process.ts';
import { startRegistry } from '../test/support/registry.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import type { BenchImage } from './bench-image.ts';
import type { Certificate } from './certificate.ts';
import type { CommandLine } from './command-line.ts';
import { curl } from './curl.ts';
import { archiveUrl, startOverTls } from './dockerproxy-over-tls.ts';
import { startLimitingProxy } from './limiting-proxy.ts';
import { asOneImage } from './measure-server.ts';

/** Rates are in bytes per second; unlimited if absent. */
export interface ShapedDownload {
  /** The storage of a registry that has the image. */
  readonly storage: string;
  readonly image: BenchImage;
  readonly certificate: Certificate;
  readonly commandLine: CommandLine;
  /** The line from the registry, which its connections share. */
  readonly registryLine?: number;
  /** The line to the client. */
  readonly clientLine?: number;
  /** Each connection to the registry. */
  readonly connection?: number;
}

/** Seconds of the archive from DockerProxy, and of the blobs one after the other. */
export interface ShapedTimes {
  readonly proxy: number;
  readonly blobs: number;
}

/** Bytes that wait for a line before it drops packets, which is 25 ms at 40 MB/s. */
const QUEUE = 1_000_000;

async function measure(download: ShapedDownload): Promise<ShapedTimes> {
  const { storage, image, certificate, commandLine, registryLine, clientLine, connection } = download;
  const options = { signal: new AbortController().signal, certificate: certificate.certificate };
  await runOrThrow('ip', ['link', 'set', 'lo', 'up']);
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const registry = stack.use(await startRegistry({ storage }));
  const upstream = connection ? stack.use(await startLimitingProxy(registry.url, connection)) : registry;
  const proxy = stack.use(await startOverTls({ registry: upstream, certificate, commandLine }, folder));
  await limitLines({ [upstream.host]: registryLine, [new URL(proxy.url).host]: clientLine });
  const { seconds } = await curl([archiveUrl(proxy, upstream, image)], options);
  // Without DockerProxy, the slower line alone decides.
  await limitLines({ [upstream.host]: registryLine ?? clientLine });
  const urls = image.blobUrls.map((url) => `http://${upstream.host}${new URL(url).pathname}`);
  const blobs = asOneImage(await curl(urls, options));
  return { proxy: seconds, blobs: blobs.seconds };
}

/** Limits what servers on loopback send, each to a rate in bytes per second. */
async function limitLines(rates: Record<string, number | undefined>): Promise<void> {
  const lines = Object.entries(rates).flatMap(([host, rate], index) => {
    if (rate === undefined) return [];
    const id = `1:${index + 1}`;
    const port = host.slice(host.lastIndexOf(':') + 1);
    return [
      `class add dev lo parent 1: classid ${id} htb rate ${rate * 8} burst 128k cburst 128k quantum 60000`,
      `qdisc add dev lo parent ${id} bfifo limit ${QUEUE}`,
      `filter add dev lo parent 1: protocol ip u32 match ip sport ${port} 0xffff flowid ${id}`,
    ];
  });
  // Packets without a class have no limit.
  const input = ['qdisc replace dev lo root pfifo', 'qdisc replace dev lo root handle 1: htb', ...lines].join(
    '\n',
  );
  await runOrThrow('tc', ['-batch', '-'], { input });
}

process.stdout.write(JSON.stringify(await measure(JSON.parse(process.argv[2] ?? '') as ShapedDownload)));
