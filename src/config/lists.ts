import { readFileSync } from 'node:fs';
import { quote } from '../errors.ts';
import type { NamePattern } from '../oci/name-pattern.ts';
import type { AddressRange } from '../util/ip-address.ts';
import { unreadableFile } from '../util/unreadable-file.ts';
import { ConfigError } from './loader.ts';
import type { Config } from './schema.ts';
import { addressRange, pattern, type SettingType } from './types.ts';

/** The access rules from the settings and the files that they name. */
export interface Lists {
  /** Undefined: the default of the policy. */
  readonly allow: readonly NamePattern[] | undefined;
  readonly deny: readonly NamePattern[];
  /** Undefined: everyone. */
  readonly allowClients: readonly AddressRange[] | undefined;
  readonly denyClients: readonly AddressRange[];
}

/**
 * Reads the files of lists: one entry a line, empty lines and what stands behind a `#` omitted.
 *
 * @throws ConfigError with every mistake of every file
 */
export function readLists(config: Config): Lists {
  const mistakes: string[] = [];
  const read = <T>(path: string | undefined, type: SettingType<T>): readonly T[] | undefined =>
    path === undefined ? undefined : readList(path, type, mistakes);
  const isOpen = config.allowClients.length === 0;
  const lists = {
    allow: together(config.allow, read(config.allowFile, pattern)),
    deny: together(config.deny, read(config.denyFile, pattern)) ?? [],
    // An empty file allows no client, as written.
    allowClients: together(
      isOpen ? undefined : config.allowClients,
      read(config.allowClientsFile, addressRange),
    ),
    denyClients: together(config.denyClients, read(config.denyClientsFile, addressRange)) ?? [],
  };
  if (mistakes.length > 0) throw new ConfigError(mistakes);
  return lists;
}

function readList<T>(path: string, type: SettingType<T>, mistakes: string[]): T[] {
  const entries: T[] = [];
  for (const [at, line] of linesOf(path, mistakes).entries()) {
    const entry = line.replace(/#.*$/, '').trim();
    if (entry === '') continue;
    try {
      entries.push(type.parse(entry));
    } catch (error) {
      mistakes.push(`${path}: line ${at + 1}: ${quote(entry)} ${(error as Error).message}.`);
    }
  }
  return entries;
}

function linesOf(path: string, mistakes: string[]): string[] {
  try {
    return readFileSync(path, 'utf8').split(/\r?\n/);
  } catch (error) {
    mistakes.push(unreadableFile(path, error));
    return [];
  }
}

function together<T>(
  set: readonly T[] | undefined,
  read: readonly T[] | undefined,
): readonly T[] | undefined {
  return set === undefined ? read : [...set, ...(read ?? [])];
}
