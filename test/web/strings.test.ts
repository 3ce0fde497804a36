import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { LANGUAGES } from '../../src/http/web-assets.ts';

const WEB = join(import.meta.dirname, '../../web');

function textsOf(folder: string, lang: string): Record<string, string> {
  return JSON.parse(readFileSync(join(WEB, folder, `${lang}.json`), 'utf8')) as Record<string, string>;
}

function valuesIn(text: string): string[] {
  return (text.match(/\{\w+\}/g) ?? []).sort();
}

suite('the texts of the page', () => {
  for (const folder of ['languages', 'strings', 'problems']) {
    const english = textsOf(folder, 'en');

    test(`${folder}: there is a file for each language and no other`, () => {
      assert.deepEqual(
        readdirSync(join(WEB, folder)).sort(),
        LANGUAGES.map((lang) => `${lang}.json`),
      );
    });

    for (const lang of LANGUAGES) {
      test(`${folder}/${lang}.json has all texts, with the same values in them`, () => {
        const texts = textsOf(folder, lang);
        assert.deepEqual(Object.keys(texts).sort(), Object.keys(english).sort());
        for (const [key, text] of Object.entries(texts)) {
          assert.ok(text.trim().length > 0, key);
          assert.deepEqual(valuesIn(text), valuesIn(english[key] ?? ''), key);
          assert.equal(text.split(' | ').length, english[key]?.split(' | ').length, key);
        }
      });
    }
  }

  test('the modules that few load have all their texts in each language', async () => {
    const load = async (lang: string) =>
      (await import(join(WEB, `texts-${lang}.js`))) as { texts: Record<string, string> };
    const { texts: english } = await load('en');
    for (const lang of LANGUAGES) {
      const { texts } = await load(lang);
      assert.deepEqual(Object.keys(texts).sort(), Object.keys(english).sort(), lang);
      for (const [key, text] of Object.entries(texts))
        assert.deepEqual(valuesIn(text), valuesIn(english[key] ?? ''), `${lang} ${key}`);
    }
    const modules = ['inside', 'tree', 'referrers', 'private'];
    const code = modules.map((name) => readFileSync(join(WEB, `${name}.js`), 'utf8')).join('\n');
    const used = [...code.matchAll(/\bsay\(\s*(?:type === 'directory' \? ')?'?(\w+)'/g)].map(
      ([, key = '']) => key,
    );
    for (const key of used) assert.ok(key in english, key);
  });

  test('every text is used, and every text that is used is there', () => {
    const modules = readdirSync(WEB).filter((name) => name.endsWith('.js'));
    const code = modules.map((name) => readFileSync(join(WEB, name), 'utf8')).join('\n');
    const used = new Set([...code.matchAll(/\bt\('(\w+)'/g)].map(([, key = '']) => key));
    const there = Object.keys(textsOf('strings', 'en'));
    // Problems of parsePaste, states of signatures, and limits have the names of their texts.
    const named = ['unreadable', 'signed', 'unsigned', 'requests', 'bytes', 'downloads'];
    assert.deepEqual([...used, ...named].sort(), there.sort());
  });
});
