import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { pino } from 'pino';
import { RequestLogger } from '../../../src/http/protocol/request-logger.ts';

suite('the logger of a request', () => {
  test('writes the lines of one child, which its first line creates', () => {
    const lines: Record<string, unknown>[] = [];
    const parent = pino({ level: 'trace' }, { write: (line: string) => lines.push(JSON.parse(line)) });
    let children = 0;
    parent.onChild = () => {
      children += 1;
    };
    const log = new RequestLogger(parent, { reqId: 'req-1' }, {});
    assert.equal(children, 0);
    for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const)
      log[level]({ client: '192.0.2.7' }, level);
    log.silent('nothing');
    assert.equal(children, 1);
    assert.deepEqual(
      lines.map(({ msg, reqId, client }) => ({ msg, reqId, client })),
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal'].map((msg) => ({
        ...{ msg, reqId: 'req-1', client: '192.0.2.7' },
      })),
    );
    assert.equal(log.level, 'trace');
    log.child({ part: 'a' }).info('more');
    assert.equal(lines.at(-1)?.part, 'a');
  });
});
