import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, suite, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { Task, Work } from './paste-worker.ts';

/** The maximum work for a character of a text. */
const LIMIT: Work = { steps: 25, read: 130 };
/** A text twice as long may take this much more work. */
const GROWTH = 2.3;
/** Work that does not depend on the length, such as that of loops with a limit. */
const CONSTANT: Work = { steps: 10_000, read: 60_000 };
const LENGTH = 6000;
const MEGABYTE = 1_000_000;
/** Long enough for quadratic work to exceed the limits many times. */
const LONG = 60_000;

const repeat = (text: string, length: number): string => text.repeat(Math.ceil(length / text.length));
const lines = (count: number, line: (at: number) => string): string =>
  Array.from({ length: count }, (_, at) => line(at)).join('\n');

/** Texts of about a length, by what they have much of. */
const TEXTS: Readonly<Record<string, (length: number) => string>> = {
  'words of a sentence': (length) => repeat('the quick brown fox runs nginx ', length),
  'a word': (length) => 'x'.repeat(length),
  'lines of a compose file': (length) => `services:\n${repeat('  a:\n    image: nginx:1.27\n', length)}`,
  images: (length) => lines(length / 20, (at) => `org/app${at}:1.27`),
  services: (length) => `services:\n${lines(length / 35, (at) => `  s${at}:\n    image: org/app${at}:1.27`)}`,
  indentation: (length) => `${lines(Math.sqrt(length * 2), (at) => `${' '.repeat(at)}a:`)} nginx`,
  'lists in lists': (length) => `${repeat('- ', length)}nginx`,
  'items in one line': (length) => `image: [${repeat('nginx:1, ', length)}]`,
  aliases: (length) =>
    `a: &a [x, x, x, x, x]\n${lines(length / 40, (at) => `b${at}: &b${at} [*a, *a, *b${at - 1}, *b${at - 1}]`)}\nimage: *a`,
  anchors: (length) =>
    `a: &a [x, x, x, x, x]\n${lines(length / 40, (at) => `b${at}: &a [*a, *a]\nb: *a`)}\nimage: *a`,
  'aliases of a name': (length) => `a: &a nginx\n${repeat('image: *a\n', length)}`,
  'a long value, and its aliases': (length) =>
    `a: &a ${repeat('[nginx,', length / 2)}\n${repeat('image: *a\n', length / 2)}`,
  assignments: (length) => `FROM $A\n${repeat('ARG A=nginx\n', length)}`,
  variables: (length) => lines(length / 14, (at) => `V${at}=$V${at - 1}`),
  'single quotes': (length) => repeat("a' ", length),
  commands: (length) => repeat('docker run -it --rm -e A=b nginx:1.27 sh\n', length),
  'options of a command': (length) => `docker run ${repeat('-e A=b ', length)}nginx`,
  'names of programs': (length) => repeat('docker ', length),
  'operands of a command': (length) => `docker pull ${repeat('nginx ', length)}`,
  'operands that are no images': (length) => `docker pull ${repeat('??? ', length)}`,
  'lines of a Dockerfile': (length) => repeat('FROM nginx AS a\nCOPY --from=a /a /b\n', length),
  'stages of a Dockerfile': (length) => lines(length / 30, (at) => `FROM s${at - 1} AS s${at}`),
  'rows of a table': (length) =>
    `REPOSITORY TAG IMAGE ID CREATED SIZE\n${repeat('nginx 1.27 a8758716bb6a 2 weeks ago 192MB\n', length)}`,
  addresses: (length) => repeat('https://hub.docker.com/_/nginx ', length),
  'open tags of HTML': (length) => repeat('<p ', length),
  templates: (length) => repeat('{{ default ', length),
  'expressions of a workflow': (length) => repeat('${{ env.', length),
  'number signs': (length) => `a: b ${repeat('# ', length)}'`,
  'quotes of a mail': (length) => repeat('> ', length),
  'lines of spaces': (length) => repeat('   \n', length),
  spaces: (length) => repeat(`a${' '.repeat(400)}`, length),
  backslashes: (length) => repeat(' \\ ', length),
  loops: (length) => repeat('for a in ', length),
  arrays: (length) => repeat('images=(', length),
  'words of a message': (length) => repeat('image ', length),
  'names of constants': (length) => repeat('IMAGE_ ', length),
  'heads of tables': (length) => repeat('REPOSITORY TAG\n', length),
  differences: (length) => repeat('+a\n-b\n', length),
  'lines of JSON': (length) => repeat('{"Image":"nginx"}\n', length),
  'objects in a list': (length) => `[${repeat('{"Image":"nginx"},', length)}{}]`,
  'items of a JSON list': (length) => `[${repeat('"nginx:1",', length)}{}]`,
  'members of a JSON object': (length) =>
    `{${Array.from({ length: length / 12 }, (_, at) => `"k${at}":"v"`).join(',')},"image":"nginx"}`,
  'objects in an object': (length) =>
    `{${Array.from({ length: length / 40 }, (_, at) => `"k${at}":{"image":"a${at}"}`).join(',')},"image":"nginx"}`,
  keys: (length) => `${lines(length / 12, (at) => `k${at}: v`)}\nimage: nginx`,
  'keys named status': (length) => `${repeat('status: v\n', length)}\nimage: nginx`,
  'keys named image': (length) => `${repeat('image: v\n', length)}`,
  'keys named services': (length) => `${repeat('services: v\n', length)}`,
  'values of Helm': (length) => repeat('image:\n  repository: nginx\n  tag: 1\n', length),
  'names in a list': (length) => `images:\n${repeat('- nginx:1\n', length)}`,
  'Chinese words': (length) => repeat('\u955c\u50cf ', length),
  'objects of a list': (length) => `images:\n${repeat('- registry: a\n  image: b\n', length)}`,
  'lists of tags': (length) => `${repeat('RepoTags:\n- a:1\n', length)}`,
  brackets: (length) => `image: ${repeat('[ ', length)}`,
  braces: (length) => `image: ${repeat('{ a : ', length)}`,
  'braces of variables': (length) => repeat('${a:- ', length),
  'template braces': (length) => repeat('{{ ', length),
  colons: (length) => repeat('a : ', length),
  'quotes and spaces': (length) => repeat('" ', length),
  'at signs': (length) => repeat('a@[b ', length),
  'dashes of a word processor': (length) => repeat('\u2014 ', length),
};

/** Long texts, two of which have 100,000 lines or a megabyte. */
const LARGE: readonly (readonly [what: string, text: () => string])[] = [
  [
    '100,000 lines of a compose file',
    () => `services:\n${lines(50_000, (at) => `  s${at}:\n    image: org/app${at}:1.27`)}`,
  ],
  ['images', () => lines(LONG / 20, (at) => `org/app${at}:1.27`)],
  ['a sentence', () => repeat('the quick brown fox runs nginx ', LONG)],
  ['a megabyte in one line', () => `image: [${repeat('nginx:1, ', MEGABYTE)}]`],
  ['lists in lists', () => `image: ${repeat('[ ', LONG)}`],
  ['mappings in mappings in one line', () => `image: ${repeat('{ a : ', LONG)}`],
  ['mappings in mappings, each in a line', () => lines(600, (at) => `${' '.repeat(at)}a:`)],
  [
    'aliases of aliases',
    () => `a: &a [x, x]\n${lines(1500, (at) => `b${at}: &b${at} [*b${at - 1}, *b${at - 1}]`)}\nimage: *a`,
  ],
  [
    'aliases of a long list',
    // The allowance for repeated characters has to be less than the allowance for the length.
    () => `a: &a [${repeat('nginx:1, ', 2 * LONG)}]\n${repeat('image: *a\n', 2 * LONG)}`,
  ],
  ['variables of variables', () => lines(4000, (at) => `V${at}=$V${at - 1}$V${at - 1}`)],
  ['a status for each line', () => repeat('status: v\n', LONG)],
];

suite('the work to read a pasted text', { concurrency: 1 }, () => {
  let worker: Worker;
  const workFor = async (text: string, isReadCounted = true): Promise<Work> => {
    const task: Task = { text, isReadCounted };
    worker.postMessage(task);
    const [work] = await once(worker, 'message');
    return work;
  };

  before(() => {
    worker = new Worker(new URL('./paste-worker.ts', import.meta.url));
  });
  after(() => worker.terminate());

  for (const [what, make] of Object.entries(TEXTS)) {
    test(`is in proportion to ${what}`, async () => {
      const [half, whole] = [make(LENGTH / 2), make(LENGTH)];
      const [less, more] = [await workFor(half), await workFor(whole)];
      for (const kind of ['steps', 'read'] as const) {
        assert.ok(more[kind] <= whole.length * LIMIT[kind] + CONSTANT[kind], `${more[kind]} ${kind}`);
        assert.ok(
          more[kind] <= less[kind] * GROWTH + CONSTANT[kind],
          `${less[kind]}, then ${more[kind]} ${kind}`,
        );
      }
    });
  }

  for (const [what, make] of LARGE) {
    test(`has a limit for ${what}`, async () => {
      const text = make();
      const { steps } = await workFor(text, false);
      assert.ok(steps <= text.length * LIMIT.steps + CONSTANT.steps, `${steps} steps`);
    });
  }
});
