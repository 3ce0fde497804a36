import { readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { parseArgs } from 'node:util';
import { parse as parseToml } from 'smol-toml';
import { quote } from '../errors.ts';
import { didYouMean } from '../util/similar-words.ts';
import { mask } from './mask.ts';
import { describeMistakes } from './mistakes.ts';
import { settleRedis } from './redis.ts';
import {
  type Config,
  environmentName,
  fileKey,
  flagName,
  type GivenSettings,
  SCHEMA,
  type SettingName,
} from './schema.ts';
import type { Setting } from './setting.ts';
import { settleTls } from './tls.ts';
import { unreadableToml } from './toml.ts';
import { type SettingType, text } from './types.ts';
import { settleWorkers } from './workers.ts';

/** The sources of settings. */
export interface Sources {
  /** Flags, without the program. */
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly isRoot: boolean;
  /**
   * True if root, too, uses its home folder for cache and state, because the service's folders belong to the service's
   * user.
   */
  readonly keepsInHome?: boolean;
}

/** All mistakes in the settings, in one error. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly mistakes: readonly string[];

  constructor(mistakes: readonly string[]) {
    super(mistakes.join('\n'));
    this.mistakes = mistakes;
  }
}

/** Mistakes that are all on the command line, and not in the environment or in a file. */
export class UsageError extends ConfigError {}

/** A given value and its place, for the sentence about a mistake in it. */
interface Given {
  readonly value: unknown;
  readonly where: string;
}
type Layer = Map<string, Given>;

const NAMES = Object.keys(SCHEMA) as SettingName[];

/** A setting as it is in effect. */
export interface EffectiveSetting {
  readonly name: SettingName;
  /** The parsed value; undefined if it is not set and has no default. */
  readonly value: unknown;
  /** The value as written, in text or TOML. */
  readonly written: unknown;
  /** The flag, the variable, the key of the file, or `default`. */
  readonly where: string;
}

/**
 * Reads the settings: flags before environment before file before defaults.
 *
 * @throws ConfigError with every mistake of every source; UsageError if only flags have mistakes
 */
export function loadConfig(sources: Sources): Config {
  const settings = effectiveSettings(sources).map(({ name, value }) => [name, value]);
  return Object.fromEntries(settings) as unknown as Config;
}

/**
 * Reads the settings like {@link loadConfig} and tells where each comes from.
 *
 * @throws ConfigError with every mistake of every source; UsageError if only flags have mistakes
 */
export function effectiveSettings(sources: Sources): EffectiveSetting[] {
  const usage: string[] = [];
  const mistakes: string[] = [];
  const flags = flagLayer(sources.argv, usage);
  const environment = environmentLayer(sources.environment, mistakes);
  const file = fileLayer(flags.get('config') ?? environment.get('config'), sources, mistakes);
  const defaults = machineDefaults(sources);

  const settings = NAMES.map((name): EffectiveSetting => {
    const setting: Setting<unknown> = SCHEMA[name];
    const standard: Given = { value: defaults[name] ?? setting.default, where: 'default' };
    const flag = flags.get(name);
    const others = [...[environment, file].flatMap((layer) => layer.get(name) ?? []), standard];
    const given = flag === undefined ? others : [flag, ...others];
    // Settings that a stronger source overrides are read, too, so that a mistake is reported before the override
    // disappears.
    const [value] = given.map((candidate) =>
      parseValue(setting.type, candidate, candidate === flag ? usage : mistakes),
    );
    const { value: written, where } = given[0] ?? standard;
    return { name, value, written, where };
  });
  if (mistakes.length > 0) throw new ConfigError([...usage, ...mistakes]);
  if (usage.length > 0) throw new UsageError(usage);
  const given = Object.fromEntries(
    settings.map(({ name, value }) => [name, value]),
  ) as unknown as GivenSettings;
  const tls = settleTls(given, mistakes);
  const settled: Partial<Config> = {
    ...tls,
    ...settleRedis(given, tls, mistakes),
    workers: settleWorkers(given, tls, mistakes),
  };
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return settings.map((setting) => {
    const { write }: SettingType<unknown> = SCHEMA[setting.name].type;
    const usual = settled[setting.name];
    const written = usual === undefined ? usual : (write?.(usual) ?? usual);
    return { ...setting, value: usual ?? setting.value, written: setting.written ?? written };
  });
}

function parseValue<T>(type: SettingType<T>, { value, where }: Given, mistakes: string[]): T | undefined {
  if (value === undefined) return undefined;
  try {
    return type.parse(value);
  } catch (error) {
    mistakes.push(...describeMistakes(value, error).map((mistake) => `${where}: ${mistake}.`));
    return undefined;
  }
}

function flagLayer(argv: readonly string[], mistakes: string[]): Layer {
  const byFlag = new Map<string, string>([...NAMES, 'config'].map((name) => [flagName(name), name]));
  const options = Object.fromEntries([...byFlag.keys()].map((flag) => [flag, { type: 'string' as const }]));
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, tokens: true });
  const layer: Layer = new Map();
  tokens.forEach((token, at) => {
    const before = tokens[at - 1];
    // The word behind an unknown flag is probably its value.
    const isValue = before?.kind === 'option' && !byFlag.has(before.name);
    if (token.kind === 'positional' && !isValue)
      mistakes.push(`${quote(`${mask(token.value)}`)} is neither a command nor a flag.`);
    if (token.kind !== 'option') return;
    const name = byFlag.get(token.name);
    if (name === undefined) mistakes.push(unknownFlag(token.rawName, [...byFlag.keys()]));
    else if (token.value === undefined || (!token.inlineValue && token.value.startsWith('--')))
      mistakes.push(`${token.rawName}: a value is missing.`);
    else layer.set(name, { value: token.value, where: token.rawName });
  });
  return layer;
}

/** Describes a flag that does not exist. @param names the existing flags, without hyphens */
export function unknownFlag(written: string, names: readonly string[]): string {
  return `${written}: unknown flag.${didYouMean(written.replace(/^-+/, ''), names, '--')}`;
}

/** The prefix of this program's environment variables. */
const PREFIX = 'DOCKERPROXY_';

function environmentLayer(environment: Sources['environment'], mistakes: string[]): Layer {
  const byVariable = new Map<string, string>(
    [...NAMES, 'config'].map((name) => [environmentName(name), name]),
  );
  const layer: Layer = new Map();
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith(PREFIX)) continue;
    const name = byVariable.get(variable);
    if (name === undefined) {
      const [word = '', ...names] = [variable, ...byVariable.keys()].map((full) => full.slice(PREFIX.length));
      mistakes.push(`${variable}: unknown setting.${didYouMean(word, names, PREFIX)}`);
    } else layer.set(name, { value, where: variable });
  }
  return layer;
}

function fileLayer(
  given: Given | undefined,
  { isRoot, home, environment }: Sources,
  mistakes: string[],
): Layer {
  const usual = isRoot
    ? '/etc/dockerproxy/dockerproxy.toml'
    : join(xdgFolder(environment.XDG_CONFIG_HOME, join(home, '.config')), 'dockerproxy/dockerproxy.toml');
  const path = given === undefined ? usual : parseValue(text, given, mistakes);
  const layer: Layer = new Map();
  if (path === undefined) return layer;
  try {
    const byKey = new Map<string, string>(NAMES.map((name) => [fileKey(name), name]));
    for (const [key, value] of Object.entries(parseToml(readFileSync(path, 'utf8')))) {
      const name = byKey.get(key);
      if (name === undefined)
        mistakes.push(`${path}: unknown setting ${quote(key)}.${didYouMean(key, [...byKey.keys()])}`);
      else layer.set(name, { value, where: `${path}: ${key}` });
    }
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (isMissing && given === undefined) return layer;
    mistakes.push(unreadableToml(path, error));
  }
  return layer;
}

function machineDefaults({
  isRoot,
  home,
  environment,
  keepsInHome = false,
}: Sources): Partial<Record<SettingName, string>> {
  if (isRoot && !keepsInHome) return { cacheDir: '/var/cache/dockerproxy', stateDir: '/var/lib/dockerproxy' };
  return {
    cacheDir: join(xdgFolder(environment.XDG_CACHE_HOME, join(home, '.cache')), 'dockerproxy'),
    stateDir: join(xdgFolder(environment.XDG_STATE_HOME, join(home, '.local/state')), 'dockerproxy'),
  };
}

/**
 * An empty or relative path counts as not set.
 *
 * @see https://specifications.freedesktop.org/basedir-spec/latest/
 */
function xdgFolder(value: string | undefined, usual: string): string {
  return value !== undefined && isAbsolute(value) ? value : usual;
}
