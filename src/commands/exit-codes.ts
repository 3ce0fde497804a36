/** The exit codes of all commands. docs/command-line.md lists them. */
export const EXIT_CODES = {
  /** The image, the registry, or the disk is the reason. */
  failed: 1,
  /** The command line has a mistake. https://man.openbsd.org/sysexits: EX_USAGE */
  usage: 64,
  /** The settings have a mistake. https://man.openbsd.org/sysexits: EX_CONFIG */
  config: 78,
  /** As a shell reports SIGINT. */
  interrupted: 130,
  /** As a shell reports SIGPIPE. */
  readerGone: 141,
  /** As a shell reports SIGTERM. */
  terminated: 143,
} as const;

/** Returns the exit code of a command that a signal ended. */
export function exitCodeOf(signal: unknown): number {
  return signal === 'SIGTERM' ? EXIT_CODES.terminated : EXIT_CODES.interrupted;
}
