import type { SettingType } from './types.ts';

/** A setting. Flags, environment variables, keys of the file and `--help` are all derived from it. */
export interface Setting<T> {
  readonly type: SettingType<T>;
  /** The default as text. Absent if it depends on the machine or on other settings. */
  readonly default?: string;
  /** The description in `--help`: a noun phrase, then conditions. */
  readonly doc: string;
  /** Set if SIGHUP reloads the setting. All others need a restart. */
  readonly reloads?: true;
  /** The value in the example file. Absent if the default is a good example. */
  readonly example?: string;
  /** The example in the file, if the file takes a table. */
  readonly fileExample?: unknown;
}
