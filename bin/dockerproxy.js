#!/usr/bin/env node
// Runs the program on a Node.js that is new enough: on this one or, where it is not, on the one that came with it.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const OLDEST = 24;

// A package has what was compiled; a clone has the sources, which Node.js runs as they are, except in node_modules.
const compiled = new URL('../dist/main.js', import.meta.url);
const program = existsSync(compiled) ? compiled : new URL('../src/main.ts', import.meta.url);

if (Number.parseInt(process.versions.node, 10) >= OLDEST) await import(program.href);
else await runOn(ownNode());

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
  const child = spawn(node, [fileURLToPath(program), ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise((resolve) => {
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
