import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makeRelease } from '../support/debian.ts';
import { type Dockerd, startDockerd } from '../support/engines.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { reservePort } from '../support/reserve-port.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const IMAGE = 'dockerproxy:release';
const SLOW = { timeout: 180_000 };
const skip = skipUnless('dockerd', 'skopeo');

suite('the container image of a release', { skip, timeout: 900_000 }, () => {
  let stack: AsyncDisposableStack;
  let folder: TemporaryFolder;
  let engine: Dockerd;
  let archive: string;

  const sha256 = async (path: string) =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
  const inspect = async (architecture: string, ...flags: string[]) => {
    const args = ['--override-arch', architecture, 'inspect', ...flags, `oci-archive:${archive}`];
    return JSON.parse((await runOrThrow('skopeo', args, SLOW)).stdout);
  };
  const docker = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await engine.docker(...args);
    assert.equal(code, 0, stderr);
    return stdout.trim();
  };

  before(async () => {
    stack = new AsyncDisposableStack();
    folder = stack.use(await temporaryFolder());
    engine = stack.use(await startDockerd());
    archive = await makeRelease(folder.path, 'image');
    const loadable = join(folder.path, 'image.tar');
    await runOrThrow(
      'skopeo',
      ['copy', '--quiet', `oci-archive:${archive}`, `docker-archive:${loadable}:${IMAGE}`],
      SLOW,
    );
    await docker('load', '--input', loadable);
  });
  after(() => stack?.[Symbol.asyncDispose]());

  test('has the same bytes when it is made again', async () => {
    await using again = await temporaryFolder();
    assert.equal(await sha256(await makeRelease(again.path, 'image')), await sha256(archive));
  });

  test('exists for x86-64 and arm64, and runs as the Dockerfile says', async () => {
    for (const architecture of ['amd64', 'arm64']) {
      assert.equal((await inspect(architecture)).Architecture, architecture);
      const { config } = await inspect(architecture, '--config');
      assert.equal(config.User, '65532:65532');
      assert.deepEqual(config.Entrypoint.slice(-1), ['/opt/dockerproxy/bin/dockerproxy.js']);
      assert.ok(config.Env.includes('DOCKERPROXY_HOST=::'), config.Env);
    }
  });

  test('serves without root on a read-only file system, and is healthy', async () => {
    const port = await reservePort();
    const container = await docker(
      ...['run', '--detach', '--network=host', '--read-only', '--cap-drop=ALL', '--health-interval=1s'],
      ...[`--env=DOCKERPROXY_PORT=${port}`, '--env=DOCKERPROXY_TLS=off', IMAGE],
    );
    const health = () => docker('inspect', '--format={{.State.Health.Status}}', container);
    await waitFor(async () => (await health()) === 'healthy', { timeout: 60_000, what: 'a healthy service' });
    const page = await fetch(`http://127.0.0.1:${port}/`);
    assert.equal(page.status, 200);
    await docker('rm', '--force', '--volumes', container);
  });

  test('contains no shell', async () => {
    const { code, stderr } = await engine.docker('run', '--rm', '--entrypoint=sh', IMAGE);
    assert.equal(code, 127);
    assert.match(stderr, /executable file not found/);
  });
});
