import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { COMMAND_NAMES, COMMANDS } from '../../src/cli/commands.ts';
import { helpText, unknownCommand } from '../../src/cli/help.ts';
import { SAVE_OPTIONS } from '../../src/cli/save-options.ts';
import { UsageError } from '../../src/config/loader.ts';
import { environmentName, fileKey, flagName, SCHEMA } from '../../src/config/schema.ts';
import type { Setting } from '../../src/config/setting.ts';
import { PARAMETER_NAMES } from '../../src/download/parameters.ts';

const COLUMNS = 80;
/** Lines of a terminal window as desktops open it, without the prompt. */
const SCREEN = 40;
const settings = Object.entries<Setting<unknown>>(SCHEMA);
const flat = (text: string): string => text.replace(/\s+/g, ' ');

suite('help', () => {
  for (const topic of [undefined, ...COMMAND_NAMES]) {
    test(`describes ${topic ?? 'the program'} on one screen`, () => {
      const lines = helpText(topic, COLUMNS).split('\n');
      assert.ok(lines.length <= SCREEN, `${lines.length} lines`);
    });
  }

  for (const columns of [50, 60, COLUMNS]) {
    test(`is wrapped at ${columns} columns`, () => {
      for (const topic of [undefined, 'settings', ...COMMAND_NAMES]) {
        const wide = helpText(topic, columns)
          .split('\n')
          .filter((line) => line.length > columns);
        // Terms, usage lines, and examples cannot wrap.
        const running = wide.filter((line) => !/^ *(?:-|\S+$|dockerproxy |Usage:)/.test(line));
        assert.deepEqual(columns === COLUMNS ? wide.filter((line) => !/^ +\S+$/.test(line)) : running, []);
      }
    });
  }

  test('lists usage, flags, and examples of each command', () => {
    for (const name of COMMAND_NAMES) {
      const help = helpText(name, COLUMNS);
      assert.match(help, new RegExp(`^Usage: dockerproxy ${name}`));
      for (const [flag, { short, value }] of Object.entries(COMMANDS[name].options)) {
        const written = `${short ? `-${short}, ` : ''}--${flag}${value ? ` ${value}` : ''}`;
        assert.ok(help.includes(`\n  ${written}`), written);
      }
      for (const example of COMMANDS[name].examples) assert.ok(help.includes(`  dockerproxy ${example}\n`));
    }
  });

  test('lists a flag of save for each parameter of a download', () => {
    const onlyInUrls = ['myimage', 'stream', 'redirect'];
    for (const name of PARAMETER_NAMES) assert.equal(name in SAVE_OPTIONS, !onlyInUrls.includes(name), name);
  });

  test('lists all commands and the precedence of settings', () => {
    const help = helpText(undefined, COLUMNS);
    for (const name of COMMAND_NAMES) assert.match(help, new RegExp(`^ {2}${name} +\\S`, 'm'));
    assert.match(flat(help), /Flags override environment variables, which override the file\./);
    assert.match(help, /-h, --help .*\n {2}--version /);
    assert.ok(help.endsWith('\n'));
  });

  test('lists flag, placeholder, variable, key, and description of each setting', () => {
    const paragraphs = helpText('settings', COLUMNS).split(/^(?= {2}--)/m);
    for (const [name, { default: standard, doc, type }] of settings) {
      const paragraph = paragraphs.find((text) =>
        text.startsWith(`  --${flagName(name)} ${type.placeholder}\n`),
      );
      const text = flat(paragraph ?? '');
      const [before = ''] = flat(doc).split(/\b[A-Z]+(?:_[A-Z]+)*\b/);
      assert.ok(text.includes(before), `${name}: ${text}`);
      assert.ok(text.includes(`${environmentName(name)}, or ${fileKey(name)} in the file`), text);
      if (standard) assert.ok(text.includes(`Default: ${standard}.`), text);
    }
  });

  test('names settings by their flags', () => {
    assert.match(flat(helpText('serve', COLUMNS)), /public registries and --insecure-registries\./);
    assert.match(flat(helpText('host', COLUMNS)), /with --tls acme/);
    const names = settings.map(([name]) => fileKey(name).toUpperCase()).filter((name) => /_/.test(name));
    const help = helpText('settings', 10_000);
    for (const name of names) assert.doesNotMatch(help, new RegExp(`(?<!DOCKERPROXY_)\\b${name}\\b`));
  });

  test('lists the settings file and its default paths', () => {
    const help = flat(helpText('settings', COLUMNS));
    assert.match(help, /--config FILE .* DOCKERPROXY_CONFIG/);
    assert.match(help, /\/etc\/dockerproxy\/dockerproxy\.toml .*~\/\.config\/dockerproxy\/dockerproxy\.toml/);
  });

  for (const topic of ['cache-dir', '--cache-dir', 'cache_dir', 'cacheDir', 'DOCKERPROXY_CACHE_DIR'])
    test(`finds the setting ${topic}`, () => {
      const help = helpText(topic, COLUMNS);
      assert.match(help, /^ {2}--cache-dir TEXT\n/);
      assert.match(flat(help), /Default: \/var\/cache\/dockerproxy/);
    });

  test('suggests a topic for an unknown one', () => {
    const message = (topic: string): RegExp =>
      new RegExp(`neither a command nor a setting\\. Did you mean ${topic}`);
    assert.throws(() => helpText('cach-size', COLUMNS), message('cache-size\\?'));
    assert.throws(() => helpText('sav', COLUMNS), message('save\\?'));
    assert.throws(
      () => helpText('xyzzy', COLUMNS),
      (error) => error instanceof UsageError && !/mean/.test(error.message),
    );
  });

  test('derives the names of flags, variables, and keys from one name', () => {
    assert.equal(flagName('maxImageSize'), 'max-image-size');
    assert.equal(environmentName('maxImageSize'), 'DOCKERPROXY_MAX_IMAGE_SIZE');
    assert.equal(fileKey('maxImageSize'), 'max_image_size');
  });
});

suite('an unknown command', () => {
  for (const [word, meant] of [
    ['sav', 'save'],
    ['serv', 'serve'],
    ['chekc-config', 'check-config'],
    ['health', 'healthcheck'],
  ] as const)
    test(`${word} suggests ${meant}`, () => {
      assert.equal(unknownCommand(word).message, `"${word}" is not a command. Did you mean ${meant}?`);
    });

  test('suggests nothing without a similar one, and masks credentials', () => {
    assert.equal(unknownCommand('frobnicate').message, '"frobnicate" is not a command.');
    assert.doesNotMatch(unknownCommand('redis://user:secret@host').message, /secret/);
  });
});
