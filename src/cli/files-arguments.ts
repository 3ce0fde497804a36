import { UsageError } from '../config/loader.ts';
import { ServiceError } from '../errors.ts';
import { type Platform, parsePlatform } from '../oci/platform.ts';
import { parseReference, type Reference } from '../oci/reference.ts';
import { splitArguments } from './command-arguments.ts';
import type { CommandOptions } from './command-options.ts';
import { LIST_OPTIONS, PRINT_OPTIONS } from './files-options.ts';
import { type Login, parseLogin } from './login.ts';

/** `dockerproxy ls IMAGE [PATH]` and `dockerproxy cat IMAGE PATH`, parsed. */
export interface FilesArguments {
  readonly reference: Reference;
  /** Undefined for the default platform. */
  readonly platform: Platform | undefined;
  readonly path: string;
  /** True to list everything below a directory. */
  readonly isRecursive: boolean;
  /** True to report the registries, mirrors, and users. */
  readonly isVerbose: boolean;
  /** Absent for the credentials of Docker's own file. */
  readonly login?: Login;
  /** The flags that are settings. */
  readonly settings: readonly string[];
}

/** @throws UsageError if the arguments name no image, or more than a path */
export function parseListArguments(args: readonly string[]): FilesArguments {
  return parse(args, LIST_OPTIONS, 'dockerproxy ls busybox /etc', '/');
}

/** @throws UsageError if the arguments do not name one image and one path */
export function parsePrintArguments(args: readonly string[]): FilesArguments {
  return parse(args, PRINT_OPTIONS, 'dockerproxy cat busybox /etc/passwd', undefined);
}

function parse(
  args: readonly string[],
  flags: CommandOptions,
  example: string,
  defaultPath: string | undefined,
): FilesArguments {
  const { words, own, settings } = splitArguments(args, flags);
  const [image, path = defaultPath, ...others] = words;
  if (image === undefined || path === undefined || others.length > 0)
    throw new UsageError([`Name an image and a path, as in: ${example}`]);
  const platform = own.get('platform')?.at(-1);
  const login = parseLogin(own);
  try {
    return {
      reference: parseReference(image),
      platform: platform === undefined ? undefined : parsePlatform(platform),
      ...{ path, settings, isRecursive: own.has('recursive'), isVerbose: own.has('verbose') },
      ...(login && { login }),
    };
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    throw new UsageError([error.message]);
  }
}
