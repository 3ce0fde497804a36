import { createHash } from 'node:crypto';
import type { Digest } from '../oci/digest.ts';

/** A file of an artifact, as its publisher describes it. */
export interface NamedFile {
  /** The name that the publisher gives it, which may be any text. */
  readonly title: string | undefined;
  readonly mediaType: string;
  readonly digest: Digest;
  /** True if the file is a folder, packed as tar. */
  readonly isFolder: boolean;
}

/** The media type of a file that is sent without a tar around it, so that nothing renders it. */
export const FILE_TYPE = 'application/octet-stream';

/** Endings by media type, the first match first. */
const EXTENSIONS: readonly (readonly [RegExp, string])[] = [
  [/[.+/](?:tar\+gzip|tar\.gzip|gzip|tgz)$/, '.tar.gz'],
  [/[.+/](?:tar\+zstd|tar\.zstd|zstd)$/, '.tar.zst'],
  [/[.+/](?:x-)?tar$/, '.tar'],
  [/[.+/](?:json|intoto)$/, '.json'],
  [/[.+/](?:x-)?yaml$/, '.yaml'],
  [/[.+/]xml$/, '.xml'],
  [/[.+/]zip$/, '.zip'],
  [/[.+/]wasm$/, '.wasm'],
  [/[.+/]rego$/, '.rego'],
  [/[.+/]prov$/, '.prov'],
  [/[.+/]pdf$/, '.pdf'],
  [/\bgguf\b/, '.gguf'],
  [/\bsafetensors\b/, '.safetensors'],
  [/\blicense\b|^text\/plain$/, '.txt'],
  [/^text\/markdown$/, '.md'],
  [/^text\/html$/, '.html'],
];
/** Maximum bytes of a path, and of each name in it. Sidecar files and parts append up to 40 bytes to a name. */
const PATH_MAX = 1000;
const NAME_MAX = 200;
const DEPTH_MAX = 16;
/** Invisible and undefined characters, line ends, what was not UTF-8, and what Windows or tar refuse in names. */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}\uFFFD<>:"|?*]/gu;
const WINDOWS_DEVICE = /^(?:con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³]|conin\$|conout\$)(?=\s*(?:\.|$))/i;

/**
 * Returns a path for each file of an artifact. It is the title, or the closest name that is safe on Linux, macOS, and
 * Windows. A file without a title is named after its digest: `sha256-0123….json`.
 *
 * A path is relative, has no `.` or `..`, control character, or reserved name, and does not begin with `.`, `-`, or `~`.
 * Paths differ without regard to case, and no path is the folder of another one.
 */
export function fileNames(files: readonly NamedFile[]): string[] {
  const taken = new Set<string>();
  const folders = new Set<string>();
  /** The number of the last copy of each name, because thousands of files may have one name. */
  const copies = new Map<string, number>();
  const isTaken = (path: string): boolean => {
    const key = keyOf(path);
    return taken.has(key) || folders.has(key) || foldersOf(key).some((folder) => taken.has(folder));
  };
  const unique = (path: string): string => {
    if (!isTaken(path)) return path;
    // A name that is also a folder, or is in a file, needs another place.
    const base = path.replaceAll('/', '_');
    for (let copy = (copies.get(base) ?? 1) + 1; ; copy += 1) {
      copies.set(base, copy);
      const other = shorten(withMark(base, `${copy}`));
      if (!isTaken(other)) return other;
    }
  };
  return files.map((file) => {
    const path = unique(pathOf(file));
    const key = keyOf(path);
    taken.add(key);
    for (const folder of foldersOf(key)) folders.add(folder);
    return path;
  });
}

function pathOf({ title, mediaType, digest, isFolder }: NamedFile): string {
  const parts = (title ?? '')
    .normalize('NFC')
    .split(/[/\\]/)
    .filter((part) => !/^[.\s]*$/.test(part))
    .map(safePart);
  const [first, ...others] = parts;
  if (first === undefined) return `${digest.replace(':', '-')}${extensionOf(mediaType)}`;
  const whole = [first.replace(/^[.~-]+/, '_'), ...others].join('/');
  const isLong = parts.length > DEPTH_MAX || Buffer.byteLength(whole) > PATH_MAX;
  const path = isLong ? flat(whole) : whole;
  const extension = isFolder ? extensionOf(mediaType) : '';
  return path.endsWith(extension) || path.endsWith('.tgz') ? path : `${path}${extension}`;
}

/** Returns the ending of a file of this type; `.bin` for other types. */
function extensionOf(mediaType: string): string {
  const plain = mediaType.replace(/;.*$/s, '').trim().toLowerCase();
  return EXTENSIONS.find(([pattern]) => pattern.test(plain))?.[1] ?? '.bin';
}

function safePart(part: string): string {
  const visible = part.replace(UNSAFE, '_').trim();
  // Windows drops dots and spaces at the end of a name.
  const trimmed = visible.replace(/[. ]+$/, '') || '_';
  return shorten(trimmed.replace(WINDOWS_DEVICE, '_$&'));
}

/** The last name of a path that is too long or too deep, with a hash of the whole path. */
function flat(path: string): string {
  return shorten(withMark(path.slice(path.lastIndexOf('/') + 1), hashOf(path)));
}

/** Shortens a name in its middle, so that its ending stays. A hash of the whole name distinguishes it. */
function shorten(name: string): string {
  if (Buffer.byteLength(name) <= NAME_MAX) return name;
  const [stem, ending] = splitEnding(name);
  const characters = [...stem];
  const mark = `-${hashOf(name)}`;
  let left = NAME_MAX - Buffer.byteLength(mark + ending);
  const kept = characters.filter((character) => {
    left -= Buffer.byteLength(character);
    return left >= 0;
  });
  return `${kept.join('')}${mark}${ending}`;
}

function withMark(name: string, mark: string): string {
  const [stem, ending] = splitEnding(name);
  return `${stem}-${mark}${ending}`;
}

/** Splits a name before its ending of at most 16 letters and digits: `app`, `.tar.gz`. */
function splitEnding(name: string): readonly [stem: string, ending: string] {
  const [ending = ''] = /(?<=.)(?:\.tar)?\.[A-Za-z0-9]{1,16}$/.exec(name) ?? [];
  return [name.slice(0, name.length - ending.length), ending];
}

function foldersOf(path: string): string[] {
  return [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index));
}

/** File systems that ignore case take two names with one key for one file. */
function keyOf(path: string): string {
  return path.normalize('NFKC').toUpperCase().toLowerCase();
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
