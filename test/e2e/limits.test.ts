import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, type DockerProxyOptions, startDockerProxy } from '../support/dockerproxy.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { run } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

/** Bytes of each image's one layer: more than the sockets can buffer when the server is killed. */
const SIZE = 30_000_000;
const IMAGES = ['one', 'two', 'three'];

interface ClientLimits {
  downloads: { active: number };
  bytes: { remaining: number };
}

async function limitsOf({ url }: DockerProxy): Promise<ClientLimits> {
  const { status, body } = await httpCall(`${url}/api/v1/limits`);
  assert.equal(status, 200);
  return JSON.parse(body.toString()) as ClientLimits;
}

/** Reads the bytes of the only client from the file of the counts. */
function bytesIn(stateFolder: string): unknown {
  using file = new DatabaseSync(join(stateFolder, 'limits.sqlite'), { readOnly: true });
  return file.prepare("SELECT sum(value) AS sum FROM counters WHERE name LIKE 'bytes %'").get()?.sum;
}

/** Begins a download and takes no more than its first bytes. */
async function begin(url: string): Promise<IncomingMessage> {
  const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage];
  response.on('error', () => {}).pause();
  return response;
}

suite('limits, as clients meet them', {
  skip: skipUnless('docker-registry', 'wget', 'aria2c'),
  timeout: 600_000,
}, () => {
  let registry: Registry;
  let folder: TemporaryFolder;

  before(async () => {
    registry = await startRegistry();
    folder = await temporaryFolder();
    const platform = { os: 'linux', architecture: 'amd64' };
    for (const name of IMAGES) {
      await using layer = await randomLayer(SIZE, name);
      await push(registry.url, `test/${name}`, 'latest', image({ platform, layers: [layer] }));
    }
  });
  after(async () => {
    await folder[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  const start = (settings: NodeJS.ProcessEnv, options: DockerProxyOptions = {}): Promise<DockerProxy> =>
    startDockerProxy({ ...options, env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host, ...settings } });
  const urlOf = ({ url }: DockerProxy, name: string): string =>
    `${url}/dl?myimage=${registry.host}/test/${name}`;

  test('wget shows why it is refused, and continues what was begun though the day is used up', async () => {
    await using proxy = await start({ DOCKERPROXY_DAILY_BYTES: '25MB' });
    const target = join(folder.path, 'wget.tar');
    const wget = (name: string, ...more: string[]) =>
      run('wget', ['--tries=1', ...more, '-O', target, urlOf(proxy, name)]);
    assert.equal((await wget('one')).code, 0);
    const { size } = await stat(target);
    await truncate(target, 10_000_000);
    assert.equal((await wget('one', '-c')).code, 0);
    assert.equal((await stat(target)).size, size);

    const refused = await wget('two');
    assert.equal(refused.code, 8);
    assert.match(refused.stderr, /ERROR 429: 23\.8 MiB a day are the limit; go on in 24 h\./);
    assert.deepEqual((await limitsOf(proxy)).bytes.remaining, 0);
  });

  test('aria2c with 16 connections counts as one download, within the default rate limit', async () => {
    await using proxy = await start({
      DOCKERPROXY_DOWNLOADS_PER_IP: '1',
      DOCKERPROXY_CONNECTIONS_PER_DOWNLOAD: '32',
      DOCKERPROXY_RATE_LIMIT: '60/minute',
      // A third of the image. aria2c requests the whole image before it requests ranges.
      DOCKERPROXY_DAILY_BYTES: '10MB',
      DOCKERPROXY_BANDWIDTH_PER_IP: '20MB',
    });
    const aria2c = await run('aria2c', [
      ...['-x16', '-s16', '-k1M', '--no-conf', '--quiet', '--allow-overwrite=true', '--max-tries=1'],
      ...['--dir', folder.path, '--out', 'aria2.tar', urlOf(proxy, 'one')],
    ]);
    assert.equal(aria2c.code, 0, aria2c.stdout);
    const connections = proxy.logs().filter(({ msg }) => /^Downloading image: /.test(msg));
    assert.ok(connections.length >= 16, `${connections.length} connections`);
    const refused = proxy.logs().filter(({ msg }) => msg.startsWith('[FAILED]'));
    assert.deepEqual(
      refused.map(({ msg }) => msg),
      [],
    );
    await waitFor(async () => (await limitsOf(proxy)).downloads.active === 0);
  });

  test('only 32 of hundreds of stalled connections for one download are served', async () => {
    await using proxy = await start({ DOCKERPROXY_CONNECTIONS_PER_DOWNLOAD: '32' });
    const responses = await Promise.all(Array.from({ length: 200 }, () => begin(urlOf(proxy, 'one'))));
    const served = responses.filter(({ statusCode }) => statusCode === 200);
    assert.equal(served.length, 32);
    const [refused] = responses.filter(({ statusCode }) => statusCode === 429);
    assert.ok(refused);
    const problem = JSON.parse(await text(refused)) as { code: string };
    assert.equal(problem.code, 'too-many-connections');
    assert.equal(refused.headers.ratelimit, '"connections";r=0;t=30');
    served[0]?.destroy();
    await waitFor(async () => (await httpCall(urlOf(proxy, 'one'))).status === 200);
    for (const response of responses) response.destroy();
  });

  test('aria2c continues what was begun though the day is used up', async () => {
    await using proxy = await start({
      // More than one image, because the service may fetch all of it while aria2c receives the first bytes.
      DOCKERPROXY_DAILY_BYTES: '31MB',
      // Without a limit, buffers of loopback sockets would take most of the image before the client reads.
      DOCKERPROXY_BANDWIDTH_PER_IP: '20MB',
    });
    await using line = await startFaultProxy(proxy.url);
    const path = urlOf(proxy, 'one').slice(proxy.url.length);
    const aria2c = (...more: string[]) =>
      run('aria2c', [
        ...['-x4', '-s4', '-k1M', '--no-conf', '--quiet', '--max-tries=1', '--file-allocation=none', ...more],
        ...['--dir', folder.path, '--out', 'resumed.tar', line.url + path],
      ]);
    line.inject(({ method }) => (method === 'GET' ? { kind: 'cut', after: 500_000 } : undefined));
    assert.notEqual((await aria2c()).code, 0);
    const target = join(folder.path, 'resumed.tar');
    assert.ok((await stat(target)).size > 0);
    line.inject(undefined);
    // Until the service notices that aria2c is gone, the bytes of its connections count as if they were sent.
    await waitFor(async () => (await httpCall(urlOf(proxy, 'two'))).status === 200);
    await waitFor(async () => (await limitsOf(proxy)).bytes.remaining === 0);
    assert.equal((await httpCall(urlOf(proxy, 'three'))).status, 429);
    assert.equal((await aria2c('-c')).code, 0);
    await using unlimited = await start({});
    const { body } = await httpCall(urlOf(unlimited, 'one'));
    assert.ok(body.equals(await readFile(target)));
  });

  test('are shared by the processes of a machine', async () => {
    const state = join(folder.path, 'shared');
    const settings = { DOCKERPROXY_STATE_DIR: state, DOCKERPROXY_DOWNLOADS_PER_IP: '1' };
    const all = { ...settings, DOCKERPROXY_RATE_LIMIT: '10/hour', DOCKERPROXY_DAILY_BYTES: '1GiB' };
    await using one = await start(all);
    await using other = await start(all);
    const response = await begin(urlOf(one, 'one'));
    const refused = await httpCall(urlOf(other, 'two'));
    assert.equal(refused.status, 429);
    assert.match(`${refused.headers['ratelimit-policy']}`, /^"requests";.*"downloads";.*"bytes";/);
    const same = await begin(urlOf(other, 'one'));
    assert.equal(same.statusCode, 200, 'another connection of the same download');
    assert.equal((await limitsOf(other)).downloads.active, 1);
    for (const open of [response, same]) open.destroy();
    await waitFor(async () => (await limitsOf(one)).downloads.active === 0);
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, at) => httpCall(`${[one, other][at % 2]?.url}/dl`)),
    );
    const statuses = answers.map(({ status }) => status);
    assert.ok(statuses.includes(429) && statuses.includes(400), `${statuses}`);
  });

  test('are still known after a process was killed, whose downloads can be continued at once', async () => {
    const settings = {
      DOCKERPROXY_STATE_DIR: join(folder.path, 'killed'),
      DOCKERPROXY_DAILY_BYTES: '1GiB',
      DOCKERPROXY_DOWNLOADS_PER_IP: '1',
    };
    let left = 0;
    {
      await using proxy = await start(settings);
      const { body } = await httpCall(urlOf(proxy, 'one'));
      left = (await limitsOf(proxy)).bytes.remaining;
      assert.equal(left, 2 ** 30 - body.length);
      await waitFor(() => bytesIn(settings.DOCKERPROXY_STATE_DIR) === body.length, { what: 'the count' });
      const response = await begin(urlOf(proxy, 'two'));
      process.kill(proxy.pid, 'SIGKILL');
      await proxy.exited;
      response.destroy();
    }
    await using proxy = await start(settings);
    assert.ok((await limitsOf(proxy)).bytes.remaining <= left);
    const resumed = await httpCall(urlOf(proxy, 'two'), { headers: { range: 'bytes=1000-' } });
    assert.equal(resumed.status, 206);
  });

  test('hold without their file, which is used again as soon as it can be', async () => {
    const state = join(folder.path, 'no-folder');
    await writeFile(state, '');
    await using proxy = await start({ DOCKERPROXY_STATE_DIR: state, DOCKERPROXY_RATE_LIMIT: '1/hour' });
    assert.equal((await httpCall(`${proxy.url}/dl`)).status, 400);
    assert.equal((await httpCall(`${proxy.url}/dl`)).status, 429);
    const lines = proxy.logs().filter(({ msg }) => msg.startsWith('Cannot count limits in the file'));
    assert.equal(lines.length, 1);
    await rm(state);
    const isThere = async (): Promise<boolean> => {
      assert.equal((await httpCall(`${proxy.url}/dl`)).status, 429, 'what was counted meanwhile counts');
      return existsSync(join(state, 'limits.sqlite'));
    };
    await waitFor(isThere, { timeout: 20_000 });
    assert.ok(await isThere());
  });
});
