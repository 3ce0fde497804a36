import process from 'node:process';
import { CommandError, ReaderGoneError } from '../cli/command-error.ts';
import { commandHelp, inFlags } from '../cli/command-help.ts';
import { createScreen } from '../cli/screen.ts';
import { ConfigError, UsageError } from '../config/loader.ts';
import { inEnglish } from '../errors/details.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';
import { EXIT_CODES } from './exit-codes.ts';

/** Errors of a request that is wrong in itself, whatever the registry has. */
const USAGE_ERRORS: readonly ErrorCode[] = [
  ...(['reference-invalid', 'platform-invalid', 'parameter-unknown', 'parameter-invalid'] as const),
  ...(['format-unavailable', 'delta-unavailable'] as const),
];

/** Advice for commands that read only container images. */
const ARTIFACT_HELP =
  'This command reads only container images. To save the files of an artifact: dockerproxy save IMAGE';

/**
 * Prints an error that a person can act on, and sets the exit code. Any other error is a bug, so it is thrown again with
 * its stack.
 *
 * @param command the name of the command that failed, if the command line has one
 */
export function explain(error: unknown, command?: string): void {
  const { text, code } = describeError(error, command);
  createScreen(process.stderr, process.env).say(text);
  process.exitCode = code;
}

function describeError(error: unknown, command: string | undefined): { text: string; code: number } {
  if (error instanceof UsageError) {
    // The help of `help` lists no commands.
    const topic = command === undefined || command === 'help' ? '' : ` ${command}`;
    return { text: `${error.message}\nSee dockerproxy${topic} --help.\n`, code: EXIT_CODES.usage };
  }
  if (error instanceof ConfigError) {
    const mistakes = error.mistakes.map((mistake) => `  ${mistake}\n`);
    return { text: `DockerProxy cannot start:\n${mistakes.join('')}`, code: EXIT_CODES.config };
  }
  if (error instanceof ServiceError) {
    const isArtifact = error.code === 'not-an-image' && (command === 'ls' || command === 'cat');
    const text = isArtifact
      ? `${withoutFormats(error)}\n${ARTIFACT_HELP}\n`
      : `${inFlags(error.message)}\n${commandHelp(error)}\n`;
    return { text, code: USAGE_ERRORS.includes(error.code) ? EXIT_CODES.usage : EXIT_CODES.failed };
  }
  if (error instanceof CommandError) return { text: `${error.message}\n`, code: EXIT_CODES.failed };
  if (error instanceof ReaderGoneError) return { text: '', code: EXIT_CODES.readerGone };
  throw error;
}

/** Returns the message without the sentence about formats, because `ls` and `cat` have no formats. */
function withoutFormats({ sentences }: ServiceError): string {
  return inEnglish(sentences.filter(({ id }) => id !== 'formats-possible'));
}
