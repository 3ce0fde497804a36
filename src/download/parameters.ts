import type { Static } from 'typebox';
import { ARTIFACT_FORMAT, DEFAULT_FORMAT, FORMAT_NAMES, FORMATS } from '../archive/format.ts';
import { choice, Type } from '../util/schema.ts';
import { COMPRESSIONS } from './compression.ts';

/** The maximum number of images in one archive. */
export const MAX_IMAGES = 10;

const FLAG_VALUES = ['0', '1'] as const;
const formatList = FORMAT_NAMES.map((name) => `\`${name}\`: ${FORMATS[name].description}.`).join(' ');

/** Describes a parameter that is on with `1`. */
function flag(description: string) {
  return Type.Optional(choice(FLAG_VALUES, { description }));
}

/** The parameters of `/dl`, as the API document describes them. The parser and the flags of `save` follow these schemas. */
export const PARAMETERS = {
  myimage: Type.Array(Type.String({ minLength: 1 }), {
    minItems: 1,
    maxItems: MAX_IMAGES,
    description: 'An image. To put several images into one file, repeat the parameter.',
    examples: [['busybox']],
  }),
  platform: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        'os/architecture[/variant]: `linux/arm64`. With `format=oci`, also a list with commas, or `all` for the whole index.',
    }),
  ),
  format: Type.Optional(
    choice(FORMAT_NAMES, {
      description: `${formatList} Default: \`${DEFAULT_FORMAT}\`, and \`${ARTIFACT_FORMAT}\` for artifacts.`,
    }),
  ),
  compress: Type.Optional(
    choice(COMPRESSIONS, {
      description:
        'Compresses a root file system while it is sent, so that its length is unknown. Requires `format=rootfs`.',
    }),
  ),
  squash: flag(
    '`1` for one layer in each image: its root file system. Requires `format=docker-classic`. The first request for an image reads its layers twice.',
  ),
  stream: flag(
    '`1` for the first bytes sooner, without a length. Takes effect only if an engine is the source.',
  ),
  referrers: flag('`1` for signatures, SBOMs, and other referrers of the images, with `format=oci`.'),
  name: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        'The name by which the image loads, instead of its own, with or without a tag: `app:2`. Requires one image.',
      examples: ['app:2'],
    }),
  ),
  have: Type.Optional(
    Type.Array(Type.String({ minLength: 1 }), {
      minItems: 1,
      description:
        'The images and layers that the receiver has. The file omits their layers; see `/api/v1/delta`.',
    }),
  ),
  parts: Type.Optional(
    Type.String({
      minLength: 1,
      description: 'Splits the file into parts that are each smaller than this: `4GiB`, `25MB`.',
      examples: ['4GiB'],
    }),
  ),
  part: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 999_999,
      description: 'Number of the part, from 1. Requires `parts`.',
    }),
  ),
  checksum: flag('`1` for the SHA-256 of the file, or of each of its parts, instead of the file.'),
  metalink: flag(
    '`1` for a metalink instead of the file. It has the SHA-256 of the file and of its pieces, and its URLs by digest at all replicas. Without `part`, it lists all parts.',
  ),
  redirect: flag('`1` for a redirect to the URL by digest, whose file never changes.'),
};

/** The name of a parameter. */
export type ParameterName = keyof typeof PARAMETERS;

/** All names, in the order in which messages list them. */
export const PARAMETER_NAMES = Object.keys(PARAMETERS) as readonly ParameterName[];

/** The parameters of `/dl/REF.tar`, whose path names the image. */
export const PATH_NAMES = PARAMETER_NAMES.filter((name) => name !== 'myimage');

/** The parameters of `/dl/status`, which watches a file as a whole. */
export const STATUS_NAMES: readonly ParameterName[] = ['myimage', 'platform', 'format', 'stream'];

type Value<Name extends ParameterName> =
  Static<(typeof PARAMETERS)[Name]> extends '0' | '1' ? boolean : Static<(typeof PARAMETERS)[Name]>;

/** The given parameters, read as their schemas describe them: a flag is a boolean, and a number is a number. */
export type Parameters = { readonly [Name in ParameterName]?: Value<Name> | undefined };

/** Tells whether a parameter is on or off. */
export function isFlag(name: ParameterName): boolean {
  return choicesOf(name)?.join() === FLAG_VALUES.join();
}

/** Lists the values that a parameter can have; undefined if it is not a choice. */
export function choicesOf(name: ParameterName): readonly string[] | undefined {
  return schemaOf(name).anyOf?.map(({ const: value }) => value);
}

/** Tells whether a parameter may be given several times. */
export function isList(name: ParameterName): boolean {
  return schemaOf(name).type === 'array';
}

/** Tells whether a parameter is a whole number. */
export function isInteger(name: ParameterName): boolean {
  return schemaOf(name).type === 'integer';
}

/** The keywords of the schemas that the parser follows. */
interface Schema {
  readonly type?: string;
  readonly anyOf?: readonly { readonly const: string }[];
}

function schemaOf(name: ParameterName): Schema {
  return PARAMETERS[name] as Schema;
}
