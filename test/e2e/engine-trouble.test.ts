import assert from 'node:assert/strict';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { type ClientRequest, get } from 'node:http';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Dockerd, startDockerd } from '../support/engines.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image, index, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { run, runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const PLATFORM = { os: 'linux', architecture: 'amd64' };
const MIB = 2 ** 20;

/** An engine that reaches a registry through a faulty line. All tests share them, and each begins without images. */
interface Bed {
  registry: Registry;
  /** A proxy between the engine and the registry. */
  line: FaultProxy;
  engine: Dockerd;
}

interface Parts extends Bed, AsyncDisposable {
  proxy: DockerProxy;
  /** The address of a download through the line. */
  url(name: string, more?: string): string;
}

async function startBed(stack: AsyncDisposableStack): Promise<Bed> {
  const registry = stack.use(await startRegistry());
  const line = stack.use(await startFaultProxy(registry.url));
  return { registry, line, engine: stack.use(await startDockerd()) };
}

async function startParts({ registry, line, engine }: Bed, env: NodeJS.ProcessEnv = {}): Promise<Parts> {
  await engine.sh('docker image ls --quiet | sort -u | xargs -r docker image rm --force', '/');
  line.inject(undefined);
  line.requests.length = 0;
  const proxy = await startDockerProxy({
    env: {
      DOCKERPROXY_SOURCE: 'engine',
      DOCKERPROXY_INSECURE_REGISTRIES: [registry.host, line.host].join(),
      DOCKER_HOST: engine.dockerHost,
      ...env,
    },
  });
  const url = (name: string, more = ''): string => `${proxy.url}/dl?myimage=${line.host}/${name}${more}`;
  return { registry, line, engine, proxy, url, [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose]() };
}

async function publishSmall({ registry }: Parts, name: string, content = name): Promise<string> {
  return push(
    registry.url,
    name,
    'latest',
    image({ platform: PLATFORM, layers: [await layer({ files: { content } })] }),
  );
}

async function publishLarge({ registry }: Parts, name: string, bytes: number, content = name): Promise<void> {
  await using random = await randomLayer(bytes, content);
  await push(registry.url, name, 'latest', image({ platform: PLATFORM, layers: [random] }));
}

/** Holds the layers back until the returned function is called. */
function hold(line: FaultProxy): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  line.inject(({ path }) => (path.includes('/blobs/') ? { kind: 'hold', until: promise } : undefined));
  return () => {
    line.inject(undefined);
    resolve();
  };
}

const isBlob = ({ path }: { path: string }): boolean => path.includes('/blobs/');

function codeOf({ body }: { body: Buffer }): string {
  return (JSON.parse(`${body}`) as { code: string }).code;
}

suite('an engine in trouble, and one with much to do', {
  skip: skipUnless('dockerd', 'docker-registry', 'curl', 'ip'),
  timeout: 300_000,
}, () => {
  const cleanup = new AsyncDisposableStack();
  let bed: Bed;
  before(async () => {
    bed = await startBed(cleanup);
  });
  after(() => cleanup.disposeAsync());

  test('twenty clients at once for one image are one pull', async () => {
    await using parts = await startParts(bed);
    await publishSmall(parts, 'test/one');
    const release = hold(parts.line);
    const clients = Array.from({ length: 20 }, (_, at) =>
      httpCall(parts.url('test/one', at % 2 ? '' : '&stream=1')),
    );
    await waitFor(() => parts.line.requests.some(isBlob), { what: 'the pull to begin' });
    const lines = (): number => parts.proxy.logs().filter(({ msg }) => msg.startsWith('Downloading')).length;
    await waitFor(() => lines() === 20, { what: 'all clients' });
    release();
    const answers = await Promise.all(clients);
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.equal(new Set(answers.map(({ body }) => body.toString('base64'))).size, 1);
    const gets = parts.line.requests.filter(
      ({ path, method }) => method === 'GET' && path.includes('/manifests/'),
    );
    assert.equal(gets.length, 1);
    assert.equal(parts.line.requests.filter(isBlob).length, 2, 'the config and the layer');
  });

  test('more downloads wait in a queue, and past its end get a Retry-After', async () => {
    await using parts = await startParts(bed, { DOCKERPROXY_PULLS: '1', DOCKERPROXY_PULL_QUEUE: '1' });
    for (const name of ['test/a', 'test/b', 'test/c']) await publishSmall(parts, name);
    const release = hold(parts.line);
    const first = httpCall(parts.url('test/a'));
    await waitFor(() => parts.line.requests.some(isBlob), { what: 'the pull to begin' });
    const events = listen(parts.url('test/b').replace('/dl?', '/dl/status?'));
    await waitFor(() => events.text().includes('event: queued\ndata: {"ahead":1}'), {
      what: 'its place in the queue',
    });
    const third = await httpCall(parts.url('test/c'));
    assert.deepEqual([third.status, codeOf(third), third.headers['retry-after']], [503, 'engine-busy', '60']);
    release();
    assert.equal((await first).status, 200);
    await events.ended;
    assert.match(
      events.text(),
      /event: pulling\ndata: \{"image":"\S+\/test\/b:latest","layers":\[\{"id":"[0-9a-f]{12}"/,
    );
    assert.match(events.text(), /event: saving\ndata: \{"bytes":\d+\}/);
    assert.match(
      events.text(),
      /event: ready\ndata: \{"filename":"test_b\.tar","size":\d+,"digests":\["sha256:\w+"\]\}\n\n$/,
    );
  });

  test('while it pulls, each layer is reported with its bytes and total', async () => {
    await using parts = await startParts(bed);
    await publishLarge(parts, 'test/large', 5 * MIB);
    const { promise: enough, resolve: goOn } = Promise.withResolvers<void>();
    parts.line.inject((request) => {
      return isBlob(request) ? { kind: 'stall', after: 3 * MIB, until: enough } : undefined;
    });
    const events = listen(parts.url('test/large').replace('/dl?', '/dl/status?'));
    const told = (): { current: number; total: number } | undefined => {
      const [, data] = [...events.text().matchAll(/^event: pulling\ndata: (.*)$/gm)].at(-1) ?? [];
      return (
        data && JSON.parse(data).layers.find(({ status }: { status: string }) => status === 'Downloading')
      );
    };
    await waitFor(told, { what: 'some bytes' });
    const { current, total } = told() ?? { current: 0, total: 0 };
    assert.ok(
      current > 0 && current <= 3 * MIB && total > 5 * MIB && total < 5.1 * MIB,
      `${current} of ${total}`,
    );
    goOn();
    await events.ended;
    assert.match(events.text(), /event: ready\n/);
  });

  test('the status of an unavailable image ends with the problem', async () => {
    await using parts = await startParts(bed);
    const events = listen(parts.url('test/none').replace('/dl?', '/dl/status?'));
    await events.ended;
    const [, data = ''] = /^:\n\nevent: error\ndata: (.*)\n\n$/.exec(events.text()) ?? [];
    const { status, code } = JSON.parse(data);
    assert.deepEqual([status, code], [404, 'image-not-found']);
  });

  test('a client that goes ends the pull, unless another one waits for it', async () => {
    await using parts = await startParts(bed, { DOCKERPROXY_PULLS: '1' });
    for (const name of ['test/left', 'test/next']) await publishSmall(parts, name);
    const release = hold(parts.line);
    const lines = (start: string): number =>
      parts.proxy.logs().filter(({ msg }) => msg.startsWith(start)).length;
    const going = ask(parts.url('test/left'));
    await waitFor(() => parts.line.requests.some(isBlob), { what: 'the pull to begin' });
    going.destroy();
    await waitFor(() => lines('[LEFT]') === 1, { what: 'the log' });

    // dockerd 20.10 itself continues to wait for a registry that does not respond, but the slot in the queue is free.
    const impatient = ask(parts.url('test/next'));
    const isNext = ({ path }: { path: string }): boolean => path.includes('/test/next/blobs/');
    await waitFor(() => parts.line.requests.some(isNext), { what: 'the next pull to begin' });
    const patient = httpCall(parts.url('test/next'));
    await waitFor(() => lines('Downloading') === 3, { what: 'the patient client' });
    impatient.destroy();
    await waitFor(() => lines('[LEFT]') === 2, { what: 'the impatient client to be gone' });
    release();
    assert.equal((await patient).status, 200);
    const gets = parts.line.requests.filter(
      ({ path, method }) => method === 'GET' && /\/test\/next\/manifests/.test(path),
    );
    assert.equal(gets.length, 1);
  });

  test('an engine that is killed while it pulls is a 502, and when it is back, all is well', async () => {
    await using parts = await startParts(bed);
    await publishSmall(parts, 'test/killed');
    const release = hold(parts.line);
    const answer = httpCall(parts.url('test/killed'));
    await waitFor(() => parts.line.requests.some(isBlob), { what: 'the pull to begin' });
    await parts.engine.kill();
    const broken = await answer;
    assert.deepEqual([broken.status, codeOf(broken)], [502, 'engine-unreachable']);
    const absent = await httpCall(parts.url('test/killed'));
    assert.deepEqual([absent.status, codeOf(absent)], [502, 'engine-unreachable']);
    release();
    await parts.engine.restart();
    assert.equal((await httpCall(parts.url('test/killed'))).status, 200);
    const agreed = parts.proxy.logs().filter(({ apiVersion }) => apiVersion === '1.41');
    assert.equal(agreed.length, 2, 'what was agreed is in the log each time');
  });

  test('the service is ready for as long as the engine answers', async () => {
    await using parts = await startParts(bed);
    const readiness = async (): Promise<number> => (await httpCall(`${parts.proxy.url}/readyz`)).status;
    assert.equal(await readiness(), 200);
    await parts.engine.kill();
    // The state is polled once a second.
    await waitFor(async () => (await readiness()) === 503);
    await parts.engine.restart();
    await waitFor(async () => (await readiness()) === 200);
  });

  test('an engine that is killed while it saves leaves nothing that looks whole', async () => {
    await using cache = await temporaryFolder();
    await using parts = await startParts(bed, { DOCKERPROXY_CACHE_DIR: cache.path });
    await publishLarge(parts, 'test/large', 40 * MIB);
    await parts.engine.docker('pull', `${parts.line.host}/test/large`);
    const spooling = async (): Promise<number> => {
      const names = await readdir(join(cache.path, 'incoming'));
      return names.filter((name) => name.startsWith('spool-')).length;
    };
    const answer = httpCall(parts.url('test/large'));
    await waitFor(spooling, { what: 'the saving to begin', timeout: 60_000 });
    await parts.engine.kill();
    const broken = await answer;
    assert.deepEqual([broken.status, codeOf(broken)], [502, 'engine-unreachable']);
    assert.equal(await spooling(), 0);
    assert.deepEqual(await readdir(join(cache.path, 'spools')), []);

    await parts.engine.restart();
    const curl = ['-sS', '--limit-rate', '10M', '-o', '/dev/null', '-w', '%{size_download}'];
    const live = run('curl', [...curl, parts.url('test/large', '&stream=1')]);
    await waitFor(() => parts.proxy.logs().length > 0);
    const begun = async (): Promise<boolean> => (await downloadsUnderWay(parts.proxy)) > 0;
    await waitFor(begun, { what: 'the download to begin', timeout: 60_000 });
    await parts.engine.kill();
    assert.equal((await live).code, 18, 'curl calls it a partial file');
    await parts.engine.restart();
  });

  test('if the disk is full, the archive is sent as it is made', async () => {
    await using small = await temporaryFolder();
    const cache = join(small.path, 'cache');
    await mkdir(cache);
    await runOrThrow('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', cache]);
    await using parts = await startParts(bed, { DOCKERPROXY_CACHE_DIR: cache });
    await publishLarge(parts, 'test/large', 20 * MIB);
    await publishSmall(parts, 'test/small');
    const answer = await httpCall(parts.url('test/large'));
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-length'], undefined);
    assert.ok(answer.body.length > 20 * MIB);
    const warning = parts.proxy.logs().find(({ msg }) => msg.includes('without a length'));
    assert.match(
      warning?.msg ?? '',
      /^The cache has no room: \S+\/test\/large:latest is sent without a length$/,
    );
    assert.notEqual((await httpCall(parts.url('test/small'))).headers['content-length'], undefined);
  });

  test('pull=never serves what the engine has, pull=missing pulls only what it has not', async () => {
    await using parts = await startParts(bed, { DOCKERPROXY_PULL: 'never' });
    await publishSmall(parts, 'test/kept', 'first');
    const missing = await httpCall(parts.url('test/kept'));
    assert.deepEqual([missing.status, codeOf(missing)], [404, 'image-not-found']);
    assert.equal(parts.line.requests.length, 0);
    await parts.engine.docker('pull', `${parts.line.host}/test/kept`);
    const kept = await httpCall(parts.url('test/kept'));
    assert.equal(kept.status, 200);
    const other = await httpCall(parts.url('test/kept', '&platform=linux/arm64'));
    assert.deepEqual([other.status, codeOf(other)], [404, 'platform-not-found']);

    await publishSmall(parts, 'test/kept', 'second');
    await publishSmall(parts, 'test/new');
    parts.line.requests.length = 0;
    await using lazy = await startDockerProxy({
      env: {
        DOCKERPROXY_SOURCE: 'engine',
        DOCKERPROXY_PULL: 'missing',
        DOCKERPROXY_INSECURE_REGISTRIES: parts.line.host,
        DOCKER_HOST: parts.engine.dockerHost,
      },
    });
    const from = (name: string): string => parts.url(name).replace(parts.proxy.url, lazy.url);
    assert.ok((await httpCall(from('test/kept'))).body.equals(kept.body));
    assert.equal(parts.line.requests.length, 0);
    assert.equal((await httpCall(from('test/new'))).status, 200);
    assert.ok(parts.line.requests.length > 0);
  });

  test('pulled images are removed, least recently used first, and those of others stay', async () => {
    await using state = await temporaryFolder();
    await using parts = await startParts(bed, {
      DOCKERPROXY_ENGINE_KEEP: '2.5MiB',
      DOCKERPROXY_STATE_DIR: state.path,
    });
    const names = ['test/theirs', 'test/a', 'test/b', 'test/c', 'test/d'];
    for (const name of names) await publishLarge(parts, name, MIB);
    await parts.engine.docker('pull', `${parts.line.host}/test/theirs`);
    const there = async (): Promise<string[]> => {
      const { stdout } = await parts.engine.docker('image', 'ls', '--format', '{{.Repository}}');
      return stdout
        .split('\n')
        .filter(Boolean)
        .map((name) => name.slice(parts.line.host.length + 1))
        .sort();
    };
    for (const name of ['test/theirs', 'test/a', 'test/b', 'test/a', 'test/c']) {
      assert.equal((await httpCall(parts.url(name))).status, 200);
    }
    await waitFor(async () => !(await there()).includes('test/b'), { what: 'the least recently used to go' });
    assert.deepEqual(await there(), ['test/a', 'test/c', 'test/theirs']);

    // The record outlives the process.
    assert.equal(await parts.proxy.stop(), 0);
    const record = JSON.parse(await readFile(join(state.path, 'pulled-images.json'), 'utf8'));
    assert.deepEqual(
      record.images.map(({ name }: { name: string }) => name).sort(),
      ['test/a', 'test/c'].map((name) => `${parts.line.host}/${name}:latest`),
    );
    await using again = await startDockerProxy({
      env: {
        DOCKERPROXY_SOURCE: 'engine',
        DOCKERPROXY_ENGINE_KEEP: '2.5MiB',
        DOCKERPROXY_STATE_DIR: state.path,
        DOCKERPROXY_INSECURE_REGISTRIES: parts.line.host,
        DOCKER_HOST: parts.engine.dockerHost,
      },
    });
    assert.equal((await httpCall(parts.url('test/d').replace(parts.proxy.url, again.url))).status, 200);
    await waitFor(async () => !(await there()).includes('test/a'), { what: 'the older of the two to go' });
    assert.deepEqual(await there(), ['test/c', 'test/d', 'test/theirs']);
  });

  test('an image that another client has tagged stays, whichever client pulled it', async () => {
    await using state = await temporaryFolder();
    await using parts = await startParts(bed, {
      DOCKERPROXY_ENGINE_KEEP: '1.5MiB',
      DOCKERPROXY_STATE_DIR: state.path,
    });
    const { engine, line } = parts;
    /** Returns the number of images, and all tags. */
    const there = async (): Promise<string> => {
      const listed = async (...args: string[]): Promise<string[]> =>
        (await engine.docker('image', 'ls', ...args)).stdout.split('\n').filter(Boolean);
      const tags = (await listed('--format', '{{.Repository}}:{{.Tag}}')).filter(
        (tag) => !/<none>$/.test(tag),
      );
      const named = tags.map((tag) => tag.replace(`${line.host}/`, '')).sort();
      return [new Set(await listed('--quiet')).size, ...named].join(' ');
    };
    const fetched = async (name: string, content: string): Promise<void> => {
      await publishLarge(parts, name, MIB, content);
      assert.equal((await httpCall(parts.url(name))).status, 200);
    };
    const isLeft = async (wanted: string): Promise<void> => {
      await waitFor(async () => (await there()) === wanted).catch(async (error) => {
        throw new Error(`There is ${await there()}, not ${wanted}`, { cause: error });
      });
    };

    // Ours, tagged by the operator: neither its tag nor, once the registry has another one, its ID is removed.
    await fetched('test/a', 'first');
    await engine.docker('tag', `${line.host}/test/a`, 'mine/keep:1');
    await fetched('test/b', 'of b');
    await fetched('test/a', 'second');
    await isLeft('2 mine/keep:1 test/a:latest');

    // Our pull moved the operator's tag to another image. The tag stays, and the image still does not count.
    await publishLarge(parts, 'test/theirs', MIB, 'theirs');
    await engine.docker('pull', `${line.host}/test/theirs`);
    await fetched('test/theirs', 'newer');
    await fetched('test/c', 'of c');
    await isLeft('4 mine/keep:1 test/c:latest test/theirs:latest');
    // The ID that came from our pull has no name now, so it is removed. The older one is not ours.
    await fetched('test/theirs', 'newest');
    await fetched('test/d', 'of d');
    await isLeft('4 mine/keep:1 test/d:latest test/theirs:latest');

    // Two names that we pulled belong to one image, so both are removed.
    await fetched('test/e', 'the same');
    await fetched('test/f', 'the same');
    await isLeft('4 mine/keep:1 test/e:latest test/f:latest test/theirs:latest');
    await fetched('test/g', 'of g');
    await isLeft('4 mine/keep:1 test/g:latest test/theirs:latest');
  });

  test('two platforms of one name at once are two archives', async () => {
    await using parts = await startParts(bed);
    const other = { os: 'linux', architecture: 'arm64', variant: 'v8' };
    const made = await Promise.all(
      [PLATFORM, other].map(async (platform) =>
        image({ platform, layers: [await layer({ files: { ...platform } })] }),
      ),
    );
    await push(parts.registry.url, 'test/both', 'latest', index(made));
    const asked = ['amd64', 'arm64', 'amd64', 'arm64', 'arm64', 'amd64'];
    const answers = await Promise.all(
      asked.map((name, at) => httpCall(parts.url('test/both', `&platform=linux/${name}&stream=${at % 2}`))),
    );
    for (const [at, { status, body }] of answers.entries()) {
      assert.equal(status, 200);
      const config = made[asked[at] === 'amd64' ? 0 : 1]?.config.descriptor.digest.slice('sha256:'.length);
      assert.ok(body.includes(`"Config":"${config}.json"`), `${asked[at]}`);
      assert.ok(body.includes(`"RepoTags":["${parts.line.host}/test/both:latest"]`));
    }
  });
});

test('without an engine it does not start, and says where it looked', {
  skip: skipUnless('dockerd'),
}, async () => {
  const env = { DOCKERPROXY_SOURCE: 'engine', DOCKER_HOST: 'unix:///nowhere/docker.sock' };
  await assert.rejects(startDockerProxy({ env }), (error: Error) => {
    assert.match(error.message, /ended with 78/);
    assert.match(
      error.message,
      /No Docker engine answers at unix:\/\/\/nowhere\/docker\.sock \(.*ENOENT.*\)\. Start it, or say in DOCKER_HOST/,
    );
    return true;
  });
  await assert.rejects(
    startDockerProxy({ env: { ...env, DOCKER_HOST: 'ssh://host' } }),
    /DOCKER_HOST is "ssh:\/\/host": write it as/,
  );
});

/** Starts a request whose end is ignored. */
function ask(url: string): ClientRequest {
  return get(url).on('error', () => {});
}

/** A server-sent event stream, as it comes. */
function listen(url: string): { text: () => string; ended: Promise<void> } {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let text = '';
  get(url, (response) => {
    response.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    response.once('end', resolve).once('error', reject);
  }).once('error', reject);
  return { text: () => text, ended: promise };
}

/** Connections of the process to its clients with bytes on their way. */
async function downloadsUnderWay({ pid }: DockerProxy): Promise<number> {
  const { stdout } = await run('ss', ['-tnpH', 'state', 'established']);
  return stdout
    .split('\n')
    .filter((line) => line.includes(`pid=${pid},`) && Number(line.trim().split(/\s+/)[1]) > 0).length;
}
