#!/usr/bin/env node
import process from 'node:process';

// libuv uses at most half of its threads for name lookups. With the default of four, two waiting lookups would leave two
// threads for all files. Idle threads take hardly any memory. libuv reads this variable before its first thread starts.
process.env.UV_THREADPOOL_SIZE ??= '8';

type Command = (args: readonly string[]) => Promise<void>;

/** Imports each command only when it runs, so that a command loads only what it needs. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./commands/serve.ts')).serve,
  save: async () => (await import('./commands/save.ts')).save,
  ls: async () => (await import('./commands/files.ts')).ls,
  cat: async () => (await import('./commands/files.ts')).cat,
  'check-config': async () => (await import('./commands/check-config.ts')).checkConfig,
  certificate: async () => (await import('./commands/certificate.ts')).certificate,
  healthcheck: async () => (await import('./commands/healthcheck.ts')).healthcheck,
};

await run(process.argv.slice(2));

/** Any word that is not a command is a flag of `serve`. */
async function run(argv: readonly string[]): Promise<void> {
  if (argv.includes('--help')) return help();
  if (argv.includes('--version')) return tellVersion();
  const [first = '', ...rest] = argv;
  const isNamed = Object.hasOwn(COMMANDS, first);
  const command = await COMMANDS[isNamed ? first : 'serve']?.();
  try {
    await command?.(isNamed ? rest : argv);
  } catch (error) {
    const { explain } = await import('./commands/explain.ts');
    explain(error);
  }
}

async function help(): Promise<void> {
  const { helpText } = await import('./cli/help.ts');
  process.stdout.write(helpText());
}

async function tellVersion(): Promise<void> {
  const { version } = await import('./commands/version.ts');
  process.stdout.write(`${version}\n`);
}
