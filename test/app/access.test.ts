import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { createAccess } from '../../src/app/access.ts';
import { loadConfig } from '../../src/config/loader.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { listen } from '../support/listen.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

/** An empty registry: every allowed request results in a 404. */
const emptyRegistry = () => listen(createServer((_request, response) => response.writeHead(404).end()));

async function codeOf({ url }: DockerProxy, image: string): Promise<string> {
  const { body } = await httpCall(`${url}/dl?myimage=${image}`);
  return (JSON.parse(body.toString()) as { code: string }).code;
}

/** Sends SIGHUP and waits until the log reports the result. */
async function reload({ pid, logs }: DockerProxy): Promise<string> {
  const said = () => logs().filter(({ msg }) => /the settings and the access lists/.test(msg));
  const before = said().length;
  process.kill(pid, 'SIGHUP');
  await waitFor(() => said().length > before, { what: 'the lists to be reloaded' });
  return JSON.stringify(said().at(-1));
}

suite('access by lists in files', { timeout: 600_000 }, () => {
  test('is as the files say after SIGHUP, while the process goes on', async () => {
    await using folder = await temporaryFolder();
    await using registry = await emptyRegistry();
    const [allow, deny] = [join(folder.path, 'allow'), join(folder.path, 'deny')];
    await writeFile(allow, '');
    await writeFile(deny, '');
    await using proxy = await startDockerProxy({
      args: ['--insecure-registries', registry.host, '--allow-file', allow, '--deny-file', deny],
    });
    const image = `${registry.host}/a/b`;
    assert.equal(await codeOf(proxy, image), 'image-not-allowed');

    await writeFile(allow, `${registry.host}/a/**\n`);
    assert.equal(await codeOf(proxy, image), 'image-not-allowed', 'nothing is read without SIGHUP');
    await reload(proxy);
    assert.equal(await codeOf(proxy, image), 'image-not-found');

    await writeFile(deny, `${registry.host}/a/b\n`);
    await reload(proxy);
    assert.equal(await codeOf(proxy, image), 'image-not-allowed');
    assert.equal(await codeOf(proxy, `${registry.host}/a/c`), 'image-not-found');
  });

  test('is as the settings of the file say after SIGHUP; what needs a restart is named', async () => {
    await using folder = await temporaryFolder();
    await using registry = await emptyRegistry();
    const file = join(folder.path, 'settings.toml');
    const settings = (lines: string): Promise<void> =>
      writeFile(file, `insecure_registries = ["${registry.host}"]\n${lines}`);
    await settings(`allow = ["${registry.host}/a/**"]\n`);
    await using proxy = await startDockerProxy({ args: ['--config', file] });
    const image = `${registry.host}/b/c`;
    assert.equal(await codeOf(proxy, image), 'image-not-allowed');

    await settings(`allow = ["${registry.host}/b/**"]\noperator_name = "New"\nmax_image_size = "1GB"\n`);
    await reload(proxy);
    assert.equal(await codeOf(proxy, image), 'image-not-found');
    assert.match((await httpCall(`${proxy.url}/api/v1/info`)).body.toString(), /"name":"New"/);
    assert.ok(proxy.logs().some(({ msg }) => /need a restart: max_image_size$/.test(msg)));

    await settings('allow = 5\n');
    assert.match(await reload(proxy), /settings\.toml: allow: .*stay as they were/);
    assert.equal(await codeOf(proxy, image), 'image-not-found', 'a mistake changes nothing');
  });

  test('stays as it was where a file has a mistake, and the log says which', async () => {
    await using folder = await temporaryFolder();
    await using registry = await emptyRegistry();
    const [deny, clients] = [join(folder.path, 'deny'), join(folder.path, 'clients')];
    await writeFile(deny, '');
    await writeFile(clients, '127.0.0.1\n');
    await using proxy = await startDockerProxy({
      args: [
        ...['--insecure-registries', registry.host, '--allow', `${registry.host}/**`],
        ...['--deny-file', deny, '--allow-clients-file', clients],
      ],
    });
    await writeFile(deny, `${registry.host}/**\n`);
    await writeFile(clients, '127.0.0.1\nlocalhost\n');
    assert.match(await reload(proxy), /clients: line 2: .*localhost.* must be an address/);
    assert.equal(await codeOf(proxy, `${registry.host}/a`), 'image-not-found');

    await writeFile(clients, '192.0.2.0/24\n');
    await reload(proxy);
    assert.equal(await codeOf(proxy, `${registry.host}/a`), 'client-not-allowed');
  });

  test('lets the guard through to a registry at a private address once a file names it', async () => {
    await using folder = await temporaryFolder();
    await using registry = await emptyRegistry();
    const allow = join(folder.path, 'allow');
    await writeFile(allow, '**\n');
    await using proxy = await startDockerProxy({ args: ['--allow-file', allow] });
    const image = `${registry.host}/a`;
    assert.equal(await codeOf(proxy, image), 'address-refused');
    await writeFile(allow, `**\n${registry.host}/**\n`);
    await reload(proxy);
    // The server does not speak TLS. The test only checks that it receives a connection.
    assert.equal(await codeOf(proxy, image), 'registry-failed');
  });

  test('a file that is not there at the start ends it', async () => {
    await assert.rejects(startDockerProxy({ args: ['--deny-file', '/no/such/list'] }), /ended with 78/);
  });
});

suite('the guard that the settings make', () => {
  const argv = ['--insecure-registries', '127.0.0.1:5000', '--allow', 'registry.lan/**,*.example/**'];
  const { guard } = createAccess(
    loadConfig({ argv, environment: {}, home: '/nowhere', isRoot: false }),
    () => [],
  );
  const listed = ['http://127.0.0.1:5000', 'https://registry.lan'];

  test('allows redirects between listed registries', () => {
    for (const origin of listed) {
      assert.ok(guard.trusts(origin));
      for (const other of listed) {
        assert.ok(guard.trusts(origin, other));
        guard.checkUrl(new URL(origin), other);
      }
    }
  });

  test('refuses other registries', () => {
    for (const origin of listed) assert.equal(guard.trusts(origin, 'https://evil.example'), false);
    assert.throws(() => guard.checkUrl(new URL('http://127.0.0.1:5000'), 'https://evil.example'), {
      code: 'address-refused',
    });
    assert.equal(guard.trusts('https://evil.example'), false, 'a wildcard lists no origin');
  });
});
