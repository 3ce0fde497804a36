import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryOf, parseStat, processTree, usageOf } from '../../bench/proc.ts';

const isLinux = process.platform === 'linux';

test('a line of stat is read behind whatever name the process has', () => {
  const rest = 'S 17 42 42 0 -1 4194560 9 8 7 6 150 50 20 30 20 0 1 0 99';
  for (const name of ['node', 'a b', 'x) S 1 (y']) {
    assert.deepEqual(parseStat(`42 (${name}) ${rest}\n`), { pid: 42, parent: 17, cpuSeconds: 2.5 });
  }
});

test('a process that has ended has used nothing', { skip: !isLinux }, () => {
  // The kernel's largest pid is less. https://man7.org/linux/man-pages/man5/proc_sys_kernel.5.html
  const nobody = 2 ** 22 + 1;
  assert.equal(usageOf(nobody), undefined);
  assert.deepEqual(processTree(nobody), []);
  assert.equal(memoryOf(nobody, 'VmRSS'), 0);
});

test('our own process is seen', { skip: !isLinux }, () => {
  assert.equal(processTree(process.pid)[0]?.parent, process.ppid);
  assert.ok(memoryOf(process.pid, 'VmRSS') > 0);
  assert.ok(memoryOf(process.pid, 'VmHWM') > 0);
});
