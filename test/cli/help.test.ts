import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { helpText } from '../../src/cli/help.ts';
import { environmentName, fileKey, flagName, SCHEMA, type Setting } from '../../src/config/schema.ts';

suite('--help', () => {
  const help = helpText();
  const paragraphs = help.split(/^(?= {2}--)/m);

  for (const [name, { default: standard, doc, type }] of Object.entries<Setting<unknown>>(SCHEMA)) {
    test(`${name}: lists flag, placeholder, variable, key and description together`, () => {
      const paragraph =
        paragraphs.find((text) => text.startsWith(`  --${flagName(name)} ${type.placeholder}\n`)) ?? '';
      assert.ok(paragraph.includes(doc), help);
      assert.ok(paragraph.includes(`${environmentName(name)}, or ${fileKey(name)} in the file`), paragraph);
      if (standard) assert.ok(paragraph.includes(`Default: ${standard}.`), paragraph);
    });
  }

  for (const name of ['cacheDir', 'stateDir'] as const) {
    test(`${name}: the default depends on the machine and is listed`, () => {
      const paragraph = paragraphs.find((text) => text.startsWith(`  --${flagName(name)} `)) ?? '';
      assert.match(paragraph, /Default: /);
    });
  }

  test('derives the names of flags, variables and keys from one name', () => {
    assert.equal(flagName('maxImageSize'), 'max-image-size');
    assert.equal(environmentName('maxImageSize'), 'DOCKERPROXY_MAX_IMAGE_SIZE');
    assert.equal(fileKey('maxImageSize'), 'max_image_size');
  });

  test('lists the file, its default paths and the precedence of sources', () => {
    assert.match(help, /--config FILE/);
    assert.match(help, /DOCKERPROXY_CONFIG/);
    assert.match(help, /\/etc\/dockerproxy\/dockerproxy\.toml/);
    assert.match(help, /~\/\.config\/dockerproxy\/dockerproxy\.toml/);
    assert.match(help, /Flags override environment variables, which override the file\./);
    assert.match(help, /--help, --version/);
    assert.ok(help.endsWith('\n'));
  });
});
