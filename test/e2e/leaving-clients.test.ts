import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';

const ERROR = 50;
/** Each leaves later than the one before, in turns of the event loop. */
const CLIENTS = 24;

/** Sends a request, and closes the connection some turns of the event loop after the first byte, or before any. */
async function leave(url: URL, turns: number): Promise<void> {
  const socket = connect(Number(url.port), url.hostname).on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`);
  if (turns > 0) await new Promise((resolve) => socket.once('data', resolve).once('close', resolve));
  for (let turn = 1; turn < turns; turn += 1) await setImmediate();
  socket.destroy();
  await closed;
}

suite('a client that leaves at any time', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  const parts = new AsyncDisposableStack();
  let registry: Registry;
  let layers: readonly string[];

  before(async () => {
    registry = parts.use(await startRegistry());
    const text = (name: string) => Array.from({ length: 20_000 }, (_, at) => `${name} ${at}\n`).join('');
    const made = image({
      platform: { os: 'linux', architecture: 'amd64' },
      layers: await Promise.all(
        ['a', 'b', 'c'].map((name) =>
          layer({ files: { [`etc/${name}`]: text(name), [`srv/${name}`]: name } }),
        ),
      ),
    });
    layers = made.layers.map(({ descriptor }) => descriptor.digest);
    await push(registry.url, 'test/left', 'v1', made);
  });
  after(() => parts.disposeAsync());

  for (const size of ['1GB', '0']) {
    test(`ends its own request only, with a cache of ${size}`, async () => {
      await using proxy = await startDockerProxy({
        env: {
          DOCKERPROXY_REGISTRIES: `docker.io=http://${registry.host}`,
          DOCKERPROXY_CACHE_SIZE: size,
        },
      });
      const paths = [
        ...['docker', 'oci', 'rootfs', 'docker-classic'].map(
          (format) => `/dl?myimage=test/left:v1&format=${format}`,
        ),
        `/dl?myimage=test/left:v1&format=rootfs&compress=gzip`,
        `/file?myimage=test/left:v1&path=/etc`,
        `/file?myimage=test/left:v1&path=/etc/c`,
        `/api/v1/image?myimage=test/left:v1`,
        `/v2/test/left/blobs/${layers[0]}`,
        '/',
      ];
      for (const path of paths) {
        const url = new URL(path, proxy.url);
        for (let turns = 0; turns < CLIENTS; turns += 4)
          await Promise.all([0, 1, 2, 3].map((more) => leave(url, turns + more)));
      }
      for (const path of paths) assert.equal((await httpCall(`${proxy.url}${path}`)).status, 200, path);
      assert.deepEqual(
        proxy.logs().filter(({ level }) => level >= ERROR),
        [],
      );
    });
  }
});
