import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { summariseConfig } from '../../src/oci/config-summary.ts';
import { parseImageConfig } from '../../src/oci/manifest.ts';
import { heapBytes } from '../../src/util/memory-caches.ts';

const LARGE = 4 * 2 ** 20;

suite('the summary of a config', () => {
  test('is whole where it has a usual length', () => {
    const script = `set -e\n${'echo hello\n'.repeat(200)}`;
    const { entrypoint, command, truncated } = summariseConfig({
      ...{ Entrypoint: ['/bin/sh', '-c', script], Cmd: ['a', 'b'], ExposedPorts: { '80/tcp': {} } },
    });
    assert.deepEqual([entrypoint, command, truncated], [['/bin/sh', '-c', script], ['a', 'b'], false]);
  });

  const long = 'x'.repeat(LARGE);
  const many = Array.from({ length: 100_000 }, (_, at) => `${at}/tcp`);
  const bombs: [what: string, config: object][] = [
    ['command', { Cmd: [long] }],
    ['list of commands', { Cmd: many }],
    ['entrypoint', { Entrypoint: [long, long] }],
    ['user', { User: long }],
    ['folder', { WorkingDir: long }],
    ['list of ports', { ExposedPorts: Object.fromEntries(many.map((port) => [port, {}])) }],
    ['whole', { Cmd: many.map(() => 'ж'.repeat(5000)).slice(0, 100), User: long, WorkingDir: long }],
  ];
  for (const [what, config] of bombs) {
    test(`is bounded, and says so, where its ${what} is too long`, () => {
      const summary = summariseConfig(config);
      assert.equal(summary.truncated, true);
      assert.ok(heapBytes(summary) < 64 * 1024, `${heapBytes(summary)} bytes`);
    });
  }

  test('ends a text that is cut with an ellipsis', () => {
    const [text] = summariseConfig({ Cmd: [long] }).command ?? [];
    assert.equal(text, `${'x'.repeat(4096)}…`);
  });

  test('keeps nothing of the config in memory', () => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const bytes = Buffer.from(JSON.stringify({ rootfs: {}, config: { Cmd: [long] } }));
    collect();
    const before = process.memoryUsage().heapUsed;
    const kept = Array.from({ length: 20 }, () => parseImageConfig(bytes).summary);
    collect();
    const grown = process.memoryUsage().heapUsed - before;
    assert.equal(kept.length, 20);
    assert.ok(grown < LARGE, `${grown} bytes are held for ${kept.length} summaries`);
  });
});
