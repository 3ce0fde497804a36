import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { type HostsFolder, readHostsFolder } from '../../src/config/hosts-folder.ts';
import type { RegistryHost } from '../../src/oci/registry-host.ts';
import { repositoryAt } from '../../src/oci/registry-host.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** Reads files by their paths, and returns the result and the mistakes. */
async function read(files: Record<string, string>): Promise<HostsFolder & { mistakes: string[] }> {
  await using folder = await temporaryFolder();
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder.path, name)), { recursive: true });
    await writeFile(join(folder.path, name), content);
  }
  const mistakes: string[] = [];
  const hosts = readHostsFolder(folder.path, (domain) => `https://usual.${domain}`, mistakes);
  return { ...hosts, mistakes: mistakes.map((mistake) => mistake.replace(folder.path, '…')) };
}

/** Returns the URL at which a host is asked for `library/busybox`. */
function placeOf(host: RegistryHost | undefined): string | undefined {
  return (
    host && `${host.api.href}/${repositoryAt(host, { domain: 'docker.io', path: 'library/busybox' }).path}`
  );
}

suite('a folder of hosts.toml files', () => {
  test('names mirrors in their order, and the registry itself behind them', async () => {
    const { byDomain, mistakes } = await read({
      'docker.io/hosts.toml': `
        server = "https://registry-1.docker.io"
        [host."https://mirror.lan:5000"]
          capabilities = ["pull"]
        [host."http://10.0.0.5/cache"]
        [host."https://harbor.lan/v2/docker-hub"]
          capabilities = ["pull", "resolve", "push"]
          override_path = true
        [host."https://plain.lan/api"]
          override_path = true
        [host."bare.lan"]
      `,
    });
    assert.deepEqual(mistakes, []);
    const hosts = byDomain.get('docker.io');
    assert.deepEqual(hosts?.mirrors.map(placeOf), [
      'https://mirror.lan:5000/v2/library/busybox',
      'http://10.0.0.5/cache/v2/library/busybox',
      'https://harbor.lan/v2/docker-hub/library/busybox',
      'https://plain.lan/api/library/busybox',
      'https://bare.lan/v2/library/busybox',
    ]);
    assert.deepEqual(
      hosts?.mirrors.map(({ canPull, canResolve }) => [canPull, canResolve]),
      [[true, false], ...Array.from({ length: 4 }, () => [true, true])],
    );
    assert.equal(placeOf(hosts?.origin), 'https://registry-1.docker.io/v2/library/busybox');
    assert.equal(hosts?.isOriginListed, true);
  });

  test('has authorities, certificates and headers for each host, with paths from the file on', async () => {
    const { byDomain, mistakes } = await read({
      'a.lan/hosts.toml': `
        ca = "own.pem"
        [host."https://one.lan"]
          ca = ["../ca.pem", "own.pem"]
          client = [["cert.pem", "key.pem"], ["other.pem", ""]]
          [host."https://one.lan".header]
            X-Key = "secret"
            X-Several = ["a", "b"]
        [host."https://two.lan"]
          client = "both.pem"
          skip_verify = true
      `,
      ...{ 'ca.pem': 'CA', 'a.lan/own.pem': 'OWN', 'a.lan/cert.pem': 'CERT', 'a.lan/key.pem': 'KEY' },
      'a.lan/both.pem': 'BOTH',
    });
    assert.deepEqual(mistakes, []);
    const { mirrors: [one, two] = [], origin, isOriginListed } = byDomain.get('a.lan') ?? {};
    assert.deepEqual(one?.tls, {
      authorities: ['CA', 'OWN'],
      certificate: 'CERT',
      key: 'KEY',
      skipVerify: false,
    });
    assert.deepEqual(one?.headers, { 'x-key': 'secret', 'x-several': 'a, b' });
    assert.deepEqual(two?.tls, { authorities: [], certificate: 'BOTH', key: undefined, skipVerify: true });
    assert.equal(origin?.api.href, 'https://usual.a.lan/v2');
    assert.deepEqual(origin?.tls.authorities, ['OWN']);
    assert.equal(isOriginListed, false, 'nobody wrote where it is');
  });

  test('stands for all other registries in _default, and a registry may be written in two ways', async () => {
    const mirror = '[host."https://m.lan"]\n';
    const { byDomain, usual } = await read({
      '_default/hosts.toml': mirror,
      'one.lan:5000/hosts.toml': mirror,
      'two.lan_5000_/hosts.toml': mirror,
      'registry-1.docker.io/hosts.toml': mirror,
      '.hidden/hosts.toml': 'not TOML',
      'README.md': 'no folder',
    });
    assert.deepEqual([...byDomain.keys()].sort(), ['docker.io', 'one.lan:5000', 'two.lan:5000']);
    assert.equal(usual?.mirrors.length, 1);
    assert.equal(usual?.origin, undefined);
  });

  test('may have Docker’s files instead', async () => {
    const { byDomain } = await read({
      'a.lan:5000/ca.crt': 'CA',
      'a.lan:5000/client.cert': 'CERT',
      'a.lan:5000/client.key': 'KEY',
      'empty.lan/notes.txt': '',
    });
    assert.deepEqual(byDomain.get('a.lan:5000')?.origin?.tls, {
      authorities: ['CA'],
      certificate: 'CERT',
      key: 'KEY',
      skipVerify: false,
    });
    assert.equal(byDomain.get('empty.lan'), undefined);
  });

  test('reports each mistake with its file', async () => {
    const { mistakes } = await read({
      'a.lan/hosts.toml': 'server = 1\n',
      'b.lan/hosts.toml': '[host."ftp://m.lan"]\n',
      'c.lan/hosts.toml': '[host."https://m.lan"]\nca = "none.pem"\n',
      'd.lan/hosts.toml': '[host."https://m.lan"]\nskip_verify = "yes"\n',
      'not a host/hosts.toml': '',
    });
    const expected = [
      /^…\/a\.lan: server must be a text$/,
      /^…\/b\.lan: ftp:\/\/m\.lan is not the URL of a registry$/,
      /^…\/c\.lan: ENOENT.*none\.pem/,
      /^…\/d\.lan: skip_verify must be true or false$/,
      /^…\/not a host: must be the host and port of a registry/,
    ];
    assert.equal(mistakes.length, expected.length, mistakes.join('\n'));
    for (const [at, pattern] of expected.entries()) assert.match(mistakes.sort()[at] ?? '', pattern);
  });

  test('a folder that is not there is a mistake', () => {
    const mistakes: string[] = [];
    readHostsFolder('/no/such/folder', String, mistakes);
    assert.match(mistakes.join(), /ENOENT/);
  });
});
