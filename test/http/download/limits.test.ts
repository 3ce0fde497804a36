import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import type { CountingStore } from '../../../src/limits/counting-store.ts';
import { createMemoryCountingStore } from '../../../src/limits/memory-counting-store.ts';
import type { LiveArchive } from '../../../src/sources/image-source.ts';
import { waitFor } from '../../support/wait-for.ts';
import {
  type Answer,
  DIGEST,
  ETAG,
  FILE,
  problemOf,
  type RunningServer,
  requestHead,
  type ServerSetup,
  sampleArchive,
  soon,
  startServer,
} from '../samples.ts';

const DL = '/dl?myimage=busybox';

/** An archive that sends only its first bytes until the connection ends. */
function endless(): Readable {
  const stream = new Readable({ read: () => {} });
  stream.push(FILE.subarray(0, 100));
  return stream;
}

const ENDLESS: ServerSetup = { open: () => sampleArchive({ read: endless }) };

/** Starts a download, and leaves it open after its first bytes. */
async function begin(server: RunningServer, path: string): Promise<Socket> {
  const socket = connect(server.port, '127.0.0.1');
  socket.on('error', () => {}).write(requestHead('GET', path));
  const [head] = (await once(socket, 'data', soon())) as [Buffer];
  assert.match(head.toString('latin1'), /^HTTP\/1\.1 200 /);
  return socket;
}

async function activeDownloads(server: RunningServer): Promise<number> {
  const { body } = await server.get('/api/v1/limits');
  return (JSON.parse(body.toString()) as { downloads: { active: number } }).downloads.active;
}

async function bytesLeft(server: RunningServer): Promise<number> {
  const { body } = await server.get('/api/v1/limits');
  return (JSON.parse(body.toString()) as { bytes: { remaining: number } }).bytes.remaining;
}

function assertRefused(answer: Answer, code: string, policy: string): void {
  assert.equal(answer.status, 429, answer.head);
  const problem = problemOf(answer) as ReturnType<typeof problemOf> & { 'violated-policies': string[] };
  assert.equal(problem.code, code);
  assert.deepEqual(problem['violated-policies'], [policy]);
  assert.ok(Number(answer.header('retry-after')) > 0);
  assert.equal(answer.header('ratelimit-remaining'), '0');
  assert.match(answer.header('ratelimit') ?? '', new RegExp(`^"${policy}";r=0;t=\\d+$`));
  for (const name of ['etag', 'content-disposition', 'content-range', 'docker-content-digest'])
    assert.equal(answer.header(name), undefined, name);
}

suite('downloads of a client at once', { timeout: 600_000 }, () => {
  test('are refused past the limit, before the source is asked, until one ends', async () => {
    await using server = await startServer({ ...ENDLESS, limits: { downloadsPerIp: 2 } });
    const first = await begin(server, '/dl?myimage=a');
    const second = await begin(server, '/dl?myimage=b');
    const answer = await server.get('/dl?myimage=d');
    assertRefused(answer, 'too-many-downloads', 'downloads');
    assert.equal(answer.reason, 'Limit of 2 downloads at once; wait until one ends');
    assert.equal(answer.header('ratelimit-policy'), '"downloads";q=2;qu="concurrent-requests"');
    assert.equal(server.requests.length, 2);
    first.destroy();
    await waitFor(async () => (await activeDownloads(server)) === 1);
    const third = await begin(server, '/dl?myimage=d');
    for (const socket of [second, third]) socket.destroy();
    await waitFor(async () => (await activeDownloads(server)) === 0);
  });

  test('for one archive count once, however its URL is written', async () => {
    await using server = await startServer({ ...ENDLESS, limits: { downloadsPerIp: 1 } });
    const sockets = [];
    for (const path of [
      DL,
      DL,
      '/dl/busybox.tar',
      '/dl?myimage=docker.io/library/busybox:latest',
      '/dl/index.docker.io%2Fbusybox.tar',
    ])
      sockets.push(await begin(server, path));
    assert.equal(await activeDownloads(server), 1);
    for (const other of [
      `${DL}&platform=linux/arm64`,
      `${DL}&format=oci`,
      `${DL}&myimage=a`,
      '/dl?myimage=busybox:1',
    ])
      assertRefused(await server.get(other), 'too-many-downloads', 'downloads');
    for (const socket of sockets.slice(1)) socket.destroy();
    assertRefused(await server.get('/dl?myimage=a'), 'too-many-downloads', 'downloads');
    sockets[0]?.destroy();
    await waitFor(async () => (await activeDownloads(server)) === 0);
  });

  test('end with their requests, however these end', async () => {
    const ends: ServerSetup[] = [
      {},
      { open: () => Promise.reject(new Error('a mistake of ours')) },
      { allow: [] },
      { open: () => sampleArchive({ read: () => Readable.from([FILE.subarray(0, 1)]) }) },
      {
        open: () =>
          sampleArchive({
            read: () => {
              throw new Error('at once');
            },
          }),
      },
    ];
    for (const setup of ends) {
      await using server = await startServer({ ...setup, limits: { downloadsPerIp: 1 } });
      for (const image of ['a', 'b', 'd']) {
        const answer = await server.get(`/dl?myimage=${image}`);
        assert.notEqual(answer.status, 429);
        await server.get(`/dl?myimage=${image}`, { 'if-none-match': ETAG });
        await server.get(`/dl?myimage=${image}`, { range: 'bytes=99999-' });
      }
      await waitFor(async () => (await activeDownloads(server)) === 0);
    }
  });

  test('that follow each other on one connection are never two', async () => {
    await using server = await startServer({ limits: { downloadsPerIp: 1 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let at = 0; at < 20; at += 1) {
      const asked = get({ port: server.port, path: `/dl?myimage=a/${at}`, agent });
      const [response] = (await once(asked, 'response', soon())) as [IncomingMessage];
      assert.equal(response.statusCode, 200);
      assert.ok((await buffer(response)).equals(FILE));
    }
    agent.destroy();
  });

  test('include those whose image is still looked for, and who watches it', async () => {
    const never = new Promise<never>(() => {});
    await using server = await startServer({ open: () => never, limits: { downloadsPerIp: 1 } });
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {}).write(requestHead('GET', '/dl/status?myimage=a'));
    await waitFor(() => server.requests.length === 1);
    assert.equal(await activeDownloads(server), 1);
    const download = connect(server.port, '127.0.0.1');
    download.on('error', () => {}).write(requestHead('GET', '/dl?myimage=a'));
    await waitFor(() => server.requests.length === 2);
    assertRefused(await server.get('/dl/status?myimage=b'), 'too-many-downloads', 'downloads');
    assertRefused(await server.get('/dl?myimage=b'), 'too-many-downloads', 'downloads');
    for (const open of [socket, download]) open.destroy();
    await waitFor(async () => (await activeDownloads(server)) === 0);
  });

  test('are released by clients that disconnect while they wait', async () => {
    const memory = createMemoryCountingStore(Date.now);
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    const store: CountingStore = {
      ...memory,
      async acquire(lease, most) {
        asked.resolve();
        await answer.promise;
        return memory.acquire(lease, most);
      },
    };
    await using server = await startServer({ store, limits: { downloadsPerIp: 1 } });
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {}).write(requestHead('GET', DL));
    await asked.promise;
    socket.destroy();
    await server.logged(/^\[LEFT\] busybox/);
    answer.resolve();
    await waitFor(async () => (await activeDownloads(server)) === 0 && server.requests.length === 1);
  });

  test('do not include HEAD, unless it costs what a download does', async () => {
    for (const preparesArchives of [false, true]) {
      await using server = await startServer({
        ...ENDLESS,
        traits: { preparesArchives },
        limits: { downloadsPerIp: 1 },
      });
      const socket = await begin(server, '/dl?myimage=a');
      assert.equal((await server.send('HEAD', '/dl?myimage=a')).status, 200);
      assert.equal((await server.send('HEAD', '/dl?myimage=b')).status, preparesArchives ? 429 : 200);
      socket.destroy();
    }
  });

  test('include whatever is asked about several platforms, which is hundreds of requests to a registry', async () => {
    const all = '&platform=all&format=oci';
    await using server = await startServer({ ...ENDLESS, limits: { downloadsPerIp: 1 } });
    const socket = await begin(server, '/dl?myimage=a');
    const asked = server.requests.length;
    for (const [method, path] of [
      ['HEAD', `/dl?myimage=b${all}`],
      ['HEAD', `/dl?myimage=b${all}&referrers=1`],
      ['HEAD', '/dl?myimage=b&platform=linux/amd64,linux/arm64&format=oci'],
      ['HEAD', `/dl?myimage=b${all}&checksum=1`],
      ['GET', `/dl?myimage=b${all}&redirect=1`],
      ['GET', `/api/v1/delta?myimage=b&have=c${all}`],
    ] as const)
      assert.equal((await server.send(method, path)).status, 429, `${method} ${path}`);
    assert.equal(server.requests.length, asked);
    socket.destroy();
    await waitFor(async () => (await activeDownloads(server)) === 0);
    assert.equal((await server.send('HEAD', `/dl?myimage=b${all}&referrers=1`)).status, 200);
    await waitFor(async () => (await activeDownloads(server)) === 0);
  });

  test('count for each client separately, except for the whole service', async () => {
    const limits = { downloadsPerIp: 1, maxDownloads: 2 };
    await using server = await startServer({ ...ENDLESS, trustProxy: ['127.0.0.1'], limits });
    const open = async (client: string, image: string): Promise<Socket> => {
      const socket = connect(server.port, '127.0.0.1');
      const path = `/dl?myimage=${image}`;
      socket.on('error', () => {}).write(requestHead('GET', path, { 'x-forwarded-for': client }));
      await once(socket, 'data', soon());
      return socket;
    };
    const sockets = [await open('192.0.2.1', 'a'), await open('192.0.2.2', 'a')];
    const answer = await server.get('/dl?myimage=a', { 'x-forwarded-for': '192.0.2.3' });
    assertRefused(answer, 'service-full', 'service');
    assert.match(problemOf(answer).detail, /Downloads in progress on this service: 2,.*\(MAX_DOWNLOADS\)/);
    for (const socket of sockets) socket.destroy();
  });
});

suite('bytes of a day', { timeout: 600_000 }, () => {
  const limits = { dailyBytes: 15_000 };

  test('count what was sent, and neither HEAD nor what is not modified', async () => {
    await using server = await startServer({ limits });
    await server.send('HEAD', DL);
    await server.get(DL, { 'if-none-match': ETAG });
    await server.get(DL, { 'if-match': '"x"' });
    await server.get(DL, { range: 'bytes=20000-' });
    assert.equal(await bytesLeft(server), 15_000);
    await server.get(DL, { range: 'bytes=100-299' });
    assert.equal(await bytesLeft(server), 14_800);
    await server.get(DL);
    assert.equal(await bytesLeft(server), 4_800);
  });

  test('are saved when a download ends', async () => {
    const store = createMemoryCountingStore(Date.now);
    await using server = await startServer({ limits, store });
    await server.get(DL);
    await waitFor(async () => {
      const [count] = await store.add([{ counter: 'bytes 127.0.0.1', amount: 0, window: 86_400_000 }]);
      return count?.value === 10_000;
    });
  });

  test('count what was sent of a download that broke off', async () => {
    await using server = await startServer({ ...ENDLESS, limits });
    // Unsent bytes are not charged, either: nine thousand bytes each would be too many.
    for (let times = 1; times <= 4; times += 1) {
      (await begin(server, DL)).destroy();
      await waitFor(() => server.log.filter(({ msg }) => msg.startsWith('[LEFT]')).length === times);
      assert.equal(await bytesLeft(server), 15_000 - times * 100);
    }
  });

  test('that are used up refuse what begins, and say when they are back', async () => {
    await using server = await startServer({ limits });
    for (let time = 0; time < 2; time += 1) assert.equal((await server.get(DL)).status, 200);
    assert.equal(await bytesLeft(server), 0);
    const answer = await server.get(DL);
    assertRefused(answer, 'daily-bytes-used', 'bytes');
    assert.equal(answer.reason, '14.6 KiB a day are the limit; go on in 24 h');
    assert.ok(Number(answer.header('retry-after')) > 86_000);
    assert.equal(answer.header('ratelimit-policy'), '"bytes";q=15000;w=86400;qu="content-bytes"');
    assert.equal((await server.send('HEAD', DL)).status, 200);
    assert.equal((await server.get(DL, { 'if-none-match': ETAG })).status, 304);
  });

  test('that are used up let a download that was begun go on', async () => {
    await using server = await startServer({
      limits: { dailyBytes: 9_000 },
      open: ({ references: [reference] }) => sampleArchive({ etag: `"${reference?.path}"` }),
    });
    await server.get('/dl?myimage=a/a', { range: 'bytes=0-5999' });
    await server.get('/dl?myimage=a/b', { range: 'bytes=0-5999' });
    assert.equal((await server.get('/dl?myimage=a/d')).status, 429);
    for (const image of ['a/a', 'a/b']) {
      const answer = await server.get(`/dl?myimage=${image}`, { range: 'bytes=6000-' });
      assert.equal(answer.status, 206);
      assert.ok(answer.body.equals(FILE.subarray(6000)));
    }
    assert.equal((await server.get('/dl?myimage=a/d', { range: 'bytes=6000-' })).status, 429);
  });

  test('that are used up give a client no more than twice what it has begun', async () => {
    await using server = await startServer({ limits: { dailyBytes: 9_000 } });
    assert.equal((await server.get(DL)).status, 200);
    assert.ok((await server.get(DL)).body.equals(FILE), 'who asks for the whole again may have lost it');
    assertRefused(await server.get(DL), 'daily-bytes-used', 'bytes');
    assertRefused(await server.get(DL, { range: 'bytes=9999-' }), 'daily-bytes-used', 'bytes');
  });

  test('break a download off past what is given in all, and it looks broken', async () => {
    const streams: Readable[] = [];
    const read = (): Readable => {
      const stream = endless();
      streams.push(stream);
      return stream;
    };
    const store = createMemoryCountingStore(Date.now);
    await using server = await startServer({
      store,
      limits: { dailyBytes: 3_000 },
      open: () => sampleArchive({ read }),
    });
    for (let whole = 0; whole < 2; whole += 1) await begin(server, DL);
    const third = await begin(server, DL);
    const closed = once(third, 'close', soon());
    for (const stream of streams)
      for (let at = 100; at < FILE.length; at += 100) stream.push(FILE.subarray(at, at + 100));
    for (const stream of streams.slice(0, 2)) stream.push(null);
    await closed;
    await server.logged(/^\[FAILED\] busybox: Your address has used its 2\.9 KiB per day/);
    assert.ok(third.bytesRead < FILE.length, `${third.bytesRead}`);
    await waitFor(async () => {
      const [count] = await store.add([{ counter: 'bytes 127.0.0.1', amount: 0, window: 86_400_000 }]);
      // Twice the archive, the first chunk of the third connection, and the chunk that exceeds the limit.
      return count?.value === 20_200;
    });
  });

  test('count an archive that is made as it is sent', async () => {
    const archive: LiveArchive = {
      ...sampleArchive(),
      size: undefined,
      digests: [DIGEST],
      start: async () => Readable.from([FILE.subarray(0, 4000), FILE.subarray(4000)]),
    };
    await using server = await startServer({ limits, open: () => archive });
    const answer = await server.get(`${DL}&stream=1`);
    assert.equal(answer.header('transfer-encoding'), 'chunked');
    assert.equal(answer.header('content-length'), undefined);
    assert.equal(await bytesLeft(server), 5_000);
  });
});

suite('a crowd that comes and goes', { timeout: 600_000 }, () => {
  test('holds nothing once it is gone, and every byte that arrived was counted', async () => {
    const clients = Array.from({ length: 10 }, (_, at) => `192.0.2.${at}`);
    const limits = { downloadsPerIp: 3, maxDownloads: 20, dailyBytes: 2 ** 40, bandwidthPerIp: 500_000 };
    const sent = new Map<string, number>(clients.map((client) => [client, 0]));
    const store = createMemoryCountingStore(Date.now);
    await using server = await startServer({ store, limits, trustProxy: ['127.0.0.1'] });
    const visit = async (at: number): Promise<void> => {
      const client = clients[at % clients.length] ?? '';
      const headers = { 'x-forwarded-for': client, range: `bytes=${at * 7}-` };
      const asked = get({ port: server.port, path: `/dl?myimage=a/${at % 7}`, headers, agent: false });
      const isLeaving = at % 3 === 0;
      if (isLeaving && at % 2 === 0) setImmediate(() => asked.destroy());
      const response = await once(asked, 'response', soon()).then(
        ([came]) => came as IncomingMessage,
        () => undefined,
      );
      if (isLeaving || response === undefined) {
        asked.destroy();
        return;
      }
      const body = await buffer(response);
      assert.ok(response.statusCode === 206 || response.statusCode === 429, `${response.statusCode}`);
      if (response.statusCode === 206) sent.set(client, (sent.get(client) ?? 0) + body.length);
    };
    await Promise.all(Array.from({ length: 300 }, (_, at) => visit(at)));

    for (const client of clients) {
      await waitFor(async () => (await store.active(client)) === 0, { what: `${client} to be gone` });
      const { body } = await server.get('/api/v1/limits', { 'x-forwarded-for': client });
      const { bytes } = JSON.parse(body.toString()) as { bytes: { remaining: number } };
      // The service can count more than a disconnected client received.
      assert.ok(2 ** 40 - bytes.remaining >= (sent.get(client) ?? 0), client);
    }
    assert.ok([...sent.values()].some((bytes) => bytes > 0));
    const answer = await server.get('/dl?myimage=a/new', { 'x-forwarded-for': clients[0] ?? '' });
    assert.equal(answer.status, 200);
  });
});

suite('the bandwidth of a client', { timeout: 600_000 }, () => {
  test('is kept to over all its connections, and the bytes stay right', async (context) => {
    let now = 0;
    await using server = await startServer({ limits: { bandwidthPerIp: 40_000 }, uptime: () => now });
    context.mock.timers.enable({ apis: ['setTimeout'] });
    let isDone = false;
    const all = Promise.all([server.get(DL), server.get(DL), server.get(DL)]).finally(() => {
      isDone = true;
    });
    while (!isDone) {
      await new Promise((turn) => setImmediate(turn));
      now += 1;
      context.mock.timers.tick(1);
    }
    for (const { body } of await all) assert.ok(body.equals(FILE));
    // 30,000 bytes, of which those of the first quarter second may arrive at once.
    assert.ok(now >= 500, `${now} ms`);
  });

  test('does not keep a connection that its client has left', async () => {
    let closed = 0;
    const read = () => endless().once('close', () => (closed += 1));
    await using server = await startServer({
      open: () => sampleArchive({ read }),
      limits: { bandwidthPerIp: 50, downloadsPerIp: 4 },
    });
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {}).write(requestHead('GET', DL));
    await waitFor(() => server.requests.length === 1);
    socket.destroy();
    await waitFor(() => closed === 1);
    await waitFor(async () => (await activeDownloads(server)) === 0);
  });

  test('does not make what is broken look whole', async () => {
    const stream = endless();
    await using server = await startServer({
      open: () => sampleArchive({ read: () => stream }),
      limits: { bandwidthPerIp: 100_000 },
    });
    const socket = connect(server.port, '127.0.0.1');
    const closed = once(
      socket.on('error', () => {}),
      'close',
      soon(),
    );
    socket.write(requestHead('GET', DL, { connection: 'keep-alive' }));
    await once(socket, 'data', soon());
    stream.destroy(new Error('cut'));
    await closed;
    assert.ok(socket.bytesRead < FILE.length);
    await server.logged(/^\[FAILED\] busybox: cut/);
  });

  test('is owed nothing for what waits where a problem is the answer', async () => {
    let times = 0;
    const read = (): Readable => {
      times += 1;
      if (times > 1) return Readable.from([FILE.subarray(0, 1)]);
      const stream = endless();
      // The first chunk was received, and the next one waits for ten seconds.
      stream.once('data', () => setImmediate(() => stream.destroy(new Error('cut'))));
      return stream;
    };
    await using server = await startServer({
      open: () => sampleArchive({ read }),
      limits: { bandwidthPerIp: 10 },
    });
    const answer = await server.get(DL);
    assert.equal(answer.status, 500);
    assert.equal(answer.header('content-length'), `${answer.body.length}`);
    assert.equal((await server.get(DL, { range: 'bytes=0-0' })).status, 206);
  });
});
