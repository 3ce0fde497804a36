import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { whyNot } from '../support/packages.ts';
import { temporaryFolder } from '../support/process.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { type BenchImage, pushBenchImage } from './bench-image.ts';
import { type Certificate, makeCertificate } from './certificate.ts';
import { curl } from './curl.ts';
import { archiveUrl, startOverTls } from './dockerproxy-over-tls.ts';
import { type Nginx, startNginx } from './nginx.ts';

/** What all measurements share. */
export interface Stage extends AsyncDisposable {
  signal: AbortSignal;
  registry: Registry;
  certificate: Certificate;
  whole: BenchImage;
  /** A quarter of its size: what 50 clients fetch at once, so that they are done in time. */
  quarter: BenchImage;
  /** The server, or why there is none. */
  nginx: Nginx | string;
}

/** The archives of the two images below nginx's root. */
export const staticFiles = { whole: 'whole.tar', quarter: 'quarter.tar' };

/** Starts the registry with its two images, and nginx with their archives. */
export async function setStage(bytes: number, signal: AbortSignal): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const registry = stack.use(await startRegistry());
  const make = async (repository: string, size: number) => {
    const workshop = join(folder.path, repository);
    await mkdir(workshop, { recursive: true });
    return pushBenchImage({ registry, repository, bytes: size, folder: workshop, signal });
  };
  const whole = await make('bench/whole', bytes);
  const quarter = await make('bench/quarter', bytes / 4);
  const certificate = await makeCertificate(folder.path);
  const absent = whyNot('nginx');
  const nginx = absent ?? stack.use(await startNginx({ certificate, registryUrl: registry.url }));
  const stage = { signal, registry, certificate, whole, quarter, nginx };
  if (typeof nginx !== 'string') await makeStaticFiles(stage, nginx);
  const held = stack.move();
  return { ...stage, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** nginx serves the very bytes that DockerProxy does. */
async function makeStaticFiles(stage: Omit<Stage, typeof Symbol.asyncDispose>, nginx: Nginx): Promise<void> {
  await using folder = await temporaryFolder();
  await using proxy = await startOverTls(stage, folder);
  const { signal, certificate } = stage;
  for (const name of ['whole', 'quarter'] as const) {
    const output = join(nginx.root, staticFiles[name]);
    const url = archiveUrl(proxy, stage.registry, stage[name]);
    await curl([url], { signal, certificate: certificate.certificate, output });
  }
}
