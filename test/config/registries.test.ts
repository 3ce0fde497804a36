import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { describeConfig } from '../../src/cli/check-config.ts';
import { ConfigError, loadConfig } from '../../src/config/loader.ts';
import { mirrorAt } from '../../src/oci/registry-host.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const nowhere = { environment: {}, home: '/nowhere', isRoot: false };

async function fromFile(toml: string) {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'settings.toml');
  await writeFile(file, toml);
  const sources = { ...nowhere, argv: ['--config', file] };
  const described = describeConfig(sources);
  await writeFile(file, described);
  return { ...loadConfig(sources), described };
}

async function mistakeOf(toml: string): Promise<string> {
  const error = await fromFile(toml).catch((error: unknown) => error);
  assert.ok(error instanceof ConfigError, `${toml} is taken`);
  return error.message;
}

suite('tables of registries', () => {
  test('stand in the file, by registry, and check-config gives the same back', async () => {
    const { registries, described } = await fromFile(`
      port = 1
      [registries."docker.io"]
      mirrors = ["https://mirror.lan:5000", "http://10.0.0.5/hub"]
      ca = ["/etc/ca.pem"]
      [registries."GHCR.io"]
      mirrors = "https://one.lan"
    `);
    assert.deepEqual([...registries.keys()], ['docker.io', 'ghcr.io']);
    const hub = registries.get('docker.io');
    assert.deepEqual(hub?.mirrors.map(String), ['https://mirror.lan:5000/', 'http://10.0.0.5/hub']);
    assert.deepEqual(hub?.ca, ['/etc/ca.pem']);
    assert.match(described, /^registries = \{ "docker\.io" = \{ "mirrors" = \[/m);
  });

  test('are written as a list elsewhere', () => {
    const written = 'docker.io=https://a.lan,ghcr.io=http://b.lan:5000/x,docker.io=https://c.lan';
    const { registries } = loadConfig({ ...nowhere, argv: ['--registries', written] });
    assert.deepEqual(
      [...registries].map(([host, { mirrors }]) => [host, mirrors.map(String)]),
      [
        ['docker.io', ['https://a.lan/', 'https://c.lan/']],
        ['ghcr.io', ['http://b.lan:5000/x']],
      ],
    );
  });

  test('each mistake has its sentence', async () => {
    const table = '[registries."docker.io"]\n';
    for (const [toml, expected] of [
      [
        `${table}mirror = ["https://a.lan"]\nca = [1]`,
        /: registries: docker\.io: key, "mirror", is unknown; mirrors and ca are supported\.\n[^\n]*: registries: docker\.io: ca: entry 1, "1", must be/,
      ],
      [
        `${table}mirrors = ["https://m.lan", "a.lan"]`,
        /: registries: docker\.io: mirrors: entry 2, "a\.lan", must name mirrors by URLs/,
      ],
      [
        `${table}mirrors = ["https://me:secret@a.lan"]`,
        /without credentials, which belong into config\.json/,
      ],
      [`${table}mirrors = ["ftp://a.lan"]`, /must name mirrors by URLs/],
      [`${table}mirrors = [1]`, /must name mirrors by URLs/],
      [
        '[registries."not a host"]\nmirrors = []',
        /: registries: key, "not a host", must be the host and port of a registry/,
      ],
      ['registries = 1', /must have a table for each registry/],
      ['registries = ["a"]', /must have a table for each registry/],
      [
        'registries = "docker.io"',
        /: registries: entry 1, "docker\.io", must name a registry and its mirror, such as docker\.io=https:/,
      ],
      ['[registries]\n"docker.io" = "https://a.lan"', /must have a table for each registry/],
    ] as const) {
      assert.match(await mistakeOf(toml), expected, toml);
    }
  });
});

suite('the address of a mirror', () => {
  for (const [url, api, prefix] of [
    ['https://mirror.lan:5000', 'https://mirror.lan:5000/v2', ''],
    ['https://mirror.lan:5000/', 'https://mirror.lan:5000/v2', ''],
    ['https://harbor.lan/docker-hub', 'https://harbor.lan/v2', 'docker-hub/'],
    ['https://harbor.lan/v2/docker-hub/', 'https://harbor.lan/v2', 'docker-hub/'],
    ['https://nexus.lan/repository/hub/v2', 'https://nexus.lan/repository/hub/v2', ''],
  ] as const) {
    test(url, () => {
      const at = mirrorAt(new URL(url));
      assert.deepEqual({ api: at.api.href, prefix: at.prefix }, { api, prefix });
    });
  }
});
