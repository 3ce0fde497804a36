import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { json } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { startDownload } from '../support/download.ts';
import { assertForgedHeadersIgnored } from '../support/forged-headers.ts';
import { startHaproxy } from '../support/haproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { startRegistry } from '../support/registry.ts';
import { waitFor } from '../support/wait-for.ts';

suite('HAProxy in front of two services, as deploy/haproxy has it', {
  skip: skipUnless('haproxy', 'docker-registry', 'openssl'),
  timeout: 90_000,
}, () => {
  test('one of them can stop: its downloads end well, and other clients notice nothing', async () => {
    await using layer = await randomLayer(30_000_000, 'drain');
    await using registry = await startRegistry();
    const made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [layer] });
    await push(registry.url, 'team/app', 'one', made);
    const env = { DOCKERPROXY_INSECURE_REGISTRIES: registry.host, DOCKERPROXY_TRUST_PROXY: '127.0.0.1' };
    await using one = await startDockerProxy({ env });
    await using two = await startDockerProxy({ env });
    await using front = await startHaproxy([one.url, two.url]);

    const url = `${front.url}/dl?myimage=${registry.host}/team/app:one`;
    const serverOf = async (): Promise<string> => {
      const { status, headers } = await httpCall(url, { method: 'HEAD' });
      assert.equal(status, 200);
      return `${headers['x-server']}`;
    };
    const server = await serverOf();
    assert.equal(await serverOf(), server, 'one image is with one of them');

    const slow = startDownload(url, { pauseAt: 1_000_000, tls: { ca: front.ca } });
    await waitFor(() => slow.received() >= 1_000_000, { what: 'a download to be under way' });
    const stopped = server === 'one' ? one : two;
    process.kill(stopped.pid, 'SIGTERM');
    await waitFor(async () => (await serverOf()) !== server, { what: 'the other one to take over' });
    const whole = await startDownload(url, { tls: { ca: front.ca } }).done;

    slow.resume();
    const ended = await slow.done;
    assert.deepEqual([ended.status, ended.sha256], [200, whole.sha256]);
    assert.equal((await stopped.exited).code, 0);
  });

  test('headers from a client do not change the addresses that the service names', async () => {
    await using layer = await randomLayer(1_000, 'forged');
    await using registry = await startRegistry();
    const made = image({ platform: { os: 'linux', architecture: 'amd64' }, layers: [layer] });
    await push(registry.url, 'team/app', 'one', made);
    const env = { DOCKERPROXY_INSECURE_REGISTRIES: registry.host, DOCKERPROXY_TRUST_PROXY: '127.0.0.1' };
    await using one = await startDockerProxy({ env });
    await using front = await startHaproxy([one.url]);
    const path = `/dl?myimage=${registry.host}/team/app:one`;
    assert.deepEqual(await assertForgedHeadersIgnored(front.url, path), new Set([front.url]));
  });

  test('each of them knows the client by its own address', async () => {
    const env = { DOCKERPROXY_TRUST_PROXY: '127.0.0.1' };
    await using one = await startDockerProxy({ env });
    await using two = await startDockerProxy({ env });
    await using front = await startHaproxy([one.url, two.url]);
    const asked = get(`${front.url}/api/v1/limits`, {
      ...{ agent: false, ca: front.ca, localAddress: '127.0.0.2' },
      headers: { 'x-forwarded-for': '198.51.100.7' },
    });
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    assert.equal(((await json(response)) as { client: string }).client, '127.0.0.2');
  });
});
