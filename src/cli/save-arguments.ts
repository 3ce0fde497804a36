import { UsageError } from '../config/loader.ts';
import { isList, PARAMETER_NAMES } from '../download/parameters.ts';
import { type ArchiveQuery, archiveQuery } from '../download/query.ts';
import { readParameters, type Spelling } from '../download/read-parameters.ts';
import { ServiceError } from '../errors.ts';
import { samePlatform } from '../oci/platform.ts';
import { formatReference } from '../oci/reference.ts';
import { presented } from '../registry/client-credential.ts';
import { type CommandArguments, splitArguments } from './command-arguments.ts';
import type { ListedImage } from './image-list.ts';
import { listedPlatforms } from './listed-platforms.ts';
import { type Login, parseLogin } from './login.ts';
import { DOWNLOAD_OPTIONS, type DownloadFlag, SAVE_OPTIONS } from './save-options.ts';

/** The files beside an archive that a command also writes. */
export interface Sidecars {
  readonly checksum: boolean;
  readonly metalink: boolean;
}

/** `dockerproxy save IMAGE… [-o FILE]`, parsed. */
export interface SaveArguments {
  readonly query: ArchiveQuery;
  readonly sidecars: Sidecars;
  /** A file, a folder, or `-` for stdout; undefined: the archive's own name, here. */
  readonly output: string | undefined;
  /** True to report the registries, mirrors, and users. */
  readonly isVerbose: boolean;
  /** Absent for the credentials of Docker's own file. */
  readonly login?: Login;
  /** The flags that are settings. */
  readonly settings: readonly string[];
}

const FLAG_NAMES = Object.keys(DOWNLOAD_OPTIONS) as readonly DownloadFlag[];

/** The maximum number of images in one archive. It keeps manifests within the budget of one request. */
const MOST_IMAGES = 50;

/** Returns the files that list images, or `-` for stdin. @throws UsageError as {@link parseSaveArguments} does */
export function imageListsOf(args: readonly string[]): readonly string[] {
  return splitArguments(args, SAVE_OPTIONS).own.get('from') ?? [];
}

/**
 * Separates the flags that select an archive from those that are settings.
 *
 * @param listed the images in the files of {@link imageListsOf}
 * @throws UsageError if no image is named, or a name is invalid
 */
export function parseSaveArguments(
  args: readonly string[],
  listed: readonly ListedImage[] = [],
): SaveArguments {
  const { words, own, settings } = splitArguments(args, SAVE_OPTIONS);
  const images = [...words, ...listed.map(({ name }) => name)];
  if (images.length === 0)
    throw new UsageError(['Name an image, as in: dockerproxy save busybox -o busybox.tar']);
  const login = parseLogin(own);
  if (login?.isPasswordOnStdin && own.get('from')?.includes('-'))
    throw new UsageError(['--from - and --password-stdin both read stdin. Use a file for one of them.']);
  // A list may be from someone else, and would choose the registry that gets the password.
  if (login !== undefined && listed.length > 0 && presented(login.user, '').registry === undefined)
    throw new UsageError([`Name the registry of the user, as in --user ghcr.io/${login.user}.`]);
  const output = own.get('output')?.at(-1);
  const { query, sidecars } = requested(images, own);
  return {
    // A flag takes precedence over a list.
    query: query.platform === undefined ? withPlatforms(query, listed) : query,
    sidecars,
    output,
    isVerbose: own.has('verbose'),
    settings,
    ...(login && { login }),
  };
}

/** Applies the platforms that lists name for single images. */
function withPlatforms(query: ArchiveQuery, listed: readonly ListedImage[]): ArchiveQuery {
  const ownPlatforms = listedPlatforms(listed);
  if (ownPlatforms.size === 0) return query;
  const platforms = query.references.map((reference) => ownPlatforms.get(formatReference(reference)));
  const [platform] = platforms;
  const isCommon = platforms.every((one) => one && platform && samePlatform(one, platform));
  return isCommon ? { ...query, platform } : { ...query, ownPlatforms };
}

/** The spelling of a command's flags. */
export const FLAGS: Spelling = {
  name: (option) => `--${option}`,
  set: (option, value) => `--${option} ${value}`,
};

function requested(
  images: readonly string[],
  own: CommandArguments['own'],
): Pick<SaveArguments, 'query' | 'sidecars'> {
  // The last value of a flag counts, unless it takes several.
  const given = FLAG_NAMES.map((name) => [name, isList(name) ? own.get(name) : own.get(name)?.at(-1)]);
  try {
    const query = { myimage: [...images], ...Object.fromEntries(given) };
    const parameters = readParameters(query, PARAMETER_NAMES, FLAGS);
    const { checksum = false, metalink = false } = parameters;
    return { query: archiveQuery(parameters, FLAGS, MOST_IMAGES), sidecars: { checksum, metalink } };
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    throw new UsageError([error.message]);
  }
}
