import assert from 'node:assert/strict';
import { after, before, beforeEach, suite, test } from 'node:test';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';

suite('a tag that its repository does not have', {
  skip: skipUnless('docker-registry'),
  timeout: 90_000,
}, () => {
  let resources: AsyncDisposableStack;
  let registry: FaultProxy;
  let proxy: DockerProxy;

  before(async () => {
    resources = new AsyncDisposableStack();
    const real = resources.use(await startRegistry());
    const layers = [await layer({ files: { one: '1' } })];
    const made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers });
    for (const name of ['team/app', 'team/other', 'team/unlisted'])
      for (const tag of ['1.36', '1.36-musl', 'latest']) await push(real.url, name, tag, made);
    registry = resources.use(await startFaultProxy(real.url));
    proxy = resources.use(
      await startDockerProxy({ env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host } }),
    );
  });
  after(() => resources.disposeAsync());
  beforeEach(() => {
    registry.inject(undefined);
    registry.requests.length = 0;
  });

  const problemOf = async (path: string): Promise<Record<string, unknown>> =>
    JSON.parse(`${(await httpCall(`${proxy.url}${path}`)).body}`) as Record<string, unknown>;
  const lists = (): number => registry.requests.filter(({ path }) => path.includes('/tags/list')).length;

  test('is an error with similar tags in every API, and fetches the list once', async () => {
    const name = `${registry.host}/team/app`;
    for (const path of [
      `/dl?myimage=${name}:1.36-mussl`,
      `/dl/${name}:1.36-mussl.tar`,
      `/dl?myimage=${name}&myimage=${name}:1.36-mussl`,
      `/dl?myimage=${name}:1.36-mussl&format=oci&platform=all`,
      `/api/v1/image?myimage=${name}:1.36-mussl`,
    ]) {
      const { status, code, detail, similarTags, repository, tag } = await problemOf(path);
      assert.deepEqual([status, code], [404, 'tag-not-found'], path);
      assert.deepEqual([repository, tag, similarTags], [name, '1.36-mussl', ['1.36-musl', '1.36']]);
      assert.equal(detail, `${name} has no tag 1.36-mussl. Similar tags: 1.36-musl, 1.36.`);
    }
    assert.equal(lists(), 1);
  });

  test('is missing or private if the registry says so, without fetching a list', async () => {
    registry.inject(() => ({ kind: 'answer', status: 401 }));
    const { code, detail } = await problemOf(`/dl?myimage=${registry.host}/team/other:none`);
    assert.equal(code, 'image-not-found');
    assert.equal(detail, `The image ${registry.host}/team/other is missing or private.`);
    assert.equal(lists(), 0);
  });

  test('is a plain error if the tags cannot be listed or the repository does not exist', async () => {
    registry.inject(({ path }) =>
      path.includes('/tags/list') ? { kind: 'answer', status: 403 } : undefined,
    );
    for (const name of ['team/unlisted', 'team/nothing']) {
      const { code, detail } = await problemOf(`/dl?myimage=${registry.host}/${name}:none`);
      assert.equal(code, 'image-not-found');
      assert.equal(detail, `The image ${registry.host}/${name}:none does not exist.`);
      registry.inject(undefined);
    }
  });
});
