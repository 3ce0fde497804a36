import { createReadStream } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { parseEnv } from 'node:util';
import { UsageError } from '../config/loader.ts';
import { referenceOrNone } from '../oci/reference.ts';
import { unreadableFile } from '../util/unreadable-file.ts';
import { CommandError } from './command-error.ts';

/** The module of the page that reads pasted texts, which has no types here. It needs no browser. */
interface PasteReader {
  /** @param host the host of the service, whose own addresses name images, too */
  readPaste(
    text: string,
    host: string,
  ): { readonly images: readonly string[]; readonly candidates: readonly string[] };
  /** Returns the platforms that a text names for single images, by the names in `images`. */
  readPlatforms(text: string, host: string): ReadonlyMap<string, readonly string[]>;
  /** Returns the names of images that contain a variable without a value, which is written `<>`. */
  readUnknown(text: string, host: string): readonly string[];
}

/** An image in a list. */
export interface ListedImage {
  readonly name: string;
  /** The platforms of this image, as the list writes them: those of each service that has it. */
  readonly platforms?: readonly string[] | undefined;
}

/** Maximum bytes of a list. */
const LIST_LIMIT = 16 * 1024 * 1024;
/** A host without addresses, because no service runs here. */
const NO_HOST = 'dockerproxy.invalid';

/** The sources of a list of images. */
export interface ListSources {
  readonly stdin: Readable;
  /** The variables that replace `${NAME}` in a compose file. */
  readonly environment: Variables;
}

/**
 * Reads the images that a file names: a list with comments, a compose file, Kubernetes manifests, or the output of Helm.
 * Services of a compose file can have platforms. As in Docker Compose, its variables take their values from the
 * environment or, if unset there, from the file `.env` in the same folder.
 *
 * @param file a path, or `-` for stdin
 * @throws CommandError if the file cannot be read; UsageError if it names no image, or is ambiguous
 */
export async function readImageList(
  file: string,
  { stdin, environment }: ListSources,
): Promise<readonly ListedImage[]> {
  const name = file === '-' ? 'stdin' : file;
  const text = await readText(name, file === '-' ? stdin : createReadStream(file));
  const folder = file === '-' ? '' : dirname(file);
  const own = await readText('.env', createReadStream(join(folder, '.env'))).catch(() => '');
  return imagesIn(text, name, { ...parseEnv(own), ...environment });
}

/** Finds the images in a text. @throws UsageError as {@link readImageList} does */
export async function imagesIn(
  text: string,
  name: string,
  variables: Variables = {},
): Promise<readonly ListedImage[]> {
  const lines = linesOf(text);
  if (lines.length === 0) throw noImage(name);
  if (lines.every((line) => referenceOrNone(line) !== undefined))
    return lines.map((line) => ({ name: line }));
  const path = new URL('../../web/paste-reader.js', import.meta.url).href;
  const { readPaste, readPlatforms, readUnknown } = (await import(path)) as PasteReader;
  // No other format takes variables from the environment, which can contain secrets.
  const isCompose = SERVICES.test(text);
  const full = isCompose ? withVariables(text, variables) : text;
  const isList = lines.every((line) => LISTED.test(line));
  const unknown = isList ? lines.filter((line) => line.includes('$')) : readUnknown(full, NO_HOST);
  if (unknown.length > 0) throw unknownVariable(name, unknown, isCompose);
  const { images, candidates } = readPaste(full, NO_HOST);
  if (candidates.length > 0)
    throw new UsageError([
      `${name} is ambiguous. It may mean: ${candidates.join(', ')}. Write full image names, one on a line.`,
    ]);
  if (images.length === 0) throw noImage(name);
  const platforms = readPlatforms(full, NO_HOST);
  return images.map((image) => ({ name: image, platforms: platforms.get(image) }));
}

/** Returns the lines of a text, without comments and spaces around them. */
function linesOf(text: string): string[] {
  const lines = text.split(/\r?\n/).map((line) => line.replace(/(?:^|\s)#.*/, '').trim());
  return lines.filter((line) => line !== '');
}

type Variables = Readonly<Record<string, string | undefined>>;

/** The key that every compose file has. */
const SERVICES = /\bservices["']?\s*:/;
/** A line of a list, which has only one name. */
const LISTED = /^[\w$[][^\s"']*$/;
/** Lines of compose files that name an image or its platform. */
const NAMING_LINE = /^.*\b(?:image|platform)["']?[ \t]*:.*$/gm;
/** `$A`, `${A}`, `${A:-b}`, `${A:?message}`, `${A:+b}`. https://docs.docker.com/reference/compose-file/interpolation/ */
const VARIABLE = /\$(?:\{(\w+)(?:(:?)([-?+])([^{}]*))?\}|(\w+))/g;
/** Defaults of variables may contain variables. No sensible file has more levels. */
const LEVELS = 5;
/** Names of variables that are probably secrets, which someone else's file could otherwise send to any registry. */
const SECRET =
  /^DOCKERPROXY_|^(?!.*(?:IMAGE|TAG|VERSION)$).*(?:PASSW|SECRET|TOKEN|CREDENTIAL|(?:PASS|PWD|APIKEY)$|(?:^|_)(?:KEY|PAT)(?:_|$))/i;

/** Replaces variables in the names and platforms of images, and writes `<>` for those without a value. */
function withVariables(text: string, variables: Variables): string {
  // A value with a `$` is in no image name, and values that contain other variables could fill the memory.
  const usable = Object.entries(variables).filter(
    ([name, value]) => !(SECRET.test(name) || value?.includes('$')),
  );
  const values = new Map(usable);
  const replaced = (line: string): string =>
    line.replace(VARIABLE, (_whole, braced, colon, sign, otherwise, plain) => {
      const value = values.get(braced ?? plain);
      const isSet = value !== undefined && (value !== '' || colon === '');
      if (sign === '+') return isSet ? otherwise : '';
      if (sign === '-') return isSet ? value : otherwise;
      return value || '<>';
    });
  // The innermost variables come first.
  return text.replace(NAMING_LINE, (line) => {
    let part = line;
    for (let level = 0; level < LEVELS; level++) part = replaced(part);
    return part;
  });
}

function unknownVariable(name: string, images: readonly string[], isCompose: boolean): UsageError {
  const advice = isCompose
    ? 'Set the variables in the environment, or in the file .env in the same folder. Variables named like secrets count as unset.'
    : 'Write the values in their place.';
  const names = images.join(', ');
  return new UsageError([
    `${name} contains image names with variables that have no value: ${names.replaceAll('<>', '$…')}. ${advice}`,
  ]);
}

function noImage(name: string): UsageError {
  return new UsageError([`No image found in ${name}. Write image names, one on a line.`]);
}

async function readText(name: string, stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of stream) {
      size += chunk.length;
      if (size > LIST_LIMIT) throw new CommandError(`${name} is longer than 16 MiB.`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(unreadableFile(name, error), { cause: error });
  }
  return Buffer.concat(chunks).toString();
}
