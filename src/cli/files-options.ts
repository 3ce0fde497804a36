import type { CommandOptions } from './command-options.ts';
import { LOGIN_OPTIONS } from './login-options.ts';
import { DOWNLOAD_OPTIONS, VERBOSE_OPTION } from './save-options.ts';

const { platform } = DOWNLOAD_OPTIONS;

/** The flags of `cat`. */
export const PRINT_OPTIONS: CommandOptions = {
  platform: { ...platform, doc: 'platform: linux/arm64, or arm64 for short' },
  ...LOGIN_OPTIONS,
  ...VERBOSE_OPTION,
};

/** The flags of `ls`. */
export const LIST_OPTIONS: CommandOptions = {
  recursive: { short: 'R', doc: 'also lists the files below each directory' },
  ...PRINT_OPTIONS,
};
