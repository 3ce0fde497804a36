import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { type Lists, readLists } from '../../src/config/lists.ts';
import { ConfigError, loadConfig } from '../../src/config/loader.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

function lists(argv: string[]): Lists {
  return readLists(loadConfig({ argv, environment: {}, home: '/nowhere', isRoot: false }));
}

const globs = ({ allow, deny }: Lists): unknown => [
  allow?.map(({ glob }) => glob),
  deny.map(({ glob }) => glob),
];
const ranges = ({ allowClients, denyClients }: Lists): unknown => [
  allowClients?.map(({ cidr }) => cidr),
  denyClients.map(({ cidr }) => cidr),
];

async function listFile(text: string) {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'list');
  await writeFile(path, text);
  return { path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

suite('lists in files', () => {
  test('without any, the default of the policy and everyone', () => {
    assert.deepEqual(globs(lists([])), [undefined, []]);
    assert.deepEqual(ranges(lists([])), [undefined, []]);
    assert.deepEqual(ranges(lists(['--allow-clients='])), [undefined, []]);
  });

  test('have one entry a line, and comments', async () => {
    await using file = await listFile('# ours\n\nghcr.io/org/**  # all of it\r\n  busybox/x\n');
    assert.deepEqual(globs(lists(['--allow-file', file.path])), [
      ['ghcr.io/org/**', 'docker.io/busybox/x'],
      [],
    ]);
    assert.deepEqual(globs(lists(['--deny-file', file.path])), [
      undefined,
      ['ghcr.io/org/**', 'docker.io/busybox/x'],
    ]);
  });

  test('add to what the settings say', async () => {
    await using images = await listFile('quay.io/**\n');
    await using clients = await listFile('2001:db8::/32\n');
    assert.deepEqual(
      globs(lists(['--allow=ghcr.io/**', '--allow-file', images.path, '--deny-file', images.path])),
      [['ghcr.io/**', 'quay.io/**'], ['quay.io/**']],
    );
    const argv = ['--allow-clients=192.0.2.1', '--allow-clients-file', clients.path];
    assert.deepEqual(ranges(lists(argv)), [['192.0.2.1/32', '2001:db8::/32'], []]);
    assert.deepEqual(ranges(lists(['--deny-clients-file', clients.path])), [undefined, ['2001:db8::/32']]);
  });

  test('that are empty allow no image and no client', async () => {
    await using file = await listFile('# none yet\n');
    const argv = ['--allow-file', file.path, '--allow-clients-file', file.path];
    assert.deepEqual(globs(lists(argv)), [[], []]);
    assert.deepEqual(ranges(lists(argv)), [[], []]);
  });

  test('tell every mistake of every file, with its line', async () => {
    await using file = await listFile('ghcr.io/**\nbusybox\n192.0.2.0/24\n\x1b[31m\n');
    const argv = ['--deny-file', file.path, '--deny-clients-file', file.path, '--allow-file', '/no/list'];
    assert.throws(
      () => lists(argv),
      (error) => {
        assert.ok(error instanceof ConfigError);
        const mistakes = error.mistakes.join('\n');
        assert.match(mistakes, /list: line 2: "busybox" must be a glob/);
        assert.match(mistakes, /list: line 1: "ghcr\.io\/\*\*" must be an address or a range/);
        assert.match(mistakes, /^The file \/no\/list does not exist\.$/m);
        assert.match(mistakes, /^[\x20-\x7e\n]*$/);
        return true;
      },
    );
  });
});
