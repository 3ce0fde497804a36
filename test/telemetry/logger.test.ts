import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createPlainLogger, isTextLog } from '../../src/telemetry/logger.ts';
import { runOrThrow } from '../support/process.ts';

const SOURCE = new URL('../../src/', import.meta.url).href;

/** Returns the log that a process writes to its stdout. */
async function logged(statement: string, forTerminal: boolean): Promise<string> {
  const script = `
    import { ServiceError } from '${SOURCE}errors.ts';
    import { createLogger, isTextLog } from '${SOURCE}telemetry/logger.ts';
    const log = await createLogger({ level: 'info', forTerminal: ${forTerminal} });
    ${statement}
  `;
  return (await runOrThrow(process.execPath, ['--input-type=module', '--eval', script])).stdout;
}

suite('the log', () => {
  test('is JSON lines for machines', async () => {
    const { level, msg, image } = JSON.parse(await logged("log.info({ image: 'busybox' }, 'hello')", false));
    assert.deepEqual({ level, msg, image }, { level: 30, msg: 'hello', image: 'busybox' });
  });

  test('is a line to read for people, without the fields that it says in words', async () => {
    const text = await logged("log.info({ image: 'busybox', status: 200 }, 'Downloading')", true);
    assert.match(text, /^\[\d\d:\d\d:\d\d\] .*INFO.*: .*Downloading/);
    assert.doesNotMatch(text, /busybox|200/);
  });

  test('names what someone else did wrong by its code and cause, without a stack', async () => {
    const thrown =
      "new ServiceError('registry-failed', { id: 'registry-slow', values: {} }, { cause: new Error('ENOTFOUND') })";
    const { err } = JSON.parse(await logged(`log.warn({ err: ${thrown} }, 'x')`, false));
    assert.deepEqual(err, {
      type: 'ServiceError',
      code: 'registry-failed',
      message: 'Its registry is too slow.',
      cause: 'ENOTFOUND',
    });
    const text = await logged(`log.warn({ kind: 'pull', err: ${thrown} }, 'x')`, true);
    assert.match(text, /: x\S*\n +\S*err\S*: "Its registry is too slow\. \(ENOTFOUND\)"\n$/);
  });

  const hostile =
    '\'\\x1b[31m\\x1b]0;title\\x07 \\x9b2J \\u202e \\r\\b back\\\\u001bslash \\u0000 "quoted"\'';

  for (const forTerminal of [true, false]) {
    test(`gives nothing to act on to ${forTerminal ? 'a terminal' : 'who shows its lines on one'}`, async () => {
      const thrown = `Object.assign(new Error(${hostile}), { data: ${hostile} })`;
      const text = await logged(
        `log.warn({ range: ${hostile}, err: ${thrown}, ${hostile}: 1 }, ${hostile})`,
        forTerminal,
      );
      assert.doesNotMatch(text, /[^\n\x20-\x7e]/);
      assert.match(text, /quoted/);
      if (forTerminal) return;
      const { range, msg } = JSON.parse(text) as { range: string; msg: string };
      assert.equal(range, msg);
      assert.ok(
        msg.startsWith('\x1b[31m\x1b]0;title\x07 \x9b2J \u202e \r\b back\\u001bslash \0'),
        'what was there is there',
      );
    });
  }

  for (const thrown of [
    "new Error('bug')",
    "new ServiceError('internal-error', { id: 'registry-slow', values: {} })",
  ]) {
    test(`keeps the stack of ${thrown}`, async () => {
      const { err } = JSON.parse(await logged(`log.error({ err: ${thrown} }, 'x')`, false));
      assert.match(err.stack, /\n +at /);
    });
  }
});

suite('the warnings of a command', () => {
  test('are sentences without time or stack, each written once, even for several blobs', () => {
    const lines: string[] = [];
    const logger = createPlainLogger((line) => lines.push(line));
    const err = new Error('The cache has no room');
    for (const digest of ['sha256:aa', 'sha256:bb'])
      logger.warn({ digest, err }, `${err.message}: ${digest} passes through uncached`);
    logger.warn('A name with \x1b[31m and \u202e.');
    logger.info('Connected');
    assert.deepEqual(lines, [
      'Warning: The cache has no room: sha256:aa passes through uncached.\n',
      'Warning: A name with ?[31m and ?.\n',
    ]);
  });
});

suite('the format of the log', () => {
  for (const [format, isTTY, journal, expected] of [
    ['auto', true, undefined, true],
    ['auto', false, '8:123', true],
    ['auto', false, undefined, false],
    ['json', true, '8:123', false],
    ['text', false, undefined, true],
  ] as const)
    test(`${format} is ${expected ? 'text' : 'JSON'} with terminal ${isTTY} and journal ${journal}`, () => {
      const env = { JOURNAL_STREAM: journal };
      assert.equal(isTextLog(format, { stdout: { isTTY }, env }), expected);
    });
});
