import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDebian } from './debian.ts';
import type { Dockerd } from './engines.ts';
import { makeOfflineNpm } from './offline-npm.ts';
import { runOrThrow, temporaryFolder } from './process.ts';

const repository = join(import.meta.dirname, '..', '..');
const BASE = 'dockerproxy-test/base';
const BUILD = 'dockerproxy-test/build';

/**
 * Builds deploy/Dockerfile where no registry of images is in reach: on a Debian of debootstrap, with a build stage that has
 * npm and everything that npm would fetch. The build has no network.
 *
 * @param ownNode the name of a second image, which runs on the Node.js of its base
 */
export async function buildContainerImage(engine: Dockerd, name: string, ownNode: string): Promise<void> {
  await using folder = await temporaryFolder();
  await importDebian(engine);
  await fillBuildStage(folder.path);
  const build = async (...args: string[]): Promise<void> => {
    const flags = ['--host', engine.dockerHost, 'build', '--network=none', '--quiet', ...args];
    await runOrThrow('docker', flags, { env: { ...process.env, DOCKER_BUILDKIT: '0' }, timeout: 300_000 });
  };
  await build('--tag', BUILD, folder.path);
  const file = [
    '--build-arg',
    `BUILD=${BUILD}`,
    '--file',
    join(repository, 'deploy', 'Dockerfile'),
    repository,
  ];
  await build('--tag', name, '--build-arg', `BASE=${BASE}`, ...file);
  const flags = ['--build-arg', `BASE=${BUILD}`, '--build-arg', 'NPM_FLAGS=--omit=optional'];
  await build('--tag', ownNode, ...flags, ...file);
}

async function importDebian(engine: Dockerd): Promise<void> {
  const script = 'tar -C "$1" -c . | docker --host "$2" import - "$3"';
  const args = ['-euc', script, 'sh', await makeDebian(), engine.dockerHost, BASE];
  await runOrThrow('sh', args, { timeout: 180_000 });
}

async function fillBuildStage(folder: string): Promise<void> {
  await makeOfflineNpm(folder);
  const lines = [
    `FROM ${BASE}`,
    'COPY node /usr/local/bin/node',
    'COPY npm /usr/local/lib/node_modules/npm',
    'RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm',
    'COPY cache /root/.npm',
    'ENV npm_config_offline=true',
  ];
  await writeFile(join(folder, 'Dockerfile'), lines.join('\n'));
}
