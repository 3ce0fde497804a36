import { stringify } from 'smol-toml';

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
