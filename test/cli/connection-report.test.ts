import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createConnectionReport } from '../../src/cli/connection-report.ts';
import type { Credentials } from '../../src/registry/credentials.ts';

function reporting() {
  const lines: string[] = [];
  const report = createConnectionReport({
    domains: ['docker.io', 'registry.lan:5000'],
    mirrorsOf: (domain) => (domain === 'docker.io' ? ['mirror.lan'] : []),
    write: (line) => lines.push(line),
  });
  return { lines, report };
}

suite('the connections of a command', () => {
  test('are registries, mirrors, and other servers, each reported once', () => {
    const { lines, report } = reporting();
    for (const host of [
      'mirror.lan',
      'registry-1.docker.io',
      'auth.docker.io',
      'mirror.lan',
      'registry.lan:5000',
    ])
      report.answered(host, 200);
    report.answered('mirror.lan', undefined);
    assert.deepEqual(lines, [
      'Using mirror mirror.lan of docker.io\n',
      'Using registry docker.io\n',
      'Using server auth.docker.io\n',
      'Using registry registry.lan:5000\n',
      'Using mirror mirror.lan of docker.io, which does not respond\n',
    ]);
  });

  test('have users without their passwords and tokens', async () => {
    const { lines, report } = reporting();
    const found: Record<string, Credentials> = {
      a: { kind: 'password', username: 'alice', password: 'secret' },
      b: { kind: 'identity-token', token: 'secret' },
    };
    const store = report.noting({ find: async (domain) => found[domain] });
    for (const domain of ['a', 'b', 'c', 'a']) assert.equal(await store.find(domain), found[domain]);
    report.user('bob', 'd');
    assert.deepEqual(lines, [
      'Using the user alice for a\n',
      'Using a token for b\n',
      'No credentials for c\n',
      'Using the user bob for d\n',
    ]);
  });
});
