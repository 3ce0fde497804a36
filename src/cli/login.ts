import { randomBytes } from 'node:crypto';
import { type Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { UsageError } from '../config/loader.ts';
import type { Reference } from '../oci/reference.ts';
import {
  bindCredential,
  type ClientCredential,
  presented,
  registriesOf,
} from '../registry/client-credential.ts';
import type { CommandArguments } from './command-arguments.ts';
import { CommandError } from './command-error.ts';

/** The user whose images a command reads. The password is never an argument, which other users of the machine see. */
export interface Login {
  /** A user name, or a registry and a user name: `ghcr.io/alice`. */
  readonly user: string;
  readonly isPasswordOnStdin: boolean;
}

/** The surroundings from which a password comes. */
export interface PasswordSources {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stderr: Writable;
  readonly environment: Record<string, string | undefined>;
}

const VARIABLE = 'DOCKERPROXY_PASSWORD';

/** Reads the flags of `login-options.ts`; undefined without a user. @throws UsageError for a password without a user */
export function parseLogin(own: CommandArguments['own']): Login | undefined {
  const user = own.get('user')?.at(-1);
  const isPasswordOnStdin = own.has('password-stdin');
  if (user !== undefined) return { user, isPasswordOnStdin };
  if (isPasswordOnStdin) throw new UsageError(['Add --user NAME to --password-stdin.']);
  return undefined;
}

/**
 * Reads the password from stdin, from {@link VARIABLE}, or from a prompt, and removes the variable. No other program that
 * starts later gets it.
 *
 * @throws CommandError for an empty password; UsageError without a password, with a password in the user name, or if the
 * images are in several registries
 */
export async function readCredential(
  { user, isPasswordOnStdin }: Login,
  references: readonly Reference[],
  sources: PasswordSources,
): Promise<ClientCredential> {
  if (presented(user, '').username.includes(':'))
    throw new UsageError([
      'The user name contains a colon. Leave out the password: other users of this machine can see arguments.',
    ]);
  const password = isPasswordOnStdin
    ? (await text(sources.stdin)).replace(/\r?\n$/, '')
    : (takeVariable(sources.environment) ?? (await prompt(user, sources)));
  if (password === '') throw new CommandError('The password is empty.');
  const login = presented(user, password);
  const registries = login.registry === undefined ? registriesOf(references) : [login.registry];
  const [registry = '', ...others] = registries;
  if (others.length > 0)
    throw new UsageError([
      `The images are in several registries. Name one, as in --user ${registry}/${user}.`,
    ]);
  return bindCredential(login, registry, randomBytes(32));
}

function takeVariable(environment: PasswordSources['environment']): string | undefined {
  const value = environment[VARIABLE];
  delete environment[VARIABLE];
  return value;
}

async function prompt(user: string, { stdin, stderr }: PasswordSources): Promise<string> {
  if (!stdin.isTTY)
    throw new UsageError([`No password for ${user}. Use --password-stdin, or set ${VARIABLE}.`]);
  stderr.write(`Password or token of ${user}: `);
  const { createInterface } = await import('node:readline/promises');
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: stdin, output: nowhere, terminal: true });
  try {
    return await lines.question('');
  } finally {
    lines.close();
    stderr.write('\n');
  }
}
