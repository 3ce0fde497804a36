import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { parseChallenges, preferredChallenge } from '../../src/registry/challenge.ts';
import { runInterruptibly } from '../support/interruptible.ts';

const written = (scheme: string, parameters: Iterable<[name: string, value: string]>): string =>
  [scheme, ...Array.from(parameters, ([name, value]) => `${name}=${JSON.stringify(value)}`)].join(' ');

/** The challenges with their parameters, such as `basic realm="Registry"`. */
const parsed = (header: string): string[] =>
  parseChallenges(header).map(({ scheme, parameters }) => written(scheme, parameters));

const HUB = 'bearer realm="https://auth.docker.io/token" service="registry.docker.io"';

suite('challenges', () => {
  for (const [header, expected] of [
    ['', []],
    ['Basic', ['basic']],
    ['Basic realm="Registry"', ['basic realm="Registry"']],
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull"',
      [`${HUB} scope="repository:library/busybox:pull"`],
    ],
    ['Bearer realm="https://auth.docker.io/token", service="registry.docker.io"', [HUB]],
    ['bearer REALM="https://auth.docker.io/token" ,Service=registry.docker.io', [HUB]],
    ['Bearer realm = "x" ,\t service= y', ['bearer realm="x" service="y"']],
    [
      'Bearer realm="https://quay.io/v2/auth",service="quay.io",scope="a b",error="invalid_token"',
      ['bearer realm="https://quay.io/v2/auth" service="quay.io" scope="a b" error="invalid_token"'],
    ],
    ['Bearer realm=""', ['bearer realm=""']],
    ['Bearer realm="a \\"b\\" \\\\ c"', ['bearer realm="a \\"b\\" \\\\ c"']],
    ['Bearer realm="x, Basic realm=y"', ['bearer realm="x, Basic realm=y"']],
    ['Basic realm="a", Bearer realm="b", service="c"', ['basic realm="a"', 'bearer realm="b" service="c"']],
    ['Bearer realm="b",service="c", Basic realm="a"', ['bearer realm="b" service="c"', 'basic realm="a"']],
    [', , Bearer realm="b",,service="c",', ['bearer realm="b" service="c"']],
    ['Bearer realm="never closed', ['bearer']],
    ['=?', []],
    ['"Bearer" realm="x"', []],
    [
      'Bearer realm=https://auth.test/token,service=s',
      ['bearer realm="https://auth.test/token" service="s"'],
    ],
    ['Bearer realm="x" service="y"', ['bearer realm="x" service="y"']],
    ['Bearer realm="x"service="y"', ['bearer realm="x" service="y"']],
    ['Bearer realm="x";service="y",scope="z"', ['bearer realm="x"']],
    ['Basic realm="a" Bearer realm="b"', ['basic realm="a"', 'bearer realm="b"']],
    [
      'Digest qop="auth, auth-int", nonce=a/b, Bearer realm="b"',
      ['digest qop="auth, auth-int" nonce="a/b"', 'bearer realm="b"'],
    ],
    ['Negotiate =?; "x, y", Bearer realm="b"', ['negotiate', 'bearer realm="b"']],
    [
      'NTLM, Negotiate, Basic realm="a, b", charset="UTF-8", BEARER Realm="b"',
      ['ntlm', 'negotiate', 'basic realm="a, b" charset="UTF-8"', 'bearer realm="b"'],
    ],
  ] as const) {
    test(JSON.stringify(header), () => assert.deepEqual(parsed(header), expected));
  }

  for (const header of ['Negotiate, Bearer realm="b"', 'Negotiate YWJj==, Bearer realm="b"']) {
    test(`${JSON.stringify(header)}, a scheme without parameters before another`, () =>
      assert.deepEqual(parsed(header), ['negotiate', 'bearer realm="b"']));
  }

  const preferred: [header: string, expected: string | undefined][] = [
    ['Basic realm="a", Bearer realm="b"', 'bearer b'],
    ['Bearer realm="b", Basic realm="a"', 'bearer b'],
    ['Negotiate, Basic realm="a"', 'basic a'],
    ['Bearer realm="b", Bearer realm="c"', 'bearer b'],
    ['Bearer error="x", Basic realm="a"', 'basic a'],
    ['Bearer error="x", Bearer realm="b"', 'bearer b'],
    ['Bearer error="x"', 'bearer undefined'],
    ['Negotiate, Digest realm="a"', undefined],
    ['', undefined],
  ];
  for (const [header, expected] of preferred) {
    test(`${JSON.stringify(header)} prefers ${expected}`, () => {
      const chosen = preferredChallenge(parseChallenges(header));
      assert.equal(chosen && `${chosen.scheme} ${chosen.parameters.get('realm')}`, expected);
    });
  }

  const name = fc.stringMatching(/^[a-z]{1,8}$/);
  const value = fc.string({ maxLength: 20 }).filter((text) => !/[\r\n\u2028\u2029]/.test(text));
  const challenge = fc.record({
    scheme: fc.stringMatching(/^[a-z]{1,8}$/),
    parameters: fc.dictionary(name, value, { minKeys: 1, maxKeys: 4, noNullPrototype: true }),
  });

  test('any text of the grammar is parsed to the same values', () => {
    fc.assert(
      fc.property(fc.array(challenge, { maxLength: 3 }), (challenges) => {
        const header = challenges.map(({ scheme, parameters }) => {
          const pairs = Object.entries(parameters).map(
            ([key, text]) => `${key}="${text.replace(/["\\]/g, '\\$&')}"`,
          );
          return `${scheme} ${pairs.join(',')}`;
        });
        assert.deepEqual(
          parsed(header.join(', ')),
          challenges.map(({ scheme, parameters }) => written(scheme, Object.entries(parameters))),
        );
      }),
    );
  });

  test('nothing makes it throw', () => {
    const noise = fc.constantFrom(...'aB =,"\\\t\n\0é;:/?&'.split(''), 'Bearer ', 'realm="', 'Basic');
    const header = fc.oneof(
      fc.string(),
      fc.array(noise, { maxLength: 60 }).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(header, (text) => {
        for (const { scheme } of parseChallenges(text)) assert.match(scheme, /^[!-~]+$/);
      }),
      { numRuns: 10_000 },
    );
  });

  const pumps = [
    'a',
    ' ',
    ',',
    'a ',
    'a=',
    'a=b',
    'a=b ',
    'a=b,',
    'a="',
    'a="\\',
    'a="b",',
    '=',
    '"',
    '\\',
    '\\"',
    '\\",',
    ', ',
  ];
  for (const pump of pumps) {
    // Far longer than a header may be: quadratic work would take minutes.
    test(`512 KiB of ${JSON.stringify(pump)} are parsed in linear time`, () => {
      const text = pump.repeat(Math.ceil(2 ** 19 / pump.length));
      for (const header of [text, `Bearer ${text}`, `Bearer realm="${text}`, `Bearer a=${text}!x`])
        runInterruptibly(() => parseChallenges(header));
    });
  }
});
