import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { listErrors } from '../../src/errors.ts';
import { sentenceOf } from '../../web/sentences.js';

const FILE = join(import.meta.dirname, '../../web/strings/en.json');
const texts = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, string>;

/** What the page says of each error that it can meet; all others are told as a mistake of the service. */
const EXPECTED: Record<string, string> = {
  'reference-invalid': 'invalid',
  'platform-invalid': 'platform',
  'parameter-unknown': 'invalid',
  'parameter-invalid': 'invalid',
  'image-not-allowed': 'forbidden',
  'address-refused': 'forbidden',
  'signature-required': 'forbidden',
  'signature-invalid': 'forbidden',
  'image-too-large': 'large',
  'image-not-found': 'missing',
  'platform-not-found': 'platform',
  'not-an-image': 'artifact',
  'manifest-outdated': 'artifact',
  'too-many-layers': 'artifact',
  'layer-unavailable': 'artifact',
  'registry-rate-limited': 'limited',
  'too-many-requests': 'limited',
  'too-many-downloads': 'limited',
  'daily-bytes-used': 'limited',
  'service-full': 'limited',
  'engine-busy': 'limited',
  overloaded: 'limited',
  'internal-error': 'internal',
  'registry-failed': 'registry',
  'registry-unavailable': 'registry',
  'registry-timeout': 'registry',
  'content-mismatch': 'registry',
  'engine-unreachable': 'engine',
  'engine-failed': 'engine',
};

suite('the sentences for errors', () => {
  for (const { code, status } of listErrors()) {
    test(`${code} is told by a sentence that is there`, () => {
      const sentence = sentenceOf(code, status);
      assert.ok(texts[`! ${sentence}`], sentence);
      if (EXPECTED[code] !== undefined) assert.equal(sentence, EXPECTED[code]);
    });
  }

  test('every sentence is of some error, or of none that comes from here', () => {
    const used = new Set([...listErrors().map(({ code, status }) => sentenceOf(code, status)), 'offline']);
    const there = Object.keys(texts).filter((key) => key.startsWith('! '));
    assert.deepEqual(there.map((key) => key.slice(2)).sort(), [...used].sort());
  });
});
