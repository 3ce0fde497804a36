import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { loadConfig } from '../../src/config/loader.ts';
import { reloadConfig } from '../../src/config/reload.ts';

const load = (...argv: string[]) => loadConfig({ argv, environment: {}, home: '/nowhere', isRoot: false });

suite('settings that are read anew', () => {
  test('what may change does, and what needs a restart stays and is named', () => {
    const running = load('--allow', 'docker.io/**', '--port', '1');
    const fresh = load('--allow', 'ghcr.io/**', '--log-level', 'debug', '--port', '2', '--cache-size', '1GB');
    const { config, needRestart } = reloadConfig(running, fresh);
    assert.deepEqual(config, { ...running, allow: fresh.allow, logLevel: 'debug' });
    assert.deepEqual(needRestart, ['port', 'cache_size']);
  });

  test('settings that are the same change nothing', () => {
    const running = load('--allow', 'docker.io/**');
    const { config, needRestart } = reloadConfig(running, load('--allow', 'docker.io/**'));
    assert.deepEqual(config, running);
    assert.deepEqual(needRestart, []);
  });
});
