import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { FORMAT_NAMES } from '../../src/archive/format.ts';
import { COMMAND_NAMES } from '../../src/cli/commands.ts';
import { completionScript } from '../../src/cli/completion.ts';
import { flagName, SCHEMA } from '../../src/config/schema.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

/** Completes the last word by the function of the script, as readline calls it. */
const BASH = `source "$0"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
compopt() { echo "compopt $*"; }
_dockerproxy
printf '%s\\n' "\${COMPREPLY[@]}"`;
/** Types a line and a tab in an interactive zsh, and waits until the line is complete. */
const ZSH = `zmodload zsh/zpty
zpty shell "HOME=$PWD zsh -f -i"
zpty -w shell "unsetopt BEEP; PS1='> '; autoload -Uz compinit; compinit -u -D; source $1; print READY-\\$((1 + 1))"
zpty -r -m shell seen '*READY-2*'
zpty -w -n shell "$2"$'\\t'
zpty -r -m shell seen "*$3*"
zpty -d shell
print complete`;

let folder: TemporaryFolder;
before(async () => {
  folder = await temporaryFolder();
  for (const shell of ['bash', 'zsh', 'fish'])
    await writeFile(join(folder.path, `completion.${shell}`), completionScript(shell));
  await writeFile(join(folder.path, 'a file.tar'), '');
});
after(() => folder[Symbol.asyncDispose]());

const options = () => ({
  cwd: folder.path,
  env: { PATH: process.env.PATH, HOME: folder.path, TERM: 'xterm' },
});
const linesOf = (text: string): string[] => text.split('\n').filter(Boolean);

const settings = Object.keys(SCHEMA).map((name) => `--${flagName(name)}`);

suite('completion in bash', { skip: skipUnless('bash') }, () => {
  const complete = async (...words: string[]): Promise<string[]> =>
    linesOf((await runOrThrow('bash', ['-c', BASH, 'completion.bash', ...words], options())).stdout);

  test('lists all commands, the flags of one, and all settings', async () => {
    assert.deepEqual(await complete('dockerproxy', ''), [...COMMAND_NAMES, '--version']);
    const flags = await complete('dockerproxy', 'save', '--');
    for (const flag of ['--platform', '--checksum', '--help', ...settings])
      assert.ok(flags.includes(flag), flag);
    assert.ok(!(await complete('dockerproxy', 'serve', '--')).includes('--checksum'));
  });

  test('lists the values of a flag, also behind an equals sign', async () => {
    assert.deepEqual(await complete('dockerproxy', 'save', '--format', ''), FORMAT_NAMES);
    assert.deepEqual(await complete('dockerproxy', 'save', '--format', '=', 'do'), [
      'docker',
      'docker-classic',
    ]);
    assert.deepEqual(await complete('dockerproxy', '--source', 'e'), ['engine']);
    assert.deepEqual(await complete('dockerproxy', 'save', '--cache-size', ''), []);
  });

  test('leaves the names of files to bash, which quotes them', async () => {
    assert.deepEqual(await complete('dockerproxy', 'save', '-o', 'a'), ['compopt -o default']);
  });

  test('works without the builtins of bash 4, and with words that bash 3 does not split', async () => {
    const old = `enable -n compopt mapfile readarray\n${BASH.replace(/^compopt.*\n/m, '')}`;
    const completeOld = async (...words: string[]) =>
      linesOf((await runOrThrow('bash', ['-c', old, 'completion.bash', ...words], options())).stdout);
    assert.deepEqual(await completeOld('dockerproxy', 'sa'), ['save']);
    assert.deepEqual(await completeOld('dockerproxy', 'save', '--format=ro'), ['rootfs']);
    assert.deepEqual(await completeOld('dockerproxy', 'save', '-o', 'a'), []);
  });

  test('lists actions and topics', async () => {
    assert.deepEqual(await complete('dockerproxy', 'certificate', ''), ['status', 'renew', 'test']);
    assert.deepEqual(await complete('dockerproxy', 'help', 'set'), ['settings']);
    assert.deepEqual(await complete('dockerproxy', 'help', 'cache-s'), ['cache-size']);
  });
});

suite('completion in fish', { skip: skipUnless('fish') }, () => {
  const complete = async (line: string): Promise<string[]> => {
    const script = 'source completion.fish; complete --do-complete $argv[1]';
    const { stdout } = await runOrThrow('fish', ['--no-config', '-c', script, line], options());
    return linesOf(stdout).map((text) => text.split('\t', 1)[0] ?? '');
  };

  test('lists commands, flags, values, files, and actions', async () => {
    assert.deepEqual((await complete('dockerproxy ')).sort(), COMMAND_NAMES.toSorted());
    const flags = await complete('dockerproxy save --');
    for (const flag of ['--platform', '--checksum', '--help', ...settings])
      assert.ok(flags.includes(flag), flag);
    assert.ok(!(await complete('dockerproxy serve --')).includes('--checksum'));
    assert.deepEqual((await complete('dockerproxy save --format ')).sort(), FORMAT_NAMES.toSorted());
    assert.deepEqual(await complete('dockerproxy save -o a'), ['a file.tar']);
    assert.deepEqual((await complete('dockerproxy certificate ')).sort(), ['renew', 'status', 'test']);
  });
});

suite('completion in zsh', { skip: skipUnless('zsh') }, () => {
  for (const [line, completed] of [
    ['dockerproxy sav', 'dockerproxy save'],
    ['dockerproxy save --checks', '--checksum'],
    ['dockerproxy save --cache-s', '--cache-size'],
    ['dockerproxy save --format doc', '--format docker'],
    ['dockerproxy save --format=ro', '--format=rootfs'],
    ['dockerproxy save -o a', 'a\\\\ file.tar'],
    ['dockerproxy certificate re', 'renew'],
  ] as const)
    test(`completes ${line}`, async () => {
      const { stdout } = await runOrThrow(
        'zsh',
        ['-fc', ZSH, 'zsh', 'completion.zsh', line, completed],
        options(),
      );
      assert.match(stdout, /complete\n$/);
    });
});

suite('completion', () => {
  test('is refused for other shells', () => {
    assert.throws(() => completionScript('bsh'), /Unknown shell bsh\. Did you mean bash\? Shells: bash/);
    assert.throws(() => completionScript(undefined), /The shell is missing\. Shells: bash, zsh, fish\./);
  });
});
