import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { loadConfig } from '../../src/config/loader.ts';
import { reloadConfig, settledSettings } from '../../src/config/reload.ts';

const load = (...argv: string[]) => loadConfig({ argv, environment: {}, home: '/nowhere', isRoot: false });

suite('settings that are read again', () => {
  test('change if they can, and stay and are named if they need a restart', () => {
    const running = load('--allow', 'docker.io/**', '--port', '1');
    const fresh = load('--allow', 'ghcr.io/**', '--log-level', 'debug', '--port', '2', '--cache-size', '1GB');
    const { config, needRestart } = reloadConfig(running, fresh);
    assert.deepEqual(config, { ...running, allow: fresh.allow, logLevel: 'debug' });
    assert.deepEqual(needRestart, ['port', 'cache_size']);
  });

  test('a worker that starts later takes the new values, even of settings that need a restart', () => {
    const running = load(
      '--port',
      '1',
      '--rate-limit',
      '5/hour',
      '--log-level',
      'debug',
      '--allow',
      'a.b/**',
    );
    const settled = structuredClone(settledSettings(running));
    const joined = { ...load('--port', '2', '--log-level', 'warn', '--max-downloads', '3'), ...settled };
    assert.deepEqual([joined.port, joined.rateLimit, joined.maxDownloads], [1, running.rateLimit, 1000]);
    assert.deepEqual([joined.logLevel, joined.allow], ['warn', undefined]);
    assert.ok(joined.searchUrl instanceof URL);
  });

  test('settings that are the same change nothing', () => {
    const running = load('--allow', 'docker.io/**');
    const { config, needRestart } = reloadConfig(running, load('--allow', 'docker.io/**'));
    assert.deepEqual(config, running);
    assert.deepEqual(needRestart, []);
  });
});
