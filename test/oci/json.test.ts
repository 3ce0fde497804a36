import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseJsonObject } from '../../src/oci/json.ts';

const MIB = 1024 * 1024;
const parse = (text: string) => parseJsonObject(Buffer.from(text));
const list = (entry: unknown, count: number): string =>
  JSON.stringify({ entries: Array.from({ length: count }, () => entry) });

suite('parsing the JSON of strangers', () => {
  const bombs: [title: string, text: string][] = [
    ['100,000 nested lists', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
    ['100,000 nested objects', `{"a":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_001)}`],
    ['101 levels', `${'{"a":'.repeat(101)}1${'}'.repeat(101)}`],
    ['4 MiB of empty objects', `{"a":[${'{},'.repeat((4 * MIB) / 3)}{}]}`],
    ['4 MiB of empty lists', `{"a":[${'[],'.repeat((4 * MIB) / 3)}[]]}`],
    ['4 MiB of members', `{"a":{${'"b":1,'.repeat((4 * MIB) / 6)}"b":1}}`],
    ['4 MiB of digits', `{"a":[${'1,'.repeat((4 * MIB) / 2)}1]}`],
  ];
  for (const [title, text] of bombs) {
    test(`${title} are refused before they are parsed`, (context) => {
      const parser = context.mock.method(JSON, 'parse');
      assert.equal(parse(text), undefined);
      assert.equal(parser.mock.callCount(), 0);
    });
  }

  const honest: [title: string, text: string][] = [
    ['100 levels', `${'{"a":'.repeat(100)}1${'}'.repeat(100)}`],
    [
      'an index of 1000 entries with platforms and annotations',
      list({ digest: 'sha256:0', platform: { os: 'linux' }, annotations: { a: 'b', c: 'd' } }, 1000),
    ],
    [
      'a list of 10,000 referrers with annotations',
      list(
        { mediaType: 'a', digest: 'b', size: 1, artifactType: 'c', annotations: { d: 'e', f: 'g' } },
        10_000,
      ),
    ],
    ['400,000 tags', list('1.2.3', 400_000)],
    ['brackets, commas, quotes and backslashes within text', JSON.stringify({ a: '[{,"\\'.repeat(200_000) })],
    ['text that ends with a backslash', JSON.stringify({ a: '\\', b: ['\\"'] })],
  ];
  for (const [title, text] of honest) {
    test(`${title} are parsed`, () => {
      assert.deepEqual(parse(text), JSON.parse(text));
    });
  }
});
