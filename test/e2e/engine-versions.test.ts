import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type FakeEngine, type FakeEngineOptions, startFakeEngine } from '../support/fake-engine.ts';
import { type HttpResponse, httpCall } from '../support/http-request.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

/** No server listens there. The stand-in for an engine only claims to pull. */
const REGISTRY = '127.0.0.1:1';
const AMD64 = 'linux/amd64';
const ARM64 = 'linux/arm64';
/** Images have 1 MiB each, so the limit allows one. */
const KEEP = '1.5MiB';

const ADVICE = 'An engine that has a layer in another compression does not pull it again.';

interface Parts extends AsyncDisposable {
  engine: FakeEngine;
  proxy: DockerProxy;
  get(query: string): Promise<HttpResponse>;
  /** The names and IDs that the service knows for its own. */
  record(): Promise<[name: string, id: string][]>;
  /** The requests to the engine from here on. */
  begin(): () => string[];
}

async function startParts(options: FakeEngineOptions, env: NodeJS.ProcessEnv = {}): Promise<Parts> {
  const stack = new AsyncDisposableStack();
  const engine = stack.use(await startFakeEngine(options));
  const state = stack.use(await temporaryFolder());
  const proxy = stack.use(
    await startDockerProxy({
      env: {
        DOCKERPROXY_SOURCE: 'engine',
        DOCKERPROXY_INSECURE_REGISTRIES: REGISTRY,
        DOCKERPROXY_STATE_DIR: state.path,
        DOCKER_HOST: engine.dockerHost,
        ...env,
      },
    }),
  );
  return {
    engine,
    proxy,
    get: (query) => httpCall(`${proxy.url}/dl?myimage=${REGISTRY}/${query}`),
    async record() {
      const { images } = JSON.parse(await readFile(join(state.path, 'pulled-images.json'), 'utf8'));
      return images.map(({ name, id }: { name: string; id: string }) => [short(name), id]);
    },
    begin() {
      const from = engine.requests.length;
      return () => engine.requests.slice(from).map(short);
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function short(text: string): string {
  return text.replaceAll(`${REGISTRY}/`, '');
}

function full(name: string): string {
  return `${REGISTRY}/${name}`;
}

function codeOf({ body }: HttpResponse): string {
  return (JSON.parse(`${body}`) as { code: string }).code;
}

suite('engines of any version', () => {
  const amd64 = 'platform={"os":"linux","architecture":"amd64"}';
  const kinds: [FakeEngineOptions, inspects: string[], save: string][] = [
    [{ apiVersion: '1.41', store: 'overlay2' }, [''], ''],
    [{ apiVersion: '1.41', store: 'containerd' }, [''], ''],
    [{ apiVersion: '1.48', store: 'overlay2' }, [''], ''],
    [{ apiVersion: '1.48', store: 'containerd' }, [''], `&${amd64}`],
    [{ apiVersion: '1.51', store: 'overlay2' }, [''], ''],
    [{ apiVersion: '1.51', store: 'containerd' }, ['', `?${amd64}`], `&${amd64}`],
  ];
  for (const [options, inspects, save] of kinds) {
    const { apiVersion, store } = options;

    test(`API ${apiVersion}, ${store}: what is asked for`, async () => {
      await using parts = await startParts(options);
      parts.engine.publish(full('a:latest'), [AMD64, ARM64]);
      const requests = parts.begin();
      assert.equal((await parts.get('a')).status, 200);
      const at = `/v${apiVersion}/images`;
      const look = inspects.map((query) => `GET ${at}/a:latest/json${query}`);
      assert.deepEqual(
        requests().filter((request) => !request.endsWith('/images/json')),
        [
          // After a missing name, the platform is not requested separately.
          ...look.slice(0, 1),
          `POST ${at}/create?fromImage=a&tag=latest&platform=linux/amd64`,
          ...look,
          `GET ${at}/get?names=a:latest${save}`,
          ...look,
        ],
      );
      const { digest } = parts.engine.publish(full('b:latest'), [AMD64]);
      const both = await parts.get(`a&myimage=${full(`b@${digest}`)}`);
      assert.equal(both.status, 200, `a tag and a digest in one archive: ${both.body}`);
    });

    test(`API ${apiVersion}, ${store}: what was pulled goes again, and nothing else`, async () => {
      await using parts = await startParts(options, { DOCKERPROXY_ENGINE_KEEP: KEEP });
      const { engine } = parts;
      const names = ['theirs', 'a', 'b', 'c'];
      for (const name of names) engine.publish(full(`${name}:latest`), [AMD64, ARM64]);
      engine.pull(full('theirs:latest'));
      for (const name of names) assert.equal((await parts.get(name)).status, 200);
      const left = (): string[] => engine.images().map(short);
      await waitFor(() => left().length === 2, { what: 'all but the last to go' });
      assert.deepEqual(left(), ['c:latest', 'theirs:latest']);
      await waitFor(async () => (await parts.record()).length === 1, { what: 'the record' });
      assert.deepEqual((await parts.record())[0]?.[0], 'c:latest');
    });

    test(`API ${apiVersion}, ${store}: a platform that is not there, where nothing is pulled`, async () => {
      await using parts = await startParts(options, { DOCKERPROXY_PULL: 'never' });
      parts.engine.publish(full('a:latest'), [AMD64, ARM64]);
      parts.engine.pull(full('a:latest'));
      assert.equal((await parts.get('a')).status, 200);
      const missing = await parts.get('a&platform=linux/arm64');
      assert.deepEqual([missing.status, codeOf(missing)], [404, 'platform-not-found']);
      assert.match(`${missing.body}`, /Available platforms: linux\/amd64/);
      assert.equal(codeOf(await parts.get('b')), 'image-not-found');
    });
  }

  test('in the containerd store, each platform is an archive, and all go together', async () => {
    await using parts = await startParts(
      { apiVersion: '1.51', store: 'containerd' },
      { DOCKERPROXY_ENGINE_KEEP: KEEP },
    );
    const { engine } = parts;
    const { digest } = engine.publish(full('a:latest'), [AMD64, ARM64]);
    engine.publish(full('b:latest'), [AMD64]);
    const etags = new Set<string | undefined>();
    for (const query of ['a', 'a&platform=linux/arm64', 'a']) {
      const { status, headers } = await parts.get(query);
      assert.equal(status, 200);
      etags.add(headers.etag);
    }
    assert.equal(etags.size, 2);
    assert.deepEqual(await parts.record(), [['a:latest', digest]]);
    assert.equal((await parts.get('b')).status, 200);
    await waitFor(() => engine.images().length === 1, { what: 'both platforms to go' });
    assert.deepEqual(engine.images().map(short), ['b:latest']);
  });

  test('in the containerd store, images for two platforms are saved with all pulled blobs', async () => {
    await using parts = await startParts({ apiVersion: '1.51', store: 'containerd' });
    parts.engine.publish(full('a:latest'), [AMD64]);
    const { manifests } = parts.engine.publish(full('b:latest'), [AMD64, ARM64]);
    const requests = parts.begin();
    const exact = `b@${manifests.get(ARM64)}`;
    const answer = await parts.get(`a&myimage=${full(exact)}`);
    assert.equal(answer.status, 200, `${answer.body}`);
    assert.deepEqual(
      requests().filter((request) => request.includes('/images/get')),
      [`GET /v1.51/images/get?names=a:latest&names=${exact}`],
    );
  });

  test('a blob that the engine leaves out is a 502 with the reason, in the log too', async () => {
    await using parts = await startParts({ apiVersion: '1.51', store: 'containerd' });
    const { layers } = parts.engine.publish(full('a:latest'), [AMD64, ARM64]);
    const layer = layers.get(AMD64)?.replace('sha256:', '') ?? '';
    parts.engine.leaveOut((file) => file.endsWith(layer));
    const answers: HttpResponse[] = [];
    // A busy machine sheds load at first.
    const isAnswered = async (): Promise<boolean> => {
      answers.unshift(await parts.get('a'));
      return answers[0]?.status !== 503;
    };
    await waitFor(isAnswered, { what: 'an answer' });
    assert.equal(answers[0]?.status, 502);
    assert.match(`${answers[0].body}`, new RegExp(`Missing files: \\d+, such as \\\\"blobs/sha256/${layer}`));
    const told = (): string[] => {
      const lines = parts.proxy.logs().map((record) => JSON.stringify(record));
      return lines.filter((line) => line.includes(`blobs/sha256/${layer}`) && line.includes(ADVICE));
    };
    await waitFor(() => told().length === 1, { what: 'the reason in the log' });
    await assert.rejects(parts.get('a&stream=1'), 'the connection breaks');
    await waitFor(() => told().length === 2, { what: 'the reason in the log, with stream=1' });
    parts.engine.leaveOut(() => false);
    assert.equal((await parts.get('a')).status, 200);
  });
});
