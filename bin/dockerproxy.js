#!/usr/bin/env node
// Runs the program on this Node.js if it is recent enough, else on the bundled one.
import { existsSync, mkdirSync, statSync } from 'node:fs';
import module, { createRequire } from 'node:module';
import { arch, homedir, platform } from 'node:os';
import { isAbsolute, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const OLDEST = 24;

// A package has what was compiled; a clone has the sources, which Node.js runs as they are, except in node_modules.
const bundle = fileURLToPath(new URL('../dist/main.cjs', import.meta.url));

if (Number.parseInt(process.versions.node, 10) >= OLDEST) {
  const folder = keepCompiledCode();
  if (existsSync(bundle)) (await import('./run-bundle.js')).runBundle(bundle, folder);
  else await import('../src/main.ts');
} else {
  await runOn(ownNode());
}

/**
 * Lets Node.js keep the code that it compiles, for the next start. Beside the folder of the cache, which is for blobs
 * alone and has a limit. Code that another user could change is not run: without a safe folder, nothing is kept. Returns
 * the folder.
 */
function keepCompiledCode() {
  const { XDG_CACHE_HOME: given = '' } = process.env;
  const folder = join(isAbsolute(given) ? given : join(homedir(), '.cache'), 'dockerproxy-code');
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = statSync(folder);
    if (uid !== process.getuid() || (mode & 0o022) !== 0) return undefined;
    module.enableCompileCache(folder);
    return folder;
  } catch {
    // Such as a file system that cannot be written to.
    return undefined;
  }
}

function ownNode() {
  try {
    return createRequire(import.meta.url).resolve(`node-${platform()}-${arch()}/bin/node`);
  } catch {
    process.stderr.write(
      `DockerProxy needs Node.js ${OLDEST} or newer; this is ${process.versions.node}, and none came with the package for ${platform()} on ${arch()}.\n`,
    );
    return process.exit(1);
  }
}

async function runOn(node) {
  const { spawn } = await import('node:child_process');
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise((resolve) => {
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
