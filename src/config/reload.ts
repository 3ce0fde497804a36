import { isDeepStrictEqual } from 'node:util';
import { type Config, fileKey, SCHEMA, type Setting, type SettingName } from './schema.ts';

/** What comes of reading the settings anew while the service runs. */
export interface Reloaded {
  /** In force from now on. */
  readonly config: Config;
  /** Keys of the file that have changed and take effect after a restart alone. */
  readonly needRestart: readonly string[];
}

/** Takes over what may change while the service runs. */
export function reloadConfig(running: Config, fresh: Config): Reloaded {
  const names = Object.keys(SCHEMA) as SettingName[];
  const changed = names.filter((name) => !isDeepStrictEqual(running[name], fresh[name]));
  const taken = changed.filter((name) => (SCHEMA[name] as Setting<unknown>).reloads);
  return {
    config: { ...running, ...Object.fromEntries(taken.map((name) => [name, fresh[name]])) },
    needRestart: changed.filter((name) => !taken.includes(name)).map(fileKey),
  };
}
