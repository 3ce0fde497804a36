import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createStopSignals } from '../../src/commands/stop-signals.ts';

suite('stop signals', () => {
  const begin = () => {
    const calls: string[] = [];
    let now = 5_000;
    const hear = createStopSignals({
      stop: () => calls.push('stop'),
      force: (signal) => calls.push(`force ${signal}`),
      uptime: () => now,
    });
    return { calls, hear, pass: (milliseconds: number) => (now += milliseconds) };
  };

  test('count copies of a signal, as npm forwards them, as one stop', () => {
    const { calls, hear, pass } = begin();
    hear('SIGINT');
    hear('SIGINT');
    pass(1_000);
    hear('SIGTERM');
    assert.deepEqual(calls, ['stop']);
  });

  test('force the end at a later second signal', () => {
    const { calls, hear, pass } = begin();
    hear('SIGTERM');
    pass(1_001);
    hear('SIGINT');
    assert.deepEqual(calls, ['stop', 'force SIGINT']);
  });
});
