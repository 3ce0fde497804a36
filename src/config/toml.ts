import { stringify, TomlError } from 'smol-toml';
import { unreadableFile } from '../util/unreadable-file.ts';

/** Writes a value as TOML on one line, tables too, so that it can stand anywhere in a file. */
export function inlineToml(value: unknown): string {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)) {
    const members = Object.entries(value).map(
      ([key, member]) => `${JSON.stringify(key)} = ${inlineToml(member)}`,
    );
    return `{ ${members.join(', ')} }`;
  }
  return stringify({ value })
    .replace(/^value = /, '')
    .trimEnd();
}

/** Returns a sentence that states why a TOML file cannot be read, with the line of the mistake. */
export function unreadableToml(path: string, error: unknown): string {
  if (!(error instanceof TomlError)) return unreadableFile(path, error);
  return `${path}: line ${error.line}: ${error.message.split('\n', 1)[0]}`;
}
