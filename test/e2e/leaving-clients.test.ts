import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { image, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { waitFor } from '../support/wait-for.ts';

const ERROR = 50;
/** Each leaves later than the one before, in turns of the event loop. */
const CLIENTS = 12;
/** Connections to the registry that stay open for the next request. */
const KEPT_ALIVE = 8;
const PLATFORM = { platform: { os: 'linux', architecture: 'amd64' } };
const NOTHING = { active: [0, 0], isClosed: true };

/** Each way to send a request and leave. Two requests are pipelined. */
const METHODS = [['GET'], ['HEAD'], ['GET', 'GET']] as const;

/**
 * Sends requests, and closes or resets the connection some turns of the event loop after the first byte, or before any.
 */
async function leave(url: URL, turns: number): Promise<void> {
  const transport = connect(Number(url.port), url.hostname).on('error', () => {});
  const closed = new Promise((resolve) => transport.once('close', resolve));
  const socket =
    url.protocol === 'https:'
      ? connectTls({ socket: transport, rejectUnauthorized: false }).on('error', () => {})
      : transport;
  const methods = METHODS[turns % METHODS.length] ?? [];
  const range = turns % 4 === 3 ? 'Range: bytes=1000-\r\n' : '';
  for (const method of methods)
    socket.write(`${method} ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n${range}\r\n`);
  if (turns > 0) await new Promise((resolve) => socket.once('data', resolve).once('close', resolve));
  for (let turn = 1; turn < turns; turn += 1) await setImmediate();
  if (turns % 2 === 0) transport.destroy();
  else transport.resetAndDestroy();
  await closed;
}

/** Returns the gauges of transfers, and whether the process has the same number of descriptors as before. */
async function leftovers(metrics: string, pid: number, descriptors: number): Promise<unknown> {
  const text = (await httpCall(metrics)).body.toString();
  const active = [...text.matchAll(/^dockerproxy_\w+_active (\d+)$/gm)].map(([, value]) => Number(value));
  return { active, isClosed: (await readdir(`/proc/${pid}/fd`)).length <= descriptors };
}

suite('a client that leaves at any time', { skip: skipUnless('docker-registry'), timeout: 600_000 }, () => {
  const parts = new AsyncDisposableStack();
  let registry: Registry;
  let layers: readonly string[];

  before(async () => {
    registry = parts.use(await startRegistry());
    const text = (name: string) => Array.from({ length: 20_000 }, (_, at) => `${name} ${at}\n`).join('');
    const made = image({
      ...PLATFORM,
      layers: await Promise.all(
        ['a', 'b', 'c'].map((name) =>
          layer({ files: { [`etc/${name}`]: text(name), [`srv/${name}`]: name } }),
        ),
      ),
    });
    layers = made.layers.map(({ descriptor }) => descriptor.digest);
    await push(registry.url, 'test/left', 'v1', made);
    await push(registry.url, 'test/other', 'v1', image({ ...PLATFORM, layers: made.layers.slice(1) }));
  });
  after(() => parts.disposeAsync());

  for (const { size, tls } of [
    { size: '1GB', tls: 'off' },
    { size: '0', tls: 'self-signed' },
  ]) {
    test(`ends its own request only, with a cache of ${size} and TLS ${tls}`, async () => {
      await using proxy = await startDockerProxy({
        env: {
          DOCKERPROXY_REGISTRIES: `docker.io=http://${registry.host}`,
          DOCKERPROXY_CACHE_SIZE: size,
          DOCKERPROXY_TLS: tls,
          DOCKERPROXY_METRICS_PORT: '0',
          DOCKERPROXY_DOWNLOADS_PER_IP: '1000',
        },
      });
      const paths = [
        ...['docker', 'oci', 'rootfs', 'docker-classic'].map(
          (format) => `/dl?myimage=test/left:v1&format=${format}`,
        ),
        `/dl?myimage=test/left:v1&format=rootfs&compress=gzip`,
        `/file?myimage=test/left:v1&path=/etc`,
        `/file?myimage=test/left:v1&path=/etc/c`,
        `/dl?myimage=test/left:v1&myimage=test/other:v1`,
        `/dl?myimage=test/left:v1&have=test/other:v1`,
        `/dl?myimage=test/left:v1&checksum=1`,
        `/dl/status?myimage=test/left:v1`,
        `/api/v1/image?myimage=test/left:v1`,
        `/v2/test/left/manifests/v1`,
        `/v2/test/left/blobs/${layers[0]}`,
        '/',
      ];
      const line = await waitFor(() => proxy.logs().find(({ msg }) => msg.startsWith('Metrics are at ')));
      const metrics = line.msg.slice('Metrics are at '.length);
      await httpCall(metrics);
      const descriptors = (await readdir(`/proc/${proxy.pid}/fd`)).length + KEPT_ALIVE;
      for (const path of paths) {
        const url = new URL(path, proxy.url);
        for (let turns = 0; turns < CLIENTS; turns += 8)
          await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((more) => leave(url, turns + more)));
      }
      for (const path of paths) assert.equal((await httpCall(`${proxy.url}${path}`)).status, 200, path);
      await waitFor(
        async () => isDeepStrictEqual(await leftovers(metrics, proxy.pid, descriptors), NOTHING),
        {
          what: 'the end of all transfers',
        },
      );
      const limits = JSON.parse((await httpCall(`${proxy.url}/api/v1/limits`)).body.toString());
      assert.equal(limits.downloads.active, 0);
      assert.deepEqual(
        proxy.logs().filter(({ level }) => level >= ERROR),
        [],
      );
      assert.equal(proxy.stderr(), '');
    });
  }
});
