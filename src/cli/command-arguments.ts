import { parseArgs } from 'node:util';
import { UsageError, unknownFlag } from '../config/loader.ts';
import { flagName, SCHEMA } from '../config/schema.ts';
import type { CommandOptions } from './command-options.ts';

/** The arguments of a command. */
export interface CommandArguments {
  /** The arguments that are not flags. */
  readonly words: readonly string[];
  /** The values of the command's own flags, in their order; `1` for a boolean. */
  readonly own: ReadonlyMap<string, readonly string[]>;
  /** The flags that are settings, with their values. */
  readonly settings: readonly string[];
}

const SETTING_FLAGS = [...Object.keys(SCHEMA), 'config'].map(flagName);

/**
 * Separates the words and flags of a command from settings.
 *
 * @throws UsageError for every flag that is unknown or lacks its value
 */
export function splitArguments(args: readonly string[], flags: CommandOptions): CommandArguments {
  // A setting takes a value. Without this list, the value would count as a word.
  const settingFlags = SETTING_FLAGS.map((name) => [name, { type: 'string' as const }]);
  const ownFlags = Object.entries(flags).map(([name, { short, value }]) => [
    name,
    { type: value === undefined ? ('boolean' as const) : ('string' as const), ...(short && { short }) },
  ]);
  const options = Object.fromEntries([...settingFlags, ...ownFlags]);
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true });
  const words: string[] = [];
  const settings: string[] = [];
  const mistakes: string[] = [];
  const own = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind === 'positional') words.push(token.value);
    if (token.kind !== 'option') continue;
    const { name, rawName, inlineValue } = token;
    const value = options[name]?.type === 'boolean' ? (token.value ?? '1') : token.value;
    if (!Object.hasOwn(options, name)) mistakes.push(unknownFlag(rawName, Object.keys(options)));
    else if (value === undefined || (!inlineValue && value.startsWith('--')))
      mistakes.push(`${rawName}: a value is missing.`);
    else if (!Object.hasOwn(flags, name))
      settings.push(...(inlineValue ? [`${rawName}=${value}`] : [rawName, value]));
    else own.set(name, [...(own.get(name) ?? []), value]);
  }
  if (mistakes.length > 0) throw new UsageError(mistakes);
  return { words, own, settings };
}
