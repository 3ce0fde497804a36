import type { SettingName } from '../config/schema.ts';
import type { CommandOptions } from './command-options.ts';
import { LIST_OPTIONS, PRINT_OPTIONS } from './files-options.ts';
import { SAVE_OPTIONS } from './save-options.ts';

/** A command as help and completion describe it. */
export interface CommandDescription {
  /** The line of the overview. */
  readonly summary: string;
  /** The words behind the flags in the usage line. */
  readonly words?: string;
  /** The actions that its first word selects, and what each does. */
  readonly actions?: Readonly<Record<string, string>>;
  /** The flags that are not settings. */
  readonly options: CommandOptions;
  /** The settings that its help describes; all others are flags, too. */
  readonly settings: readonly SettingName[];
  /** Command lines without the program's name. */
  readonly examples: readonly string[];
}

/** The shells that have a completion script. */
export const SHELLS: readonly string[] = ['bash', 'zsh', 'fish'];

const TABLE = {
  serve: {
    summary: 'serves images over HTTP; the default command',
    options: {},
    settings: [
      ...(['host', 'port', 'domains', 'acmeEmail', 'trustProxy'] as const),
      ...(['allow', 'cacheDir', 'cacheSize', 'registries'] as const),
    ],
    examples: ['serve --port 8080', 'serve --domains dl.example.org --acme-email ops@example.org'],
  },
  save: {
    summary: 'writes images to one tar file, without a server',
    words: 'IMAGE…',
    options: SAVE_OPTIONS,
    settings: [],
    examples: ['save busybox alpine:3.20 -o tools.tar', 'save busybox -o - | docker load'],
  },
  ls: {
    summary: 'lists the files of an image',
    words: 'IMAGE [PATH]',
    options: LIST_OPTIONS,
    settings: [],
    examples: ['ls busybox /etc', 'ls -R busybox'],
  },
  cat: {
    summary: 'writes a file of an image to stdout, or a directory as a tar archive',
    words: 'IMAGE PATH',
    options: PRINT_OPTIONS,
    settings: [],
    examples: ['cat busybox /etc/passwd', 'cat busybox /etc > etc.tar'],
  },
  'check-config': {
    summary: 'prints the settings in effect and the source of each, or all mistakes',
    options: {},
    settings: [],
    examples: ['check-config', 'check-config --config dockerproxy.toml'],
  },
  certificate: {
    summary: 'describes, renews, or tests the certificate of the service',
    words: 'status|renew|test',
    actions: {
      status: 'describes the certificate in use, the next order, and the last failure',
      renew: 'requests a renewal from the running service, and waits for the outcome',
      test: 'orders a certificate from the staging directory, and discards it',
    },
    options: {},
    settings: [],
    examples: ['certificate status', 'certificate test --domains dl.example.org'],
  },
  healthcheck: {
    summary: 'exits with 0 if the service with these settings responds on this machine',
    options: {},
    settings: ['host', 'port'],
    examples: ['healthcheck', 'healthcheck --port 8080'],
  },
  completion: {
    summary: 'prints the completion script of a shell',
    words: SHELLS.join('|'),
    options: {},
    settings: [],
    examples: ['completion fish | source', 'completion bash > dockerproxy.bash'],
  },
  help: {
    summary: 'describes a command, all settings, or one setting',
    words: '[COMMAND|settings|SETTING]',
    options: {},
    settings: [],
    examples: ['help save', 'help settings', 'help cache-size'],
  },
} as const satisfies Readonly<Record<string, CommandDescription>>;

/** The name of a command. */
export type CommandName = keyof typeof TABLE;

/** The only list of commands: the program, the help, and completion use it. */
export const COMMANDS: Readonly<Record<CommandName, CommandDescription>> = TABLE;

/** The names of all commands, in the order of the help. */
export const COMMAND_NAMES = Object.keys(TABLE) as readonly CommandName[];

/** Tells whether a word is the name of a command. */
export function isCommand(word: string): word is CommandName {
  return Object.hasOwn(TABLE, word);
}
