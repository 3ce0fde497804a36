import { cp, mkdir, realpath, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { makeCertificates } from './certificates.ts';
import { DEBIAN } from './container-image.ts';
import type { Dockerd } from './engines.ts';
import { findCommand, runOrThrow } from './process.ts';
import { temporaryFolder } from './temporary-folder.ts';

const PROGRAMS = ['dockerd', 'docker', 'containerd', 'containerd-shim-runc-v2', 'runc'];

/** Like the Docker-in-Docker image, makes certificates if the environment asks for them. All clients share one. */
const ENTRY_POINT = `#!/bin/sh
set -eu
cp -R /made/. "$DOCKER_TLS_CERTDIR"
chmod 644 "$DOCKER_TLS_CERTDIR/client/key.pem"
cd "$DOCKER_TLS_CERTDIR/server"
exec dockerd --host=unix:///var/run/docker.sock --host=tcp://0.0.0.0:2376 \\
	--tlsverify --tlscacert=ca.pem --tlscert=cert.pem --tlskey=key.pem --bridge=none --iptables=false --ip6tables=false
`;

/**
 * Builds an image that stands in for Docker in Docker, from the engine of this machine, without access to a registry.
 */
export async function buildEngineImage(engine: Dockerd, name: string): Promise<void> {
  await using folder = await temporaryFolder();
  const { server, client } = await makeCertificates(folder.path);
  const context = join(folder.path, 'context');
  const programs = PROGRAMS.map((program) => findCommand(program) ?? program);
  const libraries = await Promise.all(programs.map(librariesOf));
  for (const file of new Set([...programs, ...libraries.flat()])) {
    // Not below /lib, because a folder would replace that link.
    const copy = join(context, 'root', await realpath(dirname(file)), basename(file));
    await mkdir(dirname(copy), { recursive: true });
    await cp(file, copy, { dereference: true });
  }
  await cp(server, join(context, 'made', 'server'), { recursive: true });
  await cp(client, join(context, 'made', 'client'), { recursive: true });
  await writeFile(join(context, 'entry-point'), ENTRY_POINT, { mode: 0o755 });
  const lines = [
    `FROM ${DEBIAN}`,
    'COPY root /',
    'COPY made /made',
    'COPY entry-point /usr/local/bin/entry-point',
    'ENTRYPOINT ["entry-point"]',
  ];
  await writeFile(join(context, 'Dockerfile'), lines.join('\n'));
  const flags = ['--host', engine.dockerHost, 'build', '--network=none', '--quiet', '--tag', name, context];
  await runOrThrow('docker', flags, { env: { ...process.env, DOCKER_BUILDKIT: '0' }, timeout: 120_000 });
}

/** Returns the paths of the libraries that a program is linked with; empty for a static program. */
async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await runOrThrow('sh', ['-c', 'ldd "$0" || :', program]);
  return [...stdout.matchAll(/ => (\/\S+)/g)].map(([, path = '']) => path);
}
