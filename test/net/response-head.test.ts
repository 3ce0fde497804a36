import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { createChunkMender } from '../../src/net/chunk-lines.ts';
import { mendHead } from '../../src/net/response-head.ts';

const headOf = (...lines: string[]): string => `${lines.join('\r\n')}\r\nConnection: close\r\n\r\n`;

suite('the head of an answer', () => {
  const table: [title: string, given: string, mended: string][] = [
    ['keeps what is right', 'HTTP/1.1 200 OK\r\nX-A: b', headOf('HTTP/1.1 200 OK', 'X-A: b')],
    [
      'has one length',
      'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length:7',
      headOf('HTTP/1.1 200 OK', 'Content-Length: 7'),
    ],
    [
      'keeps lengths that contradict each other',
      'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 8',
      headOf('HTTP/1.1 200 OK', 'Content-Length: 7', 'Content-Length: 8'),
    ],
    [
      'has no length beside chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked',
      headOf('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked'),
    ],
    ['is unfolded', 'HTTP/1.1 200 OK\nX-A: b\n c', headOf('HTTP/1.1 200 OK', 'X-A: b c')],
    ['of HTTP/1.0 stays so', 'HTTP/1.0 404 Not Found', headOf('HTTP/1.0 404 Not Found')],
    ['of HTTP/1.7 becomes one of HTTP/1.1', 'HTTP/1.7 200', headOf('HTTP/1.1 200')],
    [
      'ends the connection',
      'HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5',
      headOf('HTTP/1.1 200 OK'),
    ],
    ['is dropped where it is interim', 'HTTP/1.1 100 Continue', ''],
    ['is kept where it switches protocols', 'HTTP/1.1 101 Switching', headOf('HTTP/1.1 101 Switching')],
    ['is kept where it is nonsense', 'hello', headOf('hello')],
  ];
  for (const [title, given, mended] of table) test(title, () => assert.equal(mendHead(given), mended));
});

suite('chunk-size lines', () => {
  const chunk = fc.record({
    data: fc.uint8Array({ minLength: 1, maxLength: 300 }),
    before: fc.constantFrom('', ' ', '\t', '000'),
    after: fc.constantFrom('', ' ', '  ', ';', ' ;a=b', ';a="\t"'),
    end: fc.constantFrom('\r\n', '\n'),
  });

  test('are rewritten, however the bytes are split', () => {
    fc.assert(
      fc.property(
        fc.array(chunk),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
        (chunks, cuts) => {
          const sizeOf = (data: Uint8Array) => data.length.toString(16);
          const given = Buffer.concat([
            ...chunks.flatMap(({ data, before, after, end }) => [
              Buffer.from(`${before}${sizeOf(data)}${after}${end}`),
              data,
              Buffer.from(end),
            ]),
            Buffer.from('0 \r\nX: y\r\n\r\n'),
          ]);
          const mend = createChunkMender();
          const parts: Buffer[] = [];
          for (let [at, cut] = [0, 0]; at < given.length; cut += 1) {
            const size = cuts[cut % cuts.length] ?? 1;
            parts.push(mend(given.subarray(at, at + size)));
            at += size;
          }
          const plain = chunks.flatMap(({ data, before }) => [
            Buffer.from(`${before.trim()}${sizeOf(data)}\r\n`),
            data,
            Buffer.from('\r\n'),
          ]);
          assert.deepEqual(Buffer.concat(parts), Buffer.concat([...plain, Buffer.from('0\r\nX: y\r\n\r\n')]));
        },
      ),
    );
  });

  for (const nonsense of ['nonsense\r\n7\r\n', `${'7'.repeat(3000)}`, '-1\r\n']) {
    test(`that cannot be read stay: ${JSON.stringify(nonsense.slice(0, 20))}`, () =>
      assert.equal(createChunkMender()(Buffer.from(nonsense)).toString(), nonsense));
  }
});
