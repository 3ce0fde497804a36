import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FORMAT_NAMES } from '../../src/archive/format.ts';
import { helpText } from '../../src/cli/help.ts';
import { parseSaveArguments } from '../../src/cli/save-arguments.ts';
import { parseArchiveQuery } from '../../src/download/query.ts';
import { LANGUAGES } from '../../src/http/web-assets.ts';
import { sharedServer } from './samples.ts';

interface Parameter {
  readonly name: string;
  readonly schema: { readonly anyOf: readonly { readonly enum: readonly string[] }[] };
}

suite('each format', () => {
  test('is a choice of each documented operation that has formats', async () => {
    await using server = await sharedServer();
    const { paths } = JSON.parse((await server.get('/openapi.json')).body.toString());
    const operations = Object.values<{ get: { parameters?: Parameter[] } }>(paths);
    const choices = operations.flatMap(({ get: { parameters = [] } }) =>
      parameters.filter(({ name }) => name === 'format').map(({ schema }) => schema.anyOf),
    );
    assert.ok(choices.length >= 5, `${choices.length}`);
    for (const anyOf of choices)
      assert.deepEqual(
        anyOf.map((one) => one.enum),
        FORMAT_NAMES.map((name) => [name]),
      );
  });

  test('is an option of the page in each language', async () => {
    await using server = await sharedServer();
    for (const lang of LANGUAGES) {
      const html = (await server.get(`/?lang=${lang}`)).body.toString();
      const [, select = ''] = /<select id="format">(.*?)<\/select>/s.exec(html) ?? [];
      const values = [...select.matchAll(/<option value="([\w-]+)">[^<]+</g)].map(([, value]) => value);
      assert.deepEqual(values, FORMAT_NAMES, lang);
    }
  });

  test('is a value of the query and of the flag, and in --help', () => {
    assert.ok(helpText('save', 80).includes(`${FORMAT_NAMES.join(', ')}. Default:`));
    for (const format of FORMAT_NAMES) {
      assert.equal(parseArchiveQuery({ myimage: 'busybox', format }).format, format);
      assert.equal(parseSaveArguments(['busybox', '--format', format]).query.format, format);
    }
  });
});
