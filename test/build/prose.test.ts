import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { check } from '../../build/prose/rules.ts';
import { paragraphsOf } from '../../build/prose/texts.ts';

/** Sentences that DockerProxy once had, each with a fault that the linter must find. */
const FAULTY = [
  'Who was let in before and asks only now shall go elsewhere next.',
  'It takes Linux on x86-64 or arm64, and any Node.js with npm from 20 on to install the rest; DockerProxy brings the Node.js that it runs on.',
  'Let the A and AAAA records of the domain lead to the machine.',
  'Try with certificates that nobody trusts.',
  'An index within an index is in the file as it is upstream, but skopeo copies none, from a registry neither.',
  'A digest that is of none of its layers is told of in `DockerProxy-Notice`.',
  'With a byte left, the largest image may begin.',
  'For how long nobody asks a registry again what a tag means.',
  'For how long a tag is cached.',
  'what is done without a command',
  'A worker hangs, and is killed',
  'The mirror X is left out for 1 s and longer',
  'X is no address of this machine',
  'An archive is nothing for a terminal: name a file with -o, or use a pipe.',
  'The manifest that the registry sent has not the digest sha256:0123.',
  'It takes more than 180 s to find out what there is of X.',
  'There is no parameter "x" here; there is myimage, platform.',
  'In one order for everybody, so that no two wait for each other.',
  'Gone is good: it may have its final name now.',
  'Connections of TLS read as before, whose small records made lending a loss.',
  'Where there is a mirror, it is asked first.',
  'What comes is written anew.',
  'Whether the client is gone, in milliseconds.',
  'Of two equal tags, the first counts.',
  'The server restarts. Whoever waits starts again.',
  'The cache is for ever.',
  'So many readers share one file.',
  'The link leads to the page.',
  'The registry comes back after a minute.',
  'It returns the lock, and gives back the memory.',
  'The header can be of use to a proxy.',
  'The layer takes part in the archive.',
  'Which of them is asked first is in the settings.',
  'Those who have no account wait longer.',
  'Whosoever asks gets it.',
  'All that is known of an image is in the cache.',
  'That a tag moved is seen from its digest.',
  'There exists no mirror for it.',
  'There are those that answer late.',
  'A layer that several images share is there once.',
  'The lock is held by who came first.',
  'Told, after each write, how many bytes the file has.',
  '127.0.0.1 unless told.',
  'The file leads the reader to the error.',
  'No more than ten of them may be had at once.',
  'The service is in want of memory.',
  'The mirror is made use of first.',
  'The registry has no such a thing.',
  'The manifest says nothing of its size.',
  'One of them fails, and neither is sent.',
  'The worker gets to know of it by a message.',
  'The request is let through.',
  'All tell how it stands.',
  'The registry means no good.',
  `The ${'very '.repeat(30)}long sentence has no end.`,
];

const PLAIN = [
  'Report not ready while draining, so that the load balancer routes new requests elsewhere.',
  'Requires Linux (x86-64 or arm64) and npm (Node.js 20+) to install.',
  'How long a resolved tag is cached before the registry is asked again.',
  'The manifest from the registry does not match digest sha256:0123.',
  'Resolving X took longer than 180 s. Partial results are cached; please retry.',
  'A missing file is fine: another process may already have committed it.',
  'That way, the file is complete.',
  'Neither client sends telemetry.',
  'The two options have had an effect.',
  'Where does the file come from?',
  'The file is no longer on the disk.',
];

suite('the linter of prose', () => {
  for (const text of FAULTY) {
    test(`finds a fault in: ${text.slice(0, 60)}`, () => {
      assert.notDeepEqual(check(text), []);
    });
  }

  for (const text of PLAIN) {
    test(`accepts: ${text.slice(0, 60)}`, () => {
      assert.deepEqual(check(text), []);
    });
  }

  test('counts 25 words in a sentence, and each sentence alone', () => {
    const words = (count: number) => `Words${' word'.repeat(count - 1)}.`;
    assert.deepEqual(check(`${words(25)} ${words(25)}`), []);
    assert.equal(check(words(26)).length, 1);
  });

  /** One faulty sentence in each place that people read. */
  const PLACES: [place: string, path: string, text: string][] = [
    ['a paragraph', 'docs/a.md', '# Title\n\nIt is cached\nfor ever.\n'],
    ['a list', 'README.md', '- One is cached for\n  ever.\n'],
    ['a table', 'docs/a.md', '| a | b |\n|---|---|\n| `x` | cached for ever |\n'],
    ['a comment of a block', 'src/a.ts', '/**\n * It is cached for\n * ever.\n */\nexport const a = 1;\n'],
    ['comments of lines', 'src/a.ts', '// It is cached for\n// ever.\nexport const a = 1;\n'],
    ['a tag of a docstring', 'src/a.ts', '/** Caches. @param time cached for ever */\nexport const a = 1;\n'],
    ['an error', 'src/a.ts', "throw new Error('It is cached for ever.');\n"],
    ['a joined string', 'src/a.ts', "log('It is cached ' + 'for ever.');\n"],
    ['a setting', 'src/config/settings/page.ts', "export const a = { doc: 'Cached for ever.' };\n"],
    ['the name of a test', 'test/a.test.ts', "test.skip('is cached for ever', () => {});\n"],
    ['a text of the page', 'web/strings/en.json', '{ "cached": "Cached for ever." }\n'],
    ['the page', 'web/index.html', '<p>It is cached for ever.</p>\n'],
    ['a style sheet', 'web/a.css', '/* It is cached for ever. */\n'],
    ['a unit', 'deploy/a.service', '[Unit]\n# It is cached\n# for ever.\n'],
    ['a script', 'deploy/a.sh', '#!/bin/sh\n# It is cached for ever.\n'],
  ];
  for (const [place, path, text] of PLACES) {
    test(`reads ${place}`, () => {
      const found = paragraphsOf(path, text).flatMap((paragraph) => check(paragraph.text));
      assert.deepEqual(
        found.map(({ found }) => found),
        ['for ever'],
      );
    });
  }

  const SKIPPED: [what: string, path: string, text: string][] = [
    ['a block of code', 'docs/a.md', '```sh\necho for ever\n```\n'],
    ['code in a line', 'docs/a.md', 'The option `for ever` is old.\n'],
    ['data of a test', 'test/a.test.ts', "assert.equal(text, 'cached for ever');\n"],
    ['a query', 'src/a.ts', "db.exec('SELECT a FROM b WHERE c = for ever');\n"],
  ];
  for (const [what, path, text] of SKIPPED) {
    test(`skips ${what}`, () => {
      assert.deepEqual(
        paragraphsOf(path, text).flatMap((paragraph) => check(paragraph.text)),
        [],
      );
    });
  }

  test('states the line of a finding', () => {
    const text = 'const a = 1;\n\n/**\n * One.\n *\n * It is for ever.\n */\n';
    assert.deepEqual(paragraphsOf('src/a.ts', text).at(-1), { line: 6, text: 'It is for ever.' });
  });
});
