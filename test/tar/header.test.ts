import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { numberAt } from '../../src/tar/header.ts';
import { MalformedTar } from '../../src/tar/malformed-tar.ts';

suite('numberAt', () => {
  const read = (text: string): number => numberAt(Buffer.from(`7${text.padEnd(8, '\0')}7`, 'latin1'), 1, 8);

  for (const [text, value] of [
    ['0000644\0', 0o644],
    ['   644 \0', 0o644],
    ['644     ', 0o644],
    ['77777777', 0o77777777],
    ['7\0what', 7],
    ['\x00644', 0],
    ['        ', 0],
    ['', 0],
  ] as const)
    test(`reads ${JSON.stringify(text)} as ${value}`, () => {
      assert.equal(read(text), value);
    });

  for (const text of ['64 4', '8', '-1', '0x1', '6a', ' \t6'])
    test(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => read(text), MalformedTar);
    });
});
