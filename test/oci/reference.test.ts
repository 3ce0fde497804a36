import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { familiarName, formatReference, parseReference } from '../../src/oci/reference.ts';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

suite('references', () => {
  const normal: [string, string][] = [
    ['busybox', 'docker.io/library/busybox:latest'],
    ['busybox:1.36', 'docker.io/library/busybox:1.36'],
    ['grafana/grafana', 'docker.io/grafana/grafana:latest'],
    ['docker.io/busybox', 'docker.io/library/busybox:latest'],
    ['index.docker.io/library/busybox', 'docker.io/library/busybox:latest'],
    ['registry-1.docker.io/a/b', 'docker.io/a/b:latest'],
    ['registry.hub.docker.com/a/b', 'docker.io/a/b:latest'],
    ['ghcr.io/a/b/c:v1', 'ghcr.io/a/b/c:v1'],
    ['GHCR.io/a/b', 'ghcr.io/a/b:latest'],
    ['localhost/a', 'localhost/a:latest'],
    ['localhost:5000', 'docker.io/library/localhost:5000'],
    ['localhost:5000/a', 'localhost:5000/a:latest'],
    ['Registry/a', 'Registry/a:latest'],
    ['[::1]:5000/a:x', '[::1]:5000/a:x'],
    ['a__b/c-----d/e.f', 'docker.io/a__b/c-----d/e.f:latest'],
    [`busybox@${DIGEST}`, `docker.io/library/busybox@${DIGEST}`],
    [`busybox:1.36@${DIGEST}`, `docker.io/library/busybox:1.36@${DIGEST}`],
    [`a:${'t'.repeat(128)}`, `docker.io/library/a:${'t'.repeat(128)}`],
  ];
  for (const [given, expected] of normal) {
    test(`${given} means ${expected}`, () => assert.equal(formatReference(parseReference(given)), expected));
  }

  const refused: [string, RegExp][] = [
    ['', /empty/],
    ['https://ghcr.io/a/b', /scheme/],
    ['f'.repeat(64), /image ID/],
    ['Busybox', /lowercase/],
    ['ghcr.io/Org/app', /lowercase/],
    ['ghcr.io/', /each part of a repository/],
    ['a//b', /each part of a repository/],
    ['-a', /each part of a repository/],
    ['a___b', /each part of a repository/],
    ['a..b', /each part of a repository/],
    ['../etc/passwd', /host name/],
    ['a b', /each part of a repository/],
    ['a\n', /each part of a repository/],
    ['a:', /tag/],
    ['a:.b', /tag/],
    [`a:${'t'.repeat(129)}`, /tag/],
    ['a@sha256:abc', /digest/],
    [`a@${DIGEST.toUpperCase()}`, /digest/],
    [`a@md5:${'0'.repeat(32)}`, /digest/],
    ['host:0/a', /host name/],
    ['host:65536/a', /host name/],
    ['[:::]/a', /host name/],
    ['300.1.1.1/a', /host name/],
    ['-host.example/a', /host name/],
    [`ghcr.io/${'a'.repeat(248)}`, /255/],
  ];
  for (const [given, rule] of refused) {
    test(`${JSON.stringify(given.slice(0, 40))} is refused with its rule`, () => {
      assert.throws(() => parseReference(given), { code: 'reference-invalid', status: 400, message: rule });
    });
  }

  test('familiar names are what people type', () => {
    assert.equal(familiarName(parseReference('docker.io/library/busybox')), 'busybox');
    assert.equal(familiarName(parseReference('grafana/grafana')), 'grafana/grafana');
    assert.equal(familiarName(parseReference('quay.io/library/x')), 'quay.io/library/x');
  });

  const lower = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  const component = fc
    .array(lower, { minLength: 1, maxLength: 3 })
    .chain((words) => fc.constantFrom('.', '_', '__', '-', '---').map((separator) => words.join(separator)));
  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?$/);
  const host = fc.oneof(
    fc.array(label, { minLength: 2, maxLength: 4 }).map((labels) => labels.join('.')),
    fc.constantFrom('localhost', '[::1]', '127.0.0.1'),
  );
  const domain = fc.oneof(
    host.filter((name) => !name.startsWith('[')),
    fc.tuple(host, fc.integer({ min: 1, max: 65_535 })).map(([name, port]) => `${name}:${port}`),
  );
  const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}$/);
  const digest = fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => `sha256:${hex}`);
  const grammatical = fc
    .record({
      domain: fc.option(domain, { nil: undefined }),
      path: fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
      tag: fc.option(tag, { nil: undefined }),
      digest: fc.option(digest, { nil: undefined }),
    })
    .map(
      (part) =>
        (part.domain === undefined ? '' : `${part.domain}/`) +
        part.path +
        (part.tag === undefined ? '' : `:${part.tag}`) +
        (part.digest === undefined ? '' : `@${part.digest}`),
    )
    .filter((text) => !/^[a-f0-9]{64}$/.test(text))
    // Not hosts, though the grammar allows them. A name that ends in a number, such as "300.1.1.1", "a.0" or "a.0x",
    // is an IPv4 address. A name that begins like punycode must be valid punycode.
    .filter(
      (text) =>
        !/^(?:[^/]*\.(?:\d+|0x[\da-f]*)(?::\d+)?|(?:[^/]*\.)?xn--[^/]*)\//.test(text) ||
        URL.canParse(`https://${text.split('/', 1)}`),
    );

  test('everything that the grammar makes parses, and its normal form is a fixed point', () => {
    fc.assert(
      fc.property(grammatical, (text) => {
        const reference = parseReference(text);
        const normalForm = formatReference(reference);
        assert.equal(formatReference(parseReference(normalForm)), normalForm);
        assert.equal(reference.name, `${reference.domain}/${reference.path}`);
      }),
      { numRuns: 2000 },
    );
  });

  // The whole grammar as one regular expression, like that of distribution/reference, independent of the parser.
  const GRAMMAR =
    /^(?:(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?\/)?[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*)*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?$/;

  test('nothing outside the grammar passes', () => {
    const alphabet = fc.constantFrom(
      ...'abzAZ059._-:/@[]% \n\\\0é?#&=+~'.split(''),
      'sha256:',
      'localhost',
      '..',
    );
    const noise = fc.array(alphabet, { maxLength: 24 }).map((parts) => parts.join(''));
    const mutated = fc
      .tuple(grammatical, alphabet, fc.nat())
      .map(
        ([text, extra, at]) =>
          text.slice(0, at % (text.length + 1)) + extra + text.slice(at % (text.length + 1)),
      );
    fc.assert(
      fc.property(fc.oneof(noise, mutated, fc.string()), (text) => {
        try {
          parseReference(text);
        } catch {
          return;
        }
        assert.match(text, GRAMMAR);
      }),
      { numRuns: 10_000 },
    );
  });
});
