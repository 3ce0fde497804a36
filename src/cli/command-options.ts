/** A flag of a command that is not a setting. */
export interface CommandOption {
  /** The letter of the short flag: `o` for `-o`. */
  readonly short?: string;
  /** The placeholder of the value in the help; absent for a flag without a value. */
  readonly value?: string;
  /** The values that a shell suggests, or `files` for the names of files. */
  readonly completes?: readonly string[] | 'files';
  /** The description in the help: a noun phrase or a verb, then conditions. */
  readonly doc: string;
}

/** The flags of a command, by their names without hyphens. */
export type CommandOptions = Readonly<Record<string, CommandOption>>;
