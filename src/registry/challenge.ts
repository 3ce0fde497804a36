/** What a registry asks for in `WWW-Authenticate`. */
export interface Challenge {
  /** Lowercase: `bearer`, `basic`. */
  readonly scheme: string;
  /** By lowercase name: `realm`, `service`, `scope`, `error`. */
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const QUOTED = '"(?:[^"\\\\]|\\\\.)*"';
const PARAMETER = new RegExp(`[\\s,]*(${TOKEN})\\s*=\\s*(${TOKEN}|${QUOTED})\\s*(?=,|$)`, 'y');
// A scheme may stand alone, or have a token68 instead of parameters: `Negotiate YWJj==`.
const SCHEME = new RegExp(`[\\s,]*(${TOKEN})(?=[\\s,]|$)(?:[ \\t]+[\\w.~+/-]+=*\\s*(?=,|$))?`, 'y');

/**
 * Parses a `WWW-Authenticate` header, which may hold several challenges. Reads as far as the grammar goes and leaves
 * out the rest.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
 */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  for (let scheme = take(SCHEME); scheme !== null; scheme = take(SCHEME)) {
    const parameters = new Map<string, string>();
    for (let pair = take(PARAMETER); pair !== null; pair = take(PARAMETER)) {
      const [, name = '', value = ''] = pair;
      parameters.set(
        name.toLowerCase(),
        value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value,
      );
    }
    challenges.push({ scheme: (scheme[1] ?? '').toLowerCase(), parameters });
  }
  return challenges;
}
