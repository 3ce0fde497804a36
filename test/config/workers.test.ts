import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ConfigError, loadConfig } from '../../src/config/loader.ts';
import type { Config } from '../../src/config/schema.ts';
import { countWorkers, workerHeap } from '../../src/config/workers.ts';

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const FOR_OTHERS = ['--host', '::', '--tls', 'self-signed'];

function load(...argv: string[]): Config {
  return loadConfig({ argv, environment: {}, home: '/nowhere', isRoot: false });
}

function workersOf(...argv: string[]): Config['workers'] {
  return load(...argv).workers;
}

suite('how many processes serve', () => {
  test('one for local clients, an engine, or limits in memory; otherwise one for each core', () => {
    assert.equal(workersOf(), 1);
    assert.equal(workersOf(...FOR_OTHERS), 'auto');
    assert.equal(workersOf(...FOR_OTHERS, '--source', 'engine'), 1);
    assert.equal(workersOf(...FOR_OTHERS, '--limits-store', 'memory'), 1);
  });

  test('as many as are asked for, on any address', () => {
    assert.equal(workersOf('--workers', '3'), 3);
    assert.equal(workersOf('--workers', 'auto'), 'auto');
    assert.equal(workersOf('--workers', 'auto', '--source', 'engine'), 1);
    assert.equal(workersOf('--workers', '1', '--source', 'engine', '--limits-store', 'memory'), 1);
  });

  test('several contradict what only one process can do', () => {
    for (const [argv, sentence] of [
      [['--source', 'engine'], /^--workers 2 and --source engine: .*leave --workers out\.$/],
      [
        ['--limits-store', 'memory'],
        /^--workers 2 and --limits-store memory: .*take sqlite, or one worker\.$/,
      ],
    ] as const) {
      assert.throws(
        () => load('--workers', '2', ...argv),
        (error: unknown) => error instanceof ConfigError && sentence.test(error.message),
      );
    }
    assert.throws(() => load('--workers', '0'), /must be a whole number from 1 on/);
  });

  test('auto is one for each core, as far as there is memory for them', () => {
    const count = (cores: number, memory: number) => countWorkers({ workers: 'auto' }, { cores, memory });
    assert.equal(count(4, 8 * GIB), 4);
    assert.equal(count(64, 2 * GIB), 8);
    assert.equal(count(4, GIB / 8), 1);
    assert.equal(countWorkers({ workers: 5 }, { cores: 1, memory: GIB }), 5);
  });

  test('their heaps share a third of the memory, each between 96 MiB and what V8 chooses', () => {
    const mib = (memory: number, workers: number) => workerHeap(memory * MIB, workers, 4096 * MIB) / MIB;
    assert.equal(mib(512, 2), 96);
    assert.equal(mib(1536, 2), 256);
    assert.equal(mib(65_536, 2), 4096);
  });
});
