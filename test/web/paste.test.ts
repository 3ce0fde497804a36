import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { formatReference, parseReference } from '../../src/oci/reference.ts';
import { fullName, parsePaste } from '../../web/paste.js';
import { DIGEST, HOST, NO_IMAGES, PASTES, QUESTIONS } from './pastes.ts';

suite('pasted texts', () => {
  for (const { text, images, platform } of PASTES) {
    test(`${JSON.stringify(text)} names ${images.join(' ')}`, async () => {
      const found = await parsePaste(text, HOST);
      const expected = { images, candidates: [], ...(platform && { platform }) };
      assert.deepEqual(found, expected);
      for (const image of images) assert.equal(fullName(image), formatReference(parseReference(image)));
    });
  }

  for (const [text, candidates] of QUESTIONS) {
    test(`${JSON.stringify(text)} has more than one meaning`, async () => {
      const found = await parsePaste(text, HOST);
      assert.deepEqual(found, { images: [], candidates, problem: 'ambiguous' });
      for (const name of candidates) parseReference(name.replace(/:$/, ''));
    });
  }

  for (const text of NO_IMAGES) {
    test(`${text} names no image`, async () => {
      assert.deepEqual(await parsePaste(text, HOST), { images: [], candidates: [], problem: 'unreadable' });
    });
  }

  for (const text of [DIGEST, DIGEST.slice(7)]) {
    test(`${text.slice(0, 12)}… alone lacks a repository`, async () => {
      assert.deepEqual(await parsePaste(text, HOST), { images: [], candidates: [], problem: 'digest' });
    });
  }

  for (const [what, text] of [
    ['blank lines', `image: alpine${'\n'.repeat(500_000)}other: text`],
    ['lines of spaces', `image: alpine\n${' \n'.repeat(500_000)}other: text`],
    ['comment lines', `alpine\n${'#\n'.repeat(300_000)}`],
    ['spaces', `image: alpine\nother:${' '.repeat(500_000)}text "`],
    ['continued lines', `image: alpine\nother: ${'\\\n'.repeat(200_000)}text "`],
    ['tags of web pages', `image: alpine\nother: ${'<b>'.repeat(200_000)}text "`],
    ['nested lists', `image: alpine\n${'- '.repeat(20_000)}text`],
    ['variables that contain themselves', `FROM alpine\n${'A=$A$A;'.repeat(20_000)}`],
    ['addresses in one word', `image: alpine\nother: ${'a/?'.repeat(200_000)}`],
    ['words of many parts', `image: alpine\nother: ${`${'a_a.'.repeat(400)} `.repeat(500)}`],
    ['an alias with the name of a method', 'image: alpine\nother: *constructor'],
  ] as const) {
    test(`a text with ${what} names its image, within the time and the memory of a browser`, async () => {
      assert.deepEqual((await parsePaste(text, HOST)).images, ['alpine']);
    });
  }

  test('services with different platforms name no platform of the file', async () => {
    const text = `services:
  a: { image: nginx:1.27, platform: linux/arm64 }
  b:
    image: redis:7
    platform: linux/amd64`;
    const platforms = ['linux/arm64', 'linux/amd64'];
    assert.deepEqual(await parsePaste(text, HOST), {
      images: ['nginx:1.27', 'redis:7'],
      candidates: [],
      platforms,
    });
  });

  test('an empty text has no images and no problem', async () => {
    assert.deepEqual(await parsePaste(' \n ', HOST), { images: [], candidates: [] });
  });

  test('at least 120 texts open without a question', () => {
    assert.ok(PASTES.length >= 120, `${PASTES.length}`);
  });
});
