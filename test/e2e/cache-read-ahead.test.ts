import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import type { DockerProxy } from '../support/dockerproxy.ts';
import type { OngoingDownload } from '../support/download.ts';
import { skipUnless } from '../support/packages.ts';
import { waitFor } from '../support/wait-for.ts';
import {
  type CacheBed,
  filesOf,
  incomingPath,
  isKept,
  isQuiet,
  isRight,
  kill,
  type PublishedImage,
  sizeOf,
  startCacheBed,
  startOf,
} from './cache-bed.ts';

const MIB = 1024 * 1024;
const SIZE = 64 * MIB;
const AHEAD = 4 * MIB;
const env = { DOCKERPROXY_READ_AHEAD: '4MiB' };
/** Maximum bytes in the sockets and buffers between a process and a client that stopped reading. */
const SOCKETS = 16 * MIB;

suite('read-ahead of a fetch', { skip: skipUnless('docker-registry') }, () => {
  let bed: CacheBed;
  let large: PublishedImage;
  let layered: PublishedImage;

  before(async () => {
    bed = await startCacheBed();
    large = await bed.publish('test/ahead', [SIZE]);
    layered = await bed.publish('test/ahead-layered', [SIZE, 8 * MIB, 8 * MIB, 8 * MIB]);
  });
  after(() => bed[Symbol.asyncDispose]());

  const fetched = async (folder: string, { digest, size } = large.layer): Promise<number> =>
    (await sizeOf(incomingPath(folder, { digest, size }))) ?? 0;
  /** Starts a download that stops reading at once, and waits until its fetch stops, too. */
  const stopped = async (proxy: DockerProxy, folder: string): Promise<OngoingDownload> => {
    const client = bed.begin(proxy, large, 1);
    let last = -1;
    await waitFor(async () => {
      const now = await fetched(folder);
      const isStill = now > AHEAD && now === last;
      last = now;
      return isStill;
    });
    assert.ok(last < AHEAD + SOCKETS, `${last} bytes were fetched`);
    return client;
  };
  const wanted = async (folder: string): Promise<string[]> =>
    [...(await filesOf(folder)).keys()].filter((name) => name.endsWith('.wanted'));

  test('is bounded, and continues with the client', async () => {
    await using proxy = await bed.startAnew({ ...env, DOCKERPROXY_DAILY_BYTES: '1GiB' });
    const counted = async (): Promise<number> => {
      const response = await fetch(`${proxy.url}/api/v1/limits`);
      const { bytes } = (await response.json()) as { bytes: { limit: number; remaining: number } };
      return bytes.limit - bytes.remaining;
    };
    const client = await stopped(proxy, proxy.folder);
    assert.ok((await counted()) >= AHEAD, 'what was fetched for the client counts');
    client.resume();
    isRight(await client.done, large);
    assert.equal(await counted(), large.expected.size, 'each byte counts once');
    assert.deepEqual(bed.gets(large.layer.digest).map(startOf), [0]);
    await isKept(proxy.folder, large.layer);
    await isQuiet(proxy);
  });

  test('includes the next layers of the download', async () => {
    await using proxy = await bed.startAnew(env);
    const client = bed.begin(proxy, layered, 1);
    const [, ...later] = layered.layers;
    await waitFor(() => later.every(({ digest }) => bed.gets(digest).length === 1));
    const [first] = layered.layers;
    await waitFor(async () => (await fetched(proxy.folder, first)) > AHEAD);
    for (const one of later)
      assert.ok((await fetched(proxy.folder, one)) <= MIB, 'a layer was fetched too early');
    client.resume();
    isRight(await client.done, layered);
    for (const { digest } of layered.layers) assert.deepEqual(bed.gets(digest).map(startOf), [0]);
  });

  test('applies to a client of another process, which follows the file', async () => {
    const folder = await bed.newFolder();
    await using one = await bed.start(folder, env);
    await using other = await bed.start(folder, env);
    const client = await stopped(one, folder);
    await bed.check(other, large);
    assert.deepEqual(bed.gets(large.layer.digest).map(startOf), [0]);
    client.resume();
    isRight(await client.done, large);
    for (const proxy of [one, other]) await isQuiet(proxy);
    assert.deepEqual(await wanted(folder), []);
  });

  for (const [what, end] of [
    ['is killed while it waits', (one: DockerProxy) => kill(one)],
    ['loses its client while it waits', async (_one: DockerProxy, client: OngoingDownload) => client.leave()],
    ['stops while it waits', async (one: DockerProxy) => void (await one.stop())],
  ] as const) {
    test(`if the fetching process ${what}, another one continues by Range`, async () => {
      const folder = await bed.newFolder();
      await using one = await bed.start(folder, { ...env, DOCKERPROXY_DRAIN: '1s' });
      await using other = await bed.start(folder, env);
      const client = await stopped(one, folder);
      client.done.catch(() => {});
      const following = bed.begin(other, large, 1);
      await waitFor(() => following.received() > 0);
      await end(one, client);
      following.resume();
      isRight(await following.done, large);
      const starts = bed.gets(large.layer.digest).map(startOf);
      assert.ok(starts.length === 2 && (starts[1] ?? 0) > AHEAD, `${starts}`);
      await isKept(folder, large.layer);
      await isQuiet(other);
    });
  }
});
