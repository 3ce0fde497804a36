import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDebian } from './debian.ts';
import type { Dockerd } from './engines.ts';
import { makeOfflineNpm } from './offline-npm.ts';
import { runOrThrow } from './process.ts';
import { temporaryFolder } from './temporary-folder.ts';

const repository = join(import.meta.dirname, '..', '..');
const BASE = 'dockerproxy-test/base';
/** A whole Debian, in each engine that an image was built with. */
export const DEBIAN = 'dockerproxy-test/debian';
const BUILD = 'dockerproxy-test/build';

/** The files of the default base image that Node.js needs, as path patterns. */
const LEAST = [
  'lib*/ld-linux-*.so.*',
  ...['c', 'm', 'dl', 'pthread', 'gcc_s', 'stdc++'].map((name) => `usr/lib/*-linux-gnu/lib${name}.so.[0-9]`),
  'etc/ssl/certs/ca-certificates.crt',
];

/**
 * Builds deploy/Dockerfile without a registry and without network access. A Debian from debootstrap replaces its base
 * image, and has no shell. The build stage has npm and all packages that npm would fetch.
 *
 * @param ownNode the name of a second image, which runs on the Node.js of its base
 */
export async function buildContainerImage(engine: Dockerd, name: string, ownNode: string): Promise<void> {
  await using folder = await temporaryFolder();
  await importDebian(engine, DEBIAN);
  await importDebian(engine, BASE, LEAST);
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

/** @param patterns the files to import; all by default */
async function importDebian(engine: Dockerd, name: string, patterns?: readonly string[]): Promise<void> {
  // Symbolic links become files.
  const files = patterns === undefined ? '.' : `--dereference ${patterns.join(' ')}`;
  const script = `cd "$1" && tar -c ${files} | docker --host "$2" import - "$3"`;
  const args = ['-euc', script, 'sh', await makeDebian(), engine.dockerHost, name];
  await runOrThrow('sh', args, { timeout: 180_000 });
}

/** A folder to build from, with the npm and the Node.js of this machine and a cache of all packages. */
async function fillBuildStage(folder: string): Promise<void> {
  await makeOfflineNpm(folder);
  const lines = [
    `FROM ${DEBIAN}`,
    'COPY node /usr/local/bin/node',
    'COPY npm /usr/local/lib/node_modules/npm',
    'RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm',
    'COPY cache /root/.npm',
    'ENV npm_config_offline=true',
  ];
  await writeFile(join(folder, 'Dockerfile'), lines.join('\n'));
}
