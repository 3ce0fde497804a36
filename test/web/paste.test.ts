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

  test('an empty text has no images and no problem', async () => {
    assert.deepEqual(await parsePaste(' \n ', HOST), { images: [], candidates: [] });
  });

  test('at least 120 texts open without a question', () => {
    assert.ok(PASTES.length >= 120, `${PASTES.length}`);
  });
});
