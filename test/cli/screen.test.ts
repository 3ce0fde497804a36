import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createScreen, type ScreenStream } from '../../src/cli/screen.ts';

const SENTENCE = 'The folder /srv does not exist. Create it.\n';

function screenOn(stream: { isTTY?: boolean; columns?: number }, variables: Record<string, string> = {}) {
  const written: string[] = [];
  const target: ScreenStream = Object.assign(stream, { write: (text: string) => written.push(text) });
  return { screen: createScreen(target, variables), written, stream };
}

suite('a screen', () => {
  test('wraps sentences at words on a terminal, and indents the lines that follow', () => {
    const { screen, written } = screenOn({ isTTY: true, columns: 25 });
    screen.say(SENTENCE);
    screen.say(`Mistakes:\n  ${SENTENCE}`);
    assert.deepEqual(written, [
      'The folder /srv does not\nexist. Create it.\n',
      'Mistakes:\n  The folder /srv does\n  not exist. Create it.\n',
    ]);
  });

  test('writes sentences unchanged to a log, and no lines that change', () => {
    const { screen, written } = screenOn({});
    screen.show(['50 %']);
    screen.say(SENTENCE);
    screen.show([]);
    assert.deepEqual(written, [SENTENCE]);
    assert.equal(screen.columns(), 200);
  });

  test('shows no lines that change on a dumb terminal', () => {
    const { screen, written } = screenOn({ isTTY: true, columns: 80 }, { TERM: 'dumb' });
    screen.show(['50 %']);
    assert.equal(screen.isLive, false);
    assert.deepEqual(written, []);
  });

  test('writes lasting lines above the lines that change', () => {
    const { screen, written } = screenOn({ isTTY: true, columns: 80 });
    screen.show(['layer 50 %', 'file 25 %']);
    screen.say('Warning: The cache has no room.\n');
    screen.print('layer done');
    screen.show([]);
    screen.say('Done.\n');
    assert.deepEqual(written, [
      'layer 50 %\nfile 25 %',
      '\x1b[1A\r\x1b[JWarning: The cache has no room.\nlayer 50 %\nfile 25 %',
      '\x1b[1A\r\x1b[Jlayer done\nlayer 50 %\nfile 25 %',
      '\x1b[1A\r\x1b[J',
      'Done.\n',
    ]);
  });

  test('replaces characters that control a terminal or change the direction of text', () => {
    for (const stream of [{ isTTY: true, columns: 80 }, {}]) {
      const { screen, written } = screenOn(stream);
      screen.say('No image found in \x1b]0;a\x07\r\x9b2Jb\u202ec\u2066.\n\tSee\u200e --help.\n');
      screen.print('\x1b[2J');
      screen.show(['\x1b[2J']);
      assert.deepEqual(written.slice(0, 2), [
        'No image found in ?]0;a???2Jb?c?.\n\tSee\u200e --help.\n',
        '?[2J\n',
      ]);
      if (screen.isLive) assert.equal(written[2], '?[2J');
    }
  });

  test('erases the rows to which a narrower terminal has wrapped the lines', () => {
    const { screen, written, stream } = screenOn({ isTTY: true, columns: 80 });
    screen.show(['x'.repeat(70), 'y'.repeat(30)]);
    stream.columns = 40;
    screen.show(['x']);
    assert.equal(written[1], '\x1b[2A\r\x1b[Jx');
  });

  test('has 80 columns on a terminal of unknown width', () => {
    assert.equal(screenOn({ isTTY: true, columns: 0 }).screen.columns(), 79);
  });
});
