import { isDeepStrictEqual } from 'node:util';
import { type Config, fileKey, SCHEMA, type SettingName } from './schema.ts';
import type { Setting } from './setting.ts';

/** The result of reading the settings again while the service runs. */
export interface Reloaded {
  /** In force from now on. */
  readonly config: Config;
  /** Changed keys of the file that take effect only after a restart. */
  readonly needRestart: readonly string[];
}

/** Applies the settings that may change at runtime. */
export function reloadConfig(running: Config, fresh: Config): Reloaded {
  const names = Object.keys(SCHEMA) as SettingName[];
  const changed = names.filter((name) => !isDeepStrictEqual(running[name], fresh[name]));
  const taken = changed.filter((name) => (SCHEMA[name] as Setting<unknown>).reloads);
  return {
    config: { ...running, ...Object.fromEntries(taken.map((name) => [name, fresh[name]])) },
    needRestart: changed.filter((name) => !taken.includes(name)).map(fileKey),
  };
}

/**
 * The settings that a new process must take from the running ones, because the file may meanwhile have changed settings
 * that need a restart. Only values that processes can clone; the others come from the file.
 */
export function settledSettings(running: Config): Partial<Config> {
  const names = (Object.keys(SCHEMA) as SettingName[]).filter((name) => {
    const { reloads }: Setting<unknown> = SCHEMA[name];
    return !reloads && isPlain(running[name]);
  });
  return Object.fromEntries(names.map((name) => [name, running[name]]));
}

function isPlain(value: unknown): boolean {
  if (typeof value === 'function') return false;
  if (typeof value !== 'object' || value === null) return true;
  const isBare = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  return isBare && Object.values(value).every(isPlain);
}
