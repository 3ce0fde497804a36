import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { run } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { standardImages } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

/** Bytes of the image's one layer, and after how many of them connections break. */
const SIZE = 12_000_000;
const BROKEN_AT = 5_000_000;

suite('a broken download goes on where it broke', {
  skip: skipUnless('docker-registry', 'wget', 'curl', 'aria2c'),
}, () => {
  let registry: Registry;
  let proxy: DockerProxy;
  /** A proxy between the client and DockerProxy. */
  let line: FaultProxy;
  let folder: TemporaryFolder;
  let path: string;
  let expected: string;

  before(async () => {
    registry = await startRegistry();
    await standardImages(registry);
    await using random = await randomLayer(SIZE, 'resume');
    const platform = { os: 'linux', architecture: 'amd64' };
    await push(registry.url, 'test/random', 'latest', image({ platform, layers: [random] }));
    proxy = await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host } });
    line = await startFaultProxy(proxy.url);
    folder = await temporaryFolder();
    path = `/dl?myimage=${registry.host}/test/random`;
    expected = sha256((await httpCall(proxy.url + path)).body);
  });
  after(async () => {
    await folder[Symbol.asyncDispose]();
    await line[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
  });

  const breakFirst = (times: number): void => {
    let left = times;
    line.inject(({ method }) => {
      if (method !== 'GET' || left === 0) return undefined;
      left -= 1;
      return { kind: 'cut', after: BROKEN_AT };
    });
  };

  test('wget -c', async () => {
    breakFirst(1);
    const target = join(folder.path, 'wget.tar');
    const wget = (...more: string[]) =>
      run('wget', ['--quiet', '--tries=1', ...more, '-O', target, line.url + path]);
    assert.notEqual((await wget()).code, 0);
    const partial = (await stat(target)).size;
    assert.ok(partial > 0 && partial <= BROKEN_AT);
    assert.equal((await wget('-c')).code, 0);
    assert.equal(await sha256OfFile(target), expected);
    assert.equal(line.requests.at(-1)?.headers.range, `bytes=${partial}-`);
    assert.equal(line.requests.at(-1)?.status, 206);
  });

  test('wget by itself, with its usual tries', async () => {
    breakFirst(2);
    const target = join(folder.path, 'tries.tar');
    const result = await run('wget', ['--quiet', '--waitretry=0', '-O', target, line.url + path]);
    assert.equal(result.code, 0, result.stderr);
    assert.equal(await sha256OfFile(target), expected);
  });

  test('curl -C -', async () => {
    breakFirst(1);
    const target = join(folder.path, 'curl.tar');
    const curl = (...more: string[]) => run('curl', ['-sSf', ...more, '-o', target, line.url + path]);
    assert.equal((await curl()).code, 18, 'curl calls it a partial file');
    assert.equal((await curl('-C', '-')).code, 0);
    assert.equal(await sha256OfFile(target), expected);
  });

  test('aria2c -x4', async () => {
    breakFirst(3);
    const result = await run('aria2c', [
      ...['-x4', '-s4', '-k1M', '--retry-wait=0', '--no-conf', '--quiet', '--allow-overwrite=true'],
      ...['--dir', folder.path, '--out', 'aria2.tar', line.url + path],
    ]);
    assert.equal(result.code, 0, result.stdout);
    assert.equal(await sha256OfFile(join(folder.path, 'aria2.tar')), expected);
    assert.ok(line.requests.filter(({ status }) => status === 206).length >= 3);
  });

  test('a tag that moved between is not spliced: If-Range with the old ETag gives the whole new file', async () => {
    const url = `${proxy.url}/dl?myimage=${registry.host}/test/moving`;
    const platform = { os: 'linux', architecture: 'amd64' };
    const publish = async (content: string): Promise<void> => {
      const layers = [await layer({ files: { file: content } })];
      await push(registry.url, 'test/moving', 'latest', image({ platform, layers }));
    };
    await publish('old');
    const old = await httpCall(url);
    await publish('new');
    const current = await httpCall(url);
    const range = 'bytes=1000-';
    const resumed = await httpCall(url, { headers: { range, 'if-range': old.headers.etag ?? '' } });
    assert.equal(resumed.status, 200);
    assert.deepEqual(resumed.body, current.body);
    const continued = await httpCall(url, { headers: { range, 'if-range': current.headers.etag ?? '' } });
    assert.equal(continued.status, 206);
    assert.deepEqual(continued.body, current.body.subarray(1000));
  });
});

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function sha256OfFile(path: string): Promise<string> {
  return sha256(await readFile(path));
}
