#!/usr/bin/env node
import { Buffer } from 'node:buffer';
import process from 'node:process';
import type { CommandName } from './cli/commands.ts';

// libuv uses at most half of its threads for name lookups. With the default of four, two waiting lookups would leave two
// threads for all files. Idle threads take hardly any memory. libuv reads this variable before its first thread starts.
process.env.UV_THREADPOOL_SIZE ??= '8';

// Node.js cuts a buffer of less than half this size out of a larger one, whose memory lasts as long as any part of it.
// With the default of 64 KiB, these would include the chunks of slow downloads, which are freed one by one.
Buffer.poolSize = 8 * 1024;

type Command = (args: readonly string[]) => Promise<void>;

/** Imports each command only when it runs, so that a command loads only what it needs. */
const COMMANDS: Readonly<Record<CommandName, () => Promise<Command>>> = {
  serve: async () => (await import('./commands/serve.ts')).serve,
  save: async () => (await import('./commands/save.ts')).save,
  ls: async () => (await import('./commands/files.ts')).ls,
  cat: async () => (await import('./commands/files.ts')).cat,
  'check-config': async () => (await import('./commands/check-config.ts')).checkConfig,
  certificate: async () => (await import('./commands/certificate.ts')).certificate,
  healthcheck: async () => (await import('./commands/healthcheck.ts')).healthcheck,
  completion: async () => (await import('./commands/completion.ts')).completion,
  help: async () => (await import('./commands/help.ts')).help,
};
const HELP_FLAGS = ['--help', '-h'];

const { name, args } = commandOf(process.argv.slice(2));
// A command that waits for nothing would look successful.
process.once('beforeExit', failUnfinished);
// Without `await`, because the bundle is a script.
run(name, args)
  .catch(async (error) => {
    const { explain } = await import('./commands/explain.ts');
    explain(error, name !== undefined && isNamed(name) ? name : undefined);
  })
  .finally(() => process.off('beforeExit', failUnfinished));

function failUnfinished(): void {
  process.exitCode = 1;
  process.stderr.write('The command stopped before its end. Please report this mistake in DockerProxy.\n');
}

interface CommandLine {
  /** The first word; undefined if it is a flag or absent. */
  readonly name: string | undefined;
  readonly args: readonly string[];
}

function commandOf(argv: readonly string[]): CommandLine {
  const [first, ...rest] = argv;
  return first === undefined || first.startsWith('-')
    ? { name: undefined, args: argv }
    : { name: first, args: rest };
}

/** Without a command, flags are those of `serve`. */
async function run(name: string | undefined, args: readonly string[]): Promise<void> {
  if (name === undefined && args.includes('--version')) return tellVersion();
  if (args.some((arg) => HELP_FLAGS.includes(arg))) return runNamed('help', name === undefined ? [] : [name]);
  return runNamed(name ?? 'serve', args);
}

async function runNamed(name: string, args: readonly string[]): Promise<void> {
  if (!isNamed(name)) throw (await import('./cli/help.ts')).unknownCommand(name);
  const command = await COMMANDS[name]();
  await command(args);
}

function isNamed(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name);
}

async function tellVersion(): Promise<void> {
  const { version } = await import('./commands/version.ts');
  process.stdout.write(`${version}\n`);
}
