import fc, { type Arbitrary } from 'fast-check';

/** Characters with a meaning for parsers, shells, terminals, paths, headers or templates. */
const SIGNS = [
  ...'abzAZ059._-:/@[]{}()<>%?&#=+~*!$\'"\\|;, \t\n\r\0',
  ...[
    '\x1b',
    '\x7f',
    '\x85',
    '\x9b',
    'é',
    '①',
    '．',
    '\u2028',
    '\u202e',
    '\ufeff',
    '\ud800',
    '💩',
    '..',
    '//',
    '%00',
    '%2f',
  ],
];

/** Generates text from meaningful parts, from these characters, and from any characters. */
export function hostileText(parts: readonly string[], maxLength = 24): Arbitrary<string> {
  const part = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...parts) },
    { weight: 3, arbitrary: fc.constantFrom(...SIGNS) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 6 }) },
  );
  return fc.array(part, { maxLength }).map((chosen) => chosen.join(''));
}

/** Text with a few places changed. */
export function mutated(text: Arbitrary<string>, parts: readonly string[]): Arbitrary<string> {
  const change = fc.tuple(fc.nat(), fc.nat(3), fc.constantFrom(...parts, ...SIGNS));
  return fc.tuple(text, fc.array(change, { minLength: 1, maxLength: 3 })).map(([whole, changes]) =>
    changes.reduce((now, [at, removed, added]) => {
      const place = at % (now.length + 1);
      return now.slice(0, place) + added + now.slice(place + removed);
    }, whole),
  );
}

/** JSON values that code often does not expect. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    '',
    0,
    -1,
    0.5,
    -0,
    1e300,
    2 ** 53,
    2 ** 63,
    [],
    {},
    [[]],
    '__proto__',
    '../..',
  ),
  fc.jsonValue({ maxDepth: 2 }),
  fc.integer(),
  fc.string({ unit: 'binary' }),
);

/** A JSON value with a few of its members replaced, removed, doubled or added to. */
export function mutatedJson(value: unknown): Arbitrary<unknown> {
  const change = fc.tuple(
    fc.nat(),
    odd,
    fc.constantFrom('replace', 'remove', 'add'),
    fc.string({ maxLength: 8 }),
  );
  return fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) =>
    changes.reduce<unknown>((now, [at, value, kind, name]) => {
      // Copies the value, so that later changes do not affect the next generated values.
      const other = structuredClone(value);
      const places = placesOf(now);
      const [holder, key] = places[at % places.length] ?? [];
      if (holder === undefined || key === undefined) return other;
      if (kind === 'remove') delete holder[key];
      else if (kind === 'replace') holder[key] = other;
      else holder[Array.isArray(holder) ? holder.length : name] = other;
      return now;
    }, structuredClone(value)),
  );
}

export const bytesOf = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value) ?? '');

type Holder = Record<string | number, unknown>;

/** Every member of every object and list in a value. */
function placesOf(value: unknown): [Holder, string][] {
  if (typeof value !== 'object' || value === null) return [];
  const holder = value as Holder;
  return Object.keys(value).flatMap((key): [Holder, string][] => [[holder, key], ...placesOf(holder[key])]);
}
