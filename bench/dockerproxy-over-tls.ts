import { join } from 'node:path';
import { type DockerProxy, startDockerProxy } from '../test/support/dockerproxy.ts';
import type { Registry } from '../test/support/registry.ts';
import type { TemporaryFolder } from '../test/support/temporary-folder.ts';
import { type BenchImage, platform } from './bench-image.ts';
import type { Certificate } from './certificate.ts';
import type { CommandLine } from './command-line.ts';

/** The registry, certificate and command line for DockerProxy. */
export interface Surroundings {
  registry: Pick<Registry, 'host'>;
  /** Set if the registry speaks TLS. */
  registryHasTls?: true;
  certificate: Certificate;
  commandLine: CommandLine;
}

/** DockerProxy with HTTPS, as its package runs, with its folders in the given one. */
export async function startOverTls(
  { registry, registryHasTls, certificate, commandLine }: Surroundings,
  folder: TemporaryFolder,
  env: NodeJS.ProcessEnv = {},
): Promise<DockerProxy> {
  return startDockerProxy({
    program: commandLine.program,
    args: [
      ...['--tls-cert-file', certificate.certificate, '--tls-key-file', certificate.key],
      ...(registryHasTls ? [] : ['--insecure-registries', registry.host]),
      ...['--allow', `${registry.host}/**`],
      ...['--default-platform', `${platform.os}/${platform.architecture}`],
      ...['--cache-dir', cacheFolder(folder), '--state-dir', join(folder.path, 'state')],
    ],
    env: { XDG_CACHE_HOME: commandLine.env.HOME, DOCKERPROXY_LOG_LEVEL: 'info', ...env },
  });
}

export const cacheFolder = (folder: TemporaryFolder): string => join(folder.path, 'cache');

/** Returns the URL of an image's archive. */
export function archiveUrl(
  { url }: DockerProxy,
  { host }: Pick<Registry, 'host'>,
  { repository }: BenchImage,
): string {
  return `${url}/dl?myimage=${host}/${repository}`;
}
