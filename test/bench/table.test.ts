import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measured } from '../../bench/samples.ts';
import { formatTable, formatTargets } from '../../bench/table.ts';

test('columns are aligned, a missing figure is a dash, an absent line has its reason', () => {
  const text = formatTable([
    { ...measured('dockerproxy-cold', { firstByteMs: 12.4, cpuSeconds: 3, diskBytes: 0 }), note: 'one GET' },
    measured('blobs', { seconds: 20, peakBytes: 5e6 }),
    { id: 'docker', absent: 'dockerd needs root' },
  ]);
  assert.equal(
    text,
    `\
                          first byte ms  total s  MB/s  CPU s/GB  client CPU %  peak MB  above idle MB  disk MB  runs
DockerProxy, cold                    12     1.00  1000      3.00             -        -              -        0     1
the blobs alone, by curl              -    20.00    50         -             -        5              -        -     1

docker pull + docker save: absent, dockerd needs root

DockerProxy, cold: one GET`,
  );
});

test('each target says whether it was reached', () => {
  const text = formatTargets([
    { name: 'fast', value: '3×', wanted: '≥ 2×', reached: true },
    { name: 'small', value: '400 KB', wanted: '≤ 300 KB', reached: false },
    { name: 'absent', value: '-', wanted: '≥ 1×', reached: undefined },
  ]);
  assert.equal(
    text,
    `\
        measured    target
fast          3×      ≥ 2×       reached
small     400 KB  ≤ 300 KB   NOT REACHED
absent         -      ≥ 1×  not measured`,
  );
});
