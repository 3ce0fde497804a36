import { readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { parse as parseToml } from 'smol-toml';
import { quote } from '../errors.ts';
import { isJsonObject } from '../oci/json.ts';
import { parseSigningKey, type SigningKey } from '../trust/signing-key.ts';
import type { TrustRule } from '../trust/trust-policy.ts';
import { unreadableFile } from '../util/unreadable-file.ts';
import { ConfigError } from './loader.ts';
import { describeMistakes, PartsError } from './mistakes.ts';
import type { Config } from './schema.ts';
import { SOURCE_NAMES, SOURCES } from './sources.ts';
import { unreadableToml } from './toml.ts';
import { listOf, oneOf, pattern, type SettingType, text } from './types.ts';

const requirement = oneOf('signature', 'none');

/**
 * Reads the file of the policy, and the keys that it names:
 *
 *     [[rules]]
 *     images = ["ghcr.io/my-org/**"]
 *     require = "signature"
 *     keys = ["keys/team.pub"]         # beside the file, where the path is relative
 *
 * @returns the rules in the order in which they are asked; none without a file
 * @throws ConfigError with every mistake of the file and the keys
 */
export function readTrustRules({
  policy: path,
  source,
}: Pick<Config, 'policy' | 'source'>): readonly TrustRule[] {
  if (path === undefined) return [];
  const mistakes: string[] = [];
  const { unverifiable } = SOURCES[source];
  if (unverifiable !== undefined) {
    const others = SOURCE_NAMES.filter((name) => SOURCES[name].unverifiable === undefined);
    mistakes.push(`--policy is for --source ${others.join(' or ')}: ${unverifiable}.`);
  }
  const rules = rulesOf(path, mistakes);
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return rules;
}

function rulesOf(path: string, mistakes: string[]): TrustRule[] {
  try {
    const { rules = [], ...others } = parseToml(readFileSync(path, 'utf8'));
    refuseOthers(others, 'rules', path, mistakes);
    if (Array.isArray(rules)) return rules.map((rule, at) => ruleOf(rule, path, at + 1, mistakes));
    mistakes.push(`${path}: rules must be a list of tables, each under [[rules]].`);
  } catch (error) {
    mistakes.push(unreadableToml(path, error));
  }
  return [];
}

function ruleOf(rule: unknown, path: string, number: number, mistakes: string[]): TrustRule {
  const where = `${path}: rule ${number}`;
  const { images, require = 'signature', keys, ...others } = isJsonObject(rule) ? rule : {};
  refuseOthers(others, 'images, require and keys', where, mistakes);
  const read = <T>(name: string, value: unknown, type: SettingType<T>): T | undefined => {
    try {
      return type.parse(value);
    } catch (error) {
      const found = value === undefined ? [(error as Error).message] : describeMistakes(value, error);
      const colon = error instanceof PartsError ? ':' : '';
      mistakes.push(...found.map((mistake) => `${where}: ${name}${colon} ${mistake}.`));
      return undefined;
    }
  };
  const patterns = read('images', images, listOf(pattern));
  if (patterns?.length === 0) mistakes.push(`${where}: images names no image.`);
  const required = read('require', require, requirement);
  const paths = keys === undefined ? [] : (read('keys', keys, listOf(text)) ?? []);
  if (required === 'signature' && keys === undefined)
    mistakes.push(
      `${where}: keys is missing: files of public keys, one of which has to have signed an image.`,
    );
  else if (required === 'signature' && paths.length === 0) mistakes.push(`${where}: keys names no file.`);
  return {
    images: patterns ?? [],
    isRequired: required === 'signature',
    keys: paths.flatMap((key) => keyOf(resolve(dirname(path), key), where, mistakes) ?? []),
  };
}

function keyOf(path: string, where: string, mistakes: string[]): SigningKey | undefined {
  try {
    return parseSigningKey(basename(path).replace(/\.(?:pub|pem)$/, ''), readFileSync(path, 'utf8'));
  } catch (error) {
    const isOfSystem = error instanceof Error && 'code' in error;
    const reason = isOfSystem ? unreadableFile(path, error) : `${path} ${(error as Error).message}.`;
    mistakes.push(`${where}: ${reason}`);
    return undefined;
  }
}

function refuseOthers(others: object, known: string, where: string, mistakes: string[]): void {
  for (const key of Object.keys(others))
    mistakes.push(`${where}: unknown entry ${quote(key)}. Supported: ${known}.`);
}
