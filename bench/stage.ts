import { join } from 'node:path';
import { whyNot } from '../test/support/packages.ts';
import { type Registry, startRegistry } from '../test/support/registry.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { type BenchImage, pushBenchImage } from './bench-image.ts';
import { type Certificate, makeCertificate } from './certificate.ts';
import { type CommandLine, makeCommandLine } from './command-line.ts';
import { curl } from './curl.ts';
import { archiveUrl, startOverTls } from './dockerproxy-over-tls.ts';
import { type Nginx, startNginx } from './nginx.ts';

/** The parts that all measurements share. */
export interface Stage extends AsyncDisposable {
  signal: AbortSignal;
  registry: Registry;
  certificate: Certificate;
  image: BenchImage;
  commandLine: CommandLine;
  /** The server, or the reason why it is missing. */
  nginx: Nginx | string;
}

/** The image's archive below nginx's root. */
export const staticFile = 'image.tar';

/** Starts the registry with an image of about this many bytes, and nginx with its archive. */
export async function setStage(bytes: number, signal: AbortSignal): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const registry = stack.use(await startRegistry());
  const image = await pushBenchImage(registry, bytes, signal);
  const commandLine = await makeCommandLine(folder.path, registry);
  const certificate = await makeCertificate(folder.path);
  const absent = whyNot('nginx');
  const nginx = absent ?? stack.use(await startNginx({ certificate, registryUrl: registry.url }));
  const stage = { signal, registry, certificate, image, commandLine, nginx };
  if (typeof nginx !== 'string') await makeStaticFile(stage, nginx);
  const held = stack.move();
  return { ...stage, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** nginx serves the very bytes that DockerProxy does. */
async function makeStaticFile(stage: Omit<Stage, typeof Symbol.asyncDispose>, nginx: Nginx): Promise<void> {
  await using folder = await temporaryFolder();
  await using proxy = await startOverTls(stage, folder);
  const { signal, certificate, registry, image } = stage;
  const output = join(nginx.root, staticFile);
  await curl([archiveUrl(proxy, registry, image)], { signal, certificate: certificate.certificate, output });
}
