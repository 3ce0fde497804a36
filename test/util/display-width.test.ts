import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { cutToWidth, displayWidth } from '../../src/util/display-width.ts';

suite('the width of a line in a terminal', () => {
  for (const [line, width] of [
    ['busybox.tar ━━──', 16],
    ['日本語.tar', 10],
    ['이미지', 6],
    ['صورة.tar', 8],
    ['e\u0301\u200e', 1],
    ['🐳', 2],
  ] as const)
    test(`${line}: ${width} columns`, () => assert.equal(displayWidth(line), width));

  test('a cut line ends with a whole character', () => {
    assert.deepEqual(
      [0, 1, 2, 3, 4, 9].map((columns) => cutToWidth('日🐳a', columns)),
      ['', '', '日', '日', '日🐳', '日🐳a'],
    );
  });
});
