import process from 'node:process';
import { CommandError, ReaderGoneError } from '../cli/command-error.ts';
import { commandHelp } from '../cli/command-help.ts';
import { ConfigError } from '../config/loader.ts';
import { ServiceError } from '../errors.ts';

/** https://man.openbsd.org/sysexits: EX_CONFIG */
export const EXIT_CONFIG = 78;
/** The exit code of a shell for SIGPIPE. */
const EXIT_READER_GONE = 141;

/** Prints an error that a person can act on. Any other error is a bug, so it is thrown again with its stack. */
export function explain(error: unknown): void {
  if (error instanceof ConfigError) {
    const mistakes = error.mistakes.map((mistake) => `  ${mistake}\n`);
    process.stderr.write(`DockerProxy cannot start:\n${mistakes.join('')}`);
    process.exitCode = EXIT_CONFIG;
  } else if (error instanceof ServiceError || error instanceof CommandError) {
    const help = error instanceof ServiceError ? `${commandHelp(error)}\n` : '';
    process.stderr.write(`${error.message}\n${help}`);
    process.exitCode = 1;
  } else if (error instanceof ReaderGoneError) {
    process.exitCode = EXIT_READER_GONE;
  } else {
    throw error;
  }
}
