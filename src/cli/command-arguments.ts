import { parseArgs } from 'node:util';
import { ConfigError } from '../config/loader.ts';
import { flagName, SCHEMA } from '../config/schema.ts';

/** The flags of a command that are not settings. */
export type OwnFlags = Readonly<
  Record<string, { readonly type: 'string' | 'boolean'; readonly short?: string }>
>;

/** The arguments of a command. */
export interface CommandArguments {
  /** The arguments that are not flags. */
  readonly words: readonly string[];
  /** The values of the command's own flags, in their order; `1` for a boolean. */
  readonly own: ReadonlyMap<string, readonly string[]>;
  /** The flags that are settings, with their values. */
  readonly settings: readonly string[];
}

/** Separates the words and flags of a command from settings. @throws ConfigError if a flag lacks its value */
export function splitArguments(args: readonly string[], flags: OwnFlags): CommandArguments {
  // A setting takes a value. Without this list, the value would count as a word.
  const settingFlags = [...Object.keys(SCHEMA), 'config'].map((name) => [
    flagName(name),
    { type: 'string' as const },
  ]);
  const options = { ...Object.fromEntries(settingFlags), ...flags };
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true });
  const words: string[] = [];
  const settings: string[] = [];
  const own = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind === 'positional') words.push(token.value);
    if (token.kind !== 'option') continue;
    const { name, rawName } = token;
    const value = flags[name]?.type === 'boolean' ? (token.value ?? '1') : token.value;
    if (!Object.hasOwn(flags, name)) settings.push(...writtenAgain(token));
    else if (value === undefined) throw new ConfigError([`${rawName}: a value is missing.`]);
    else own.set(name, [...(own.get(name) ?? []), value]);
  }
  return { words, own, settings };
}

function writtenAgain(token: {
  rawName: string;
  value?: string | undefined;
  inlineValue?: boolean | undefined;
}) {
  const { rawName, value, inlineValue } = token;
  if (value === undefined) return [rawName];
  return inlineValue ? [`${rawName}=${value}`] : [rawName, value];
}
