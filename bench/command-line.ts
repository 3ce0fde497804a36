import { randomBytes } from 'node:crypto';
import { cp, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { image, layer } from '../test/support/images.ts';
import { runOrThrow } from '../test/support/process.ts';
import { push } from '../test/support/push.ts';
import type { Registry } from '../test/support/registry.ts';
import { platform } from './bench-image.ts';

/** The packaged command line of DockerProxy, and a small image for it. */
export interface CommandLine {
  /** The path of `dockerproxy`. */
  program: string;
  /** The environment, with a separate home folder, which keeps the compiled code. */
  env: NodeJS.ProcessEnv;
  /** The repository of an image of a megabyte. */
  small: string;
}

const SMALL_BYTES = 1_000_000;
const root = join(import.meta.dirname, '..');

/** Compiles the package into a folder, as `npm pack` does, and pushes the image. */
export async function makeCommandLine(folder: string, registry: Registry): Promise<CommandLine> {
  const [home, files] = [join(folder, 'home'), join(folder, 'package')];
  for (const path of [home, files]) await mkdir(path);
  for (const name of ['bin', 'build', 'src', 'web', 'package.json', 'tsconfig.json', 'tsconfig.build.json'])
    await cp(join(root, name), join(files, name), { recursive: true });
  await symlink(join(root, 'node_modules'), join(files, 'node_modules'));
  await runOrThrow('node_modules/.bin/tsc', ['-p', 'tsconfig.build.json'], { cwd: files });
  await runOrThrow(process.execPath, ['build/bundle.ts'], { cwd: files });
  const content = await layer({ files: { content: randomBytes(SMALL_BYTES) } });
  await push(registry.url, 'bench/small', 'latest', image({ platform, layers: [content] }));
  return {
    program: join(files, 'bin', 'dockerproxy.js'),
    env: { PATH: process.env.PATH, HOME: home, DOCKER_CONFIG: home },
    small: `${registry.host}/bench/small`,
  };
}
