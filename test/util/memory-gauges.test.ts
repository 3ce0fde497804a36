import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { openMemoryGauges } from '../../src/util/memory-gauges.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const V1_MOUNT = '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory';
const V2_MOUNT = '41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw';
const V2_STAT = 'anon 600\nfile 300\nshmem 50\ninactive_file 200\nactive_file 50\nslab_reclaimable 30\n';
const SERVICE = '/sys/fs/cgroup/system.slice/dockerproxy.service';

suite('memory gauges', () => {
  test('read the heap and the resident memory of the process', () => {
    const gauges = openMemoryGauges(2);
    for (const name of ['heapUsedBytes', 'residentBytes']) {
      const { used = 0, limit = 0 } = gauges.find((gauge) => gauge.name === name)?.read() ?? {};
      assert.ok(used > 1_000_000 && used < limit, `${name}: ${used} of ${limit}`);
    }
    for (const gauge of gauges) gauge.close();
  });

  test('read a version 2 group without page cache and reclaimable slabs', async () => {
    await using bed = await groupBed({
      'proc/self/cgroup': '0::/system.slice/dockerproxy.service\n',
      'proc/self/mountinfo': `${V2_MOUNT}\n`,
      [`${SERVICE}/memory.max`]: '2000\n',
      [`${SERVICE}/memory.high`]: 'max\n',
      [`${SERVICE}/memory.current`]: '1000\n',
      [`${SERVICE}/memory.stat`]: V2_STAT,
    });
    assert.deepEqual(bed.read(), { used: 720, limit: 2000 });
    bed.write(`${SERVICE}/memory.current`, '1500\n');
    bed.write(`${SERVICE}/memory.high`, '1800\n');
    assert.deepEqual(bed.read(), { used: 1220, limit: 1800 });
  });

  test('read the group or ancestor with the lowest limit', async () => {
    await using bed = await groupBed({
      'proc/self/cgroup': '0::/system.slice/dockerproxy.service\n',
      'proc/self/mountinfo': `${V2_MOUNT}\n`,
      [`${SERVICE}/memory.max`]: 'max\n',
      [`${SERVICE}/memory.current`]: '10\n',
      '/sys/fs/cgroup/system.slice/memory.max': '900\n',
      '/sys/fs/cgroup/system.slice/memory.current': '70\n',
    });
    assert.deepEqual(bed.read(), { used: 70, limit: 900 });
    bed.write(`${SERVICE}/memory.max`, '500\n');
    assert.deepEqual(bed.read(), { used: 10, limit: 500 });
  });

  test('read the memory controller of version 1 if version 2 is also mounted', async () => {
    const group = '/sys/fs/cgroup/memory/docker/abc';
    await using bed = await groupBed({
      'proc/self/cgroup': '9:name=systemd:/\n4:memory:/docker/abc\n0::/\n',
      'proc/self/mountinfo': `${V1_MOUNT}\n${V2_MOUNT.replace('cgroup rw', 'cgroup/unified rw')}\n`,
      [`${group}/memory.limit_in_bytes`]: '1000\n',
      [`${group}/memory.usage_in_bytes`]: '700\n',
      [`${group}/memory.stat`]: 'active_file 1\ntotal_inactive_file 100\ntotal_active_file 200\n',
    });
    assert.deepEqual(bed.read(), { used: 400, limit: 1000 });
  });

  for (const [what, cgroup, mounted] of [
    ['that a container has mounted as the root', '/docker/abc', '/docker/abc'],
    ['of a namespace', '/', '/'],
    ['outside of its namespace', '/../../other', '/'],
    ['that is not below the mount', '/other', '/docker/abc'],
  ] as const) {
    test(`read a group ${what}`, async () => {
      await using bed = await groupBed({
        'proc/self/cgroup': `0::${cgroup}\n`,
        'proc/self/mountinfo': `41 31 0:38 ${mounted} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n`,
        '/sys/fs/cgroup/memory.max': '500\n',
        '/sys/fs/cgroup/memory.current': '10\n',
      });
      assert.deepEqual(bed.read(), { used: 10, limit: 500 });
    });
  }

  test('return nothing without a limit, without a group, or after its removal', async () => {
    const files = {
      'proc/self/cgroup': '4:memory:/\n',
      'proc/self/mountinfo': `${V1_MOUNT}\n`,
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      '/sys/fs/cgroup/memory/memory.usage_in_bytes': '700\n',
    };
    await using unlimited = await groupBed(files);
    assert.equal(unlimited.read(), undefined);
    await using none = await groupBed({});
    assert.equal(none.read(), undefined);
    await using gone = await groupBed({
      ...files,
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '900',
      '/sys/fs/cgroup/memory/memory.usage_in_bytes': '',
    });
    assert.equal(gone.read(), undefined);
  });
});

/** Creates a folder that replaces the root of the file system. */
async function groupBed(files: Readonly<Record<string, string>>) {
  const folder = await temporaryFolder();
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(folder.path, path)), { recursive: true });
    writeFileSync(join(folder.path, path), text);
  };
  for (const [path, text] of Object.entries(files)) write(path, text);
  const gauges = openMemoryGauges(1, folder.path);
  return {
    write,
    read: () => gauges.find(({ name }) => name === 'cgroupBytes')?.read(),
    async [Symbol.asyncDispose]() {
      for (const gauge of gauges) gauge.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}
