import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { parse } from 'smol-toml';
import { describeConfig } from '../../src/cli/check-config.ts';
import { loadConfig } from '../../src/config/loader.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

suite('check-config', () => {
  const nowhere = { environment: {}, home: '/nowhere', isRoot: false };

  test('each setting stands with the place that it comes from', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'settings.toml');
    await writeFile(file, 'max_image_size = "5GB"\nallow = ["docker.io/**"]\nport = 1\n');
    const environment = { DOCKERPROXY_DENY: 'ghcr.io/**', DOCKERPROXY_PORT: '2' };
    const text = describeConfig({ ...nowhere, argv: ['--config', file, '--port', '3'], environment });
    const lines = text.split('\n');
    for (const line of [
      'port = "3"  # --port',
      'deny = "ghcr.io/**"  # DOCKERPROXY_DENY',
      `max_image_size = "5GB"  # ${file}: max_image_size`,
      `allow = [ "docker.io/**" ]  # ${file}: allow`,
      'source = "registry"  # default',
      '# operator_name is not set',
    ]) {
      assert.ok(lines.includes(line), `${line} is not in\n${text}`);
    }
  });

  test('the output is a file with the same settings', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'settings.toml');
    const argv = ['--allow', 'docker.io/**,ghcr.io/a/*', '--stale-if-error', '1h'];
    await writeFile(file, describeConfig({ ...nowhere, argv }));
    assert.deepEqual(loadConfig({ ...nowhere, argv: ['--config', file] }), loadConfig({ ...nowhere, argv }));
  });

  test('the credentials of a URL are masked', () => {
    const argv = [
      ...['--search-url', 'https://me:s3cret@search.example/v2'],
      ...['--redis-url', 'redis://me:s3c#ret?@redis.lan'],
      ...['--operator-contact', 'https://social.example/@me'],
    ];
    const text = describeConfig({ ...nowhere, argv });
    const { search_url, redis_url, operator_contact } = parse(text);
    assert.equal(search_url, 'https://***@search.example/v2');
    assert.equal(redis_url, 'redis://***@redis.lan');
    assert.equal(operator_contact, 'https://social.example/@me');
  });
});
