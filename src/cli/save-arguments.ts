import { parseArgs } from 'node:util';
import { ConfigError } from '../config/loader.ts';
import { flagName, SCHEMA } from '../config/schema.ts';
import { type ArchiveQuery, parseArchiveQuery, type Spelling } from '../download/query.ts';
import { ServiceError } from '../errors.ts';

/** `dockerproxy save IMAGE… [-o FILE]`, parsed. */
export interface SaveArguments {
  readonly query: ArchiveQuery;
  /** A file, a folder, or `-` for stdout; undefined: the archive's own name, here. */
  readonly output: string | undefined;
  /** The flags that are settings. */
  readonly settings: readonly string[];
}

const OWN = {
  output: { type: 'string', short: 'o' },
  platform: { type: 'string' },
  format: { type: 'string' },
  have: { type: 'string' },
  parts: { type: 'string' },
  part: { type: 'string' },
  checksum: { type: 'boolean' },
  metalink: { type: 'boolean' },
  referrers: { type: 'boolean' },
} as const;

/**
 * Parts what says which archive from the flags that are settings.
 *
 * @throws ConfigError where no image is named, or what is named is none
 */
export function parseSaveArguments(args: readonly string[]): SaveArguments {
  // A setting takes a value: without knowing them all, that value would be an image.
  const settingFlags = [...Object.keys(SCHEMA), 'config'].map((name) => [
    flagName(name),
    { type: 'string' as const },
  ]);
  const options = { ...Object.fromEntries(settingFlags), ...OWN };
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true });
  const images: string[] = [];
  const settings: string[] = [];
  const own = new Map<string, string>();
  const have: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') images.push(token.value);
    if (token.kind !== 'option') continue;
    if (!(token.name in OWN)) settings.push(...writtenAgain(token));
    else if (OWN[token.name as keyof typeof OWN].type === 'boolean') own.set(token.name, token.value ?? '1');
    else if (token.value === undefined) throw new ConfigError([`${token.rawName}: a value is missing.`]);
    else if (token.name === 'have') have.push(token.value);
    else own.set(token.name, token.value);
  }
  if (images.length === 0)
    throw new ConfigError(['No image is named, as in: dockerproxy save busybox -o busybox.tar']);
  return { query: queryOf(images, have, own), output: own.get('output'), settings };
}

/** The spelling of a command's flags. */
export const FLAGS: Spelling = {
  name: (option) => `--${option}`,
  set: (option, value) => `--${option} ${value}`,
};

function writtenAgain(token: {
  rawName: string;
  value?: string | undefined;
  inlineValue?: boolean | undefined;
}) {
  const { rawName, value, inlineValue } = token;
  if (value === undefined) return [rawName];
  return inlineValue ? [`${rawName}=${value}`] : [rawName, value];
}

function queryOf(images: string[], have: string[], own: ReadonlyMap<string, string>): ArchiveQuery {
  try {
    return parseArchiveQuery(
      {
        myimage: images,
        have,
        platform: own.get('platform'),
        format: own.get('format'),
        parts: own.get('parts'),
        part: own.get('part'),
        checksum: own.get('checksum'),
        metalink: own.get('metalink'),
        referrers: own.get('referrers'),
      },
      FLAGS,
    );
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    throw new ConfigError([error.message]);
  }
}
