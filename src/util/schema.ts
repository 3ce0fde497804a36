import type { TSchema, TSchemaOptions, TUnsafe, Type as TypeBox } from 'typebox';

/** Keywords of JSON Schema, such as `description` and `minimum`. */
type Keywords = object;

const OPTIONAL = Symbol('optional');

/**
 * The constructors of TypeBox that these schemas use, with TypeBox's types. TypeBox itself also compiles, checks and
 * converts: it loads 373 modules, which takes 0.2 s and 20 MB.
 */
export const Type = {
  Array: (items: TSchema, keywords?: Keywords) => ({ type: 'array', items, ...keywords }),
  Boolean: (keywords?: Keywords) => ({ type: 'boolean', ...keywords }),
  Integer: (keywords?: Keywords) => ({ type: 'integer', ...keywords }),
  Literal: (value: unknown, keywords?: Keywords) => ({ type: typeof value, const: value, ...keywords }),
  Null: (keywords?: Keywords) => ({ type: 'null', ...keywords }),
  Object: (properties: Record<string, TSchema>, keywords?: Keywords) => {
    const required = Object.keys(properties).filter((name) => !(OPTIONAL in (properties[name] ?? {})));
    return { type: 'object', ...(required.length > 0 && { required }), properties, ...keywords };
  },
  // The mark is not enumerable, so that validators and documents don't see it.
  Optional: (schema: TSchema) => Object.defineProperty({ ...schema }, OPTIONAL, { value: true }),
  String: (keywords?: Keywords) => ({ type: 'string', ...keywords }),
  Unsafe: (schema: object) => ({ ...schema }),
  Union: (anyOf: TSchema[], keywords?: Keywords) => ({ anyOf, ...keywords }),
} as unknown as Pick<
  typeof TypeBox,
  'Array' | 'Boolean' | 'Integer' | 'Literal' | 'Null' | 'Object' | 'Optional' | 'String' | 'Union' | 'Unsafe'
>;

/** Returns the schema of a text that is one of several. */
export function choice<Name extends string>(
  names: readonly Name[],
  keywords?: TSchemaOptions,
): TUnsafe<Name> {
  const literals = names.map((name) => Type.Literal(name));
  return Type.Unsafe<Name>(Type.Union(literals, keywords));
}
