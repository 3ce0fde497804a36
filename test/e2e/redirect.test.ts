import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { download } from '../support/download.ts';
import { httpCall } from '../support/http-request.ts';
import { image, index, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { startRegistry } from '../support/registry.ts';

suite('from a tag to the URL by digest', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  test('points at the image of the platform, once for all its names, and at no other', async () => {
    await using registry = await startRegistry();
    const layers = [await layer({ files: { one: '1' } })];
    const [amd64, arm64] = ['amd64', 'arm64'].map((architecture) =>
      image({ platform: { os: 'linux', architecture }, layers }),
    );
    assert.ok(amd64 && arm64);
    await push(registry.url, 'team/app', 'all', index([amd64, arm64]));
    await push(registry.url, 'team/app', 'amd64', amd64);
    await push(registry.url, 'team/app', 'arm64', arm64);
    await using proxy = await startDockerProxy({
      env: { DOCKERPROXY_INSECURE_REGISTRIES: registry.host },
    });
    const name = `${registry.host}/team/app`;
    const locationOf = async (query: string): Promise<string | undefined> =>
      (await httpCall(`${proxy.url}/dl?myimage=${name}:${query}&redirect=1`)).headers.location;

    const expected = `/dl?myimage=${name}@${amd64.descriptor.digest}`;
    for (const query of ['all', 'amd64', 'all&platform=linux/amd64', 'amd64&platform=linux/amd64']) {
      assert.equal(await locationOf(query), expected, query);
    }
    const other = `/dl?myimage=${name}@${arm64.descriptor.digest}`;
    assert.equal(await locationOf('arm64&platform=linux/arm64'), other);

    const { status, body } = await httpCall(`${proxy.url}/dl?myimage=${name}:arm64&redirect=1`);
    assert.equal(status, 404, 'a digest would give it for any platform');
    assert.match(`${body}`, /platform-not-found/);

    const kept = await download(`${proxy.url}${expected}`);
    assert.equal(kept.status, 200);
    assert.equal(kept.headers['cache-control'], 'public, max-age=31536000, immutable');
  });
});
