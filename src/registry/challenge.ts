/** A registry's demand in `WWW-Authenticate`. */
export interface Challenge {
  /** Lowercase: `bearer`, `basic`. */
  readonly scheme: string;
  /** By lowercase name: `realm`, `service`, `scope`, `error`. */
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const QUOTED = '"(?:[^"\\\\]|\\\\.)*"';
// Accepts more than a token, because some registries omit the quotes around the realm.
const BARE = '[^\\s,"=][^\\s,"]*(?=[\\s,]|$)';
// Like Docker, accepts a quoted value whatever follows it, such as a semicolon.
const PARAMETER = new RegExp(`[\\s,]*(${TOKEN})\\s*=\\s*(${QUOTED}|${BARE})`, 'y');
// A scheme may have no parameters, or a token68 instead: `Negotiate YWJj==`.
const SCHEME = new RegExp(`[\\s,]*(${TOKEN})(?=[\\s,]|$)(?:[ \\t]+[\\w.~+/-]+=*\\s*(?=,|$))?`, 'y');
/** Ends at the next comma outside of quotes. A quote that never closes matches nothing, which keeps parsing linear. */
const UNREADABLE = new RegExp(`[\\s,]*(?:${QUOTED}|[^,"])+`, 'y');
const SUPPORTED = ['bearer', 'basic'];

/**
 * Parses a `WWW-Authenticate` header, which may list several challenges. Skips invalid parts up to the next comma.
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
  do {
    for (let scheme = take(SCHEME); scheme !== null; scheme = take(SCHEME)) {
      const parameters = new Map<string, string>();
      for (let pair = take(PARAMETER); pair !== null; pair = take(PARAMETER)) {
        const [, name = '', value = ''] = pair;
        parameters.set(name.toLowerCase(), unquote(value));
      }
      challenges.push({ scheme: (scheme[1] ?? '').toLowerCase(), parameters });
    }
  } while (take(UNREADABLE) !== null);
  return challenges;
}

/**
 * Chooses the challenge to answer: Bearer before Basic, whatever their order, because a token needs no password and
 * Docker, containerd and skopeo choose it too. A Bearer challenge without a realm comes last. Other schemes are not
 * supported.
 */
export function preferredChallenge(challenges: readonly Challenge[]): Challenge | undefined {
  const rank = ({ scheme, parameters }: Challenge): number =>
    scheme === 'bearer' && !parameters.has('realm') ? SUPPORTED.length : SUPPORTED.indexOf(scheme);
  const [first] = challenges
    .filter(({ scheme }) => SUPPORTED.includes(scheme))
    .sort((one, other) => rank(one) - rank(other));
  return first;
}

function unquote(value: string): string {
  return value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value;
}
