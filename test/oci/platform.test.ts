import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  formatPlatform,
  normalisePlatform,
  parsePlatform,
  type StatedPlatform,
  samePlatform,
  selectPlatform,
  selectPlatforms,
} from '../../src/oci/platform.ts';

suite('platforms', () => {
  for (const [given, expected] of [
    ['linux/amd64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['Linux/AMD64', 'linux/amd64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/v6', 'linux/arm/v6'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['windows/amd64', 'windows/amd64'],
    ['arm64', 'linux/arm64'],
    ['ARM64', 'linux/arm64'],
    ['aarch64', 'linux/arm64'],
    ['x86_64', 'linux/amd64'],
    ['arm', 'linux/arm/v7'],
    ['arm/v6', 'linux/arm/v6'],
    ['arm64/v8', 'linux/arm64'],
    ['riscv64', 'linux/riscv64'],
    ['s390x', 'linux/s390x'],
  ] as const) {
    test(`${given} is ${expected}`, () => assert.equal(formatPlatform(parsePlatform(given)), expected));
  }

  for (const given of [
    '',
    'linux',
    'windows',
    'arm64/v8/x',
    'arm64v8',
    'linux/',
    '/amd64',
    'linux/arm64/v8/x',
    'linux/am d64',
    '../../etc',
  ]) {
    test(`${JSON.stringify(given)} is refused`, () => {
      assert.throws(() => parsePlatform(given), { code: 'platform-invalid', status: 400 });
    });
  }

  const select = (wanted: string, ...offered: string[]): string | undefined =>
    selectPlatform(parsePlatform(wanted), offered, (text) => {
      const [os = '', architecture = '', variant] = text.split('/');
      return { os, architecture, variant };
    });

  test('arm64 and arm64/v8 are the same', () => {
    assert.equal(select('linux/arm64', 'linux/amd64', 'linux/arm64/v8'), 'linux/arm64/v8');
    assert.equal(select('linux/arm64/v8', 'linux/arm64'), 'linux/arm64');
    assert.ok(
      samePlatform(parsePlatform('linux/arm64'), { os: 'linux', architecture: 'arm64', variant: 'v8' }),
    );
  });

  test('the same variant wins over an older one, an older one over none', () => {
    assert.equal(select('linux/arm/v7', 'linux/arm/v5', 'linux/arm/v7'), 'linux/arm/v7');
    assert.equal(select('linux/arm/v7', 'linux/arm/v5', 'linux/arm/v6'), 'linux/arm/v6');
    assert.equal(select('linux/amd64/v3', 'linux/amd64', 'linux/amd64/v2'), 'linux/amd64/v2');
  });

  test('an absent field matches any request, after complete platforms', () => {
    const fitting = (wanted: string, ...offered: StatedPlatform[]): readonly StatedPlatform[] =>
      selectPlatforms(parsePlatform(wanted), offered, (stated) => stated);
    const [linux, arm64, none] = [{ os: 'linux' }, { architecture: 'arm64' }, {}];
    for (const wanted of ['linux/amd64', 'linux/arm/v6', 'linux/riscv64']) {
      assert.deepEqual(fitting(wanted, linux), [linux]);
      assert.deepEqual(fitting(wanted, none), [none]);
      assert.deepEqual(fitting(wanted, arm64), []);
    }
    assert.deepEqual(fitting('windows/arm64', linux, arm64), [arm64]);
    const exact = { os: 'linux', architecture: 'amd64' };
    assert.deepEqual(fitting('linux/amd64', none, exact), [exact]);
    assert.equal(formatPlatform({}), 'linux/amd64');
    assert.equal(formatPlatform(normalisePlatform({ architecture: 'aarch64' })), 'linux/arm64');
  });

  test('all platforms that fit equally are found, with one OS version', () => {
    const windows = (osVersion: string): StatedPlatform => ({
      os: 'windows',
      architecture: 'amd64',
      osVersion,
    });
    const offered = [windows('10.0.20348'), windows('10.0.17763'), windows('10.0.20348')];
    assert.deepEqual(
      selectPlatforms(parsePlatform('windows/amd64'), offered, (stated) => stated),
      [offered[0], offered[2]],
    );
  });

  test('never a newer variant and never another architecture', () => {
    assert.equal(select('linux/arm/v6', 'linux/arm/v7'), undefined);
    assert.equal(select('linux/amd64', 'linux/amd64/v3'), undefined);
    assert.equal(select('linux/arm64', 'linux/arm/v7', 'linux/amd64'), undefined);
    assert.equal(select('linux/amd64', 'windows/amd64'), undefined);
  });
});
