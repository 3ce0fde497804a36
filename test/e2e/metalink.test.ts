import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { download } from '../support/download.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { image, type Manifest } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { run, runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const MIB = 2 ** 20;
const SIZE = 12 * MIB;
const NAME = 'test_app_2.1.tar';
/** Both replicas at once, each with one connection, as aria2c does by itself with files of 40 MB and more. */
const ARIA2 = ['--no-conf', '--quiet', '--split=2', '--min-split-size=1M', '--retry-wait=0'];

suite('a metalink of two replicas', {
  skip: skipUnless('docker-registry', 'aria2c', 'curl'),
  timeout: 600_000,
}, () => {
  let registry: Registry;
  let [first, second]: DockerProxy[] = [];
  /** A proxy in front of each replica, of which the first can damage bytes. */
  let [damaged, good]: FaultProxy[] = [];
  let app: Manifest;
  let expected: string;

  before(async () => {
    registry = await startRegistry();
    await using random = await randomLayer(SIZE, 'metalink');
    app = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [random] });
    await push(registry.url, 'test/app', '2.1', app);
    const env = { DOCKERPROXY_INSECURE_REGISTRIES: registry.host };
    first = await startDockerProxy({ env });
    // To aria2c, two ports of one address are one server.
    damaged = await startFaultProxy(first.url, { address: '127.0.0.2' });
    second = await startDockerProxy({ env: { ...env, DOCKERPROXY_REPLICAS: damaged.url } });
    good = await startFaultProxy(second.url);
    expected = (await download(`${second.url}${path()}`)).sha256;
  });
  after(async () => {
    for (const part of [good, second, damaged, first, registry]) await part?.[Symbol.asyncDispose]();
  });

  const path = (): string => `/dl?myimage=${registry.host}/test/app:2.1`;
  const sha256Of = async (folder: string, name = NAME): Promise<string> =>
    createHash('sha256')
      .update(await readFile(join(folder, name)))
      .digest('hex');
  const sent = (proxy: FaultProxy | undefined): number =>
    proxy?.requests.reduce((sum, request) => sum + request.sent, 0) ?? 0;
  const forget = (): void => {
    for (const proxy of [damaged, good]) proxy?.requests.splice(0);
  };
  const aria2c = (folder: string, ...args: string[]) =>
    runOrThrow('aria2c', [...ARIA2, '--dir', folder, ...args]);

  test('is fetched from both by aria2c, which sees by the pieces that one lies, and has them from the other', async () => {
    await using folder = await temporaryFolder();
    forget();
    damaged?.inject(() => ({ kind: 'flip', at: 5000 }));
    // If the good replica did not wait, aria2c might finish before the damaged one has sent a whole piece.
    const hasLied = waitFor(() => sent(damaged) >= MIB);
    good?.inject(({ path: asked }) =>
      asked.includes('meta4') ? undefined : { kind: 'hold', until: hasLied },
    );
    await aria2c(
      folder.path,
      '--follow-metalink=mem',
      `${good?.url}/dl/${registry.host}/test/app:2.1.tar.meta4`,
    );
    good?.inject(undefined);
    damaged?.inject(undefined);
    assert.equal(await sha256Of(folder.path), expected);
    assert.ok(sent(damaged) >= MIB, `the one that lies has sent ${sent(damaged)} bytes`);
    assert.ok(sent(good) > MIB, `the other one for ${sent(good)}`);
    const urls = [...(damaged?.requests ?? []), ...(good?.requests ?? [])].map((request) => request.path);
    const pinned = `${path()}@${app.descriptor.digest}`;
    assert.deepEqual(new Set(urls), new Set([`/dl/${registry.host}/test/app:2.1.tar.meta4`, pinned]));
  });

  test('mends a file of which bytes were damaged later, and fetches no more than these pieces', async () => {
    await using folder = await temporaryFolder();
    const metalink = join(folder.path, 'app.meta4');
    await runOrThrow('curl', ['-sf', '-o', metalink, `${good?.url}${path()}&metalink=1`]);
    await aria2c(folder.path, '--metalink-file', metalink);
    const file = await open(join(folder.path, NAME), 'r+');
    await file.write(Buffer.from('damaged'), 0, 7, 5 * MIB + 17);
    await file.close();
    forget();
    await aria2c(folder.path, '--check-integrity', '--allow-overwrite', '--metalink-file', metalink);
    assert.equal(await sha256Of(folder.path), expected);
    const again = sent(damaged) + sent(good);
    assert.ok(again >= MIB && again <= 3 * MIB, `${again} bytes`);
  });

  test('is of one image, though its tag moves meanwhile', async () => {
    await using folder = await temporaryFolder();
    const metalink = join(folder.path, 'app.meta4');
    await runOrThrow('curl', ['-sf', '-o', metalink, `${good?.url}${path()}&metalink=1`]);
    await using random = await randomLayer(SIZE, 'moved');
    const moved = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [random] });
    await push(registry.url, 'test/app', '2.1', moved);
    try {
      assert.notEqual((await download(`${second?.url}${path()}`)).sha256, expected);
      await aria2c(folder.path, '--metalink-file', metalink);
      assert.equal(await sha256Of(folder.path), expected);
    } finally {
      await push(registry.url, 'test/app', '2.1', app);
    }
  });

  test('has a file for each part', async () => {
    await using folder = await temporaryFolder();
    await aria2c(folder.path, '--follow-metalink=mem', `${good?.url}${path()}&parts=8MiB&metalink=1`);
    await runOrThrow('sh', ['-c', 'cat *.part*of02 > joined'], { cwd: folder.path });
    assert.equal(await sha256Of(folder.path, 'joined'), expected);
  });

  test('needs no metalink: the replicas and the digest are in the headers', async () => {
    await using folder = await temporaryFolder();
    await download(`${second?.url}${path()}&checksum=1`);
    const { stdout } = await runOrThrow('curl', ['-sfI', `${second?.url}${path()}`]);
    const pinned = `${path()}@${app.descriptor.digest}`;
    assert.match(stdout, /^repr-digest: sha-256=:.*:\r$/m);
    assert.ok(stdout.includes(`<${pinned}&metalink=1>; rel=describedby; type="application/metalink4+xml"`));
    assert.ok(stdout.includes(`<${damaged?.url}${pinned}>; rel=duplicate`));
    const fetch = async (name: string): Promise<number | null> => {
      forget();
      const used = waitFor(() => sent(damaged) > 8000);
      good?.inject(({ method }) =>
        method === 'GET' ? { kind: 'stall', after: MIB, until: used } : undefined,
      );
      const args = [...ARIA2, '--dir', folder.path, `--out=${name}`, `--checksum=sha-256=${expected}`];
      const { code } = await run('aria2c', [...args, `${good?.url}${path()}`]);
      await used;
      good?.inject(undefined);
      return code;
    };
    assert.equal(await fetch('app.tar'), 0);

    damaged?.inject(() => ({ kind: 'flip', at: 5000 }));
    assert.equal(await fetch('lie.tar'), 32, 'a checksum alone tells of the damage, and cannot mend it');
    damaged?.inject(undefined);
  });
});
