import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { loadConfig } from '../../src/config/loader.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';

const file = join(import.meta.dirname, '..', '..', 'deploy', 'compose.yaml');

suite('compose.yaml', { skip: skipUnless('docker-compose'), timeout: 600_000 }, () => {
  test('docker compose takes it: three shapes, one engine', async () => {
    const text = await config();
    const profiles = [...services(text)].map(([name, service]) => [
      name,
      /profiles:\n {4}- (\w+)/.exec(service)?.[1],
    ]);
    assert.deepEqual(Object.fromEntries(profiles), {
      direct: 'direct',
      docker: 'engine',
      proxied: 'proxy',
      'with-engine': 'engine',
    });
  });

  test('nothing of ours has a privilege, or a disk to write to but its volumes', async () => {
    for (const [name, service] of services(await config())) {
      if (name === 'docker') continue;
      assert.match(service, /^ {4}read_only: true$/m, name);
      assert.match(service, /^ {4}cap_drop:\n {4}- ALL$/m, name);
      assert.match(service, /^ {4}- no-new-privileges:true$/m, name);
      assert.doesNotMatch(service, /privileged: true|user:/, name);
    }
  });

  test('only the gateway of its own network is trusted for client addresses', async () => {
    const text = await config();
    const trusted = text.match(/DOCKERPROXY_TRUST_PROXY: .*/g);
    assert.deepEqual(new Set(trusted), new Set(['DOCKERPROXY_TRUST_PROXY: 10.213.87.1']));
    assert.match(
      text,
      /^networks:\n {2}default:\n {4}ipam:\n {6}config:\n {6}- gateway: 10\.213\.87\.1\n {8}subnet: 10\.213\.87\.0\/28$/m,
    );
  });

  test('its settings are some that there are', async () => {
    const text = await readFile(file, 'utf8');
    const names = new Set(text.match(/DOCKERPROXY_(?!(?:ENGINE_)?IMAGE|SUBNET|GATEWAY)\w+/g));
    assert.ok(names.has('DOCKERPROXY_TLS') && names.size > 3);
    const { mistakes = [] } = await mistakesOf([...names]);
    assert.deepEqual(
      mistakes.filter((mistake) => /no such setting/.test(mistake)),
      [],
    );
  });
});

/** The parsed file. */
async function config(): Promise<string> {
  const { stdout, stderr } = await runOrThrow('docker-compose', ['--file', file, 'config']);
  assert.equal(stderr, '');
  return stdout;
}

/** The text of each service, by its name. */
function services(text: string): Map<string, string> {
  const part = /^services:\n((?: .*\n)+)/m.exec(text)?.[1] ?? '';
  const found = part.matchAll(/^ {2}([\w-]+):\n((?: {4}.*\n)+)/gm);
  return new Map([...found].map(([, name = '', service = '']) => [name, service]));
}

/** Returns the mistakes in variables of these names, whatever their values. */
async function mistakesOf(names: readonly string[]): Promise<{ mistakes?: readonly string[] }> {
  try {
    const environment = Object.fromEntries(names.map((name) => [name, 'x']));
    loadConfig({ argv: [], environment, home: '/nowhere', isRoot: false });
    return {};
  } catch (error) {
    return error as { mistakes: readonly string[] };
  }
}
