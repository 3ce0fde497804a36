import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Value } from 'typebox/value';
import { inEnglish, detail as sentence } from '../../../src/errors/details.ts';
import { ServiceError } from '../../../src/errors.ts';
import { Problem } from '../../../src/http/problems/problem-schema.ts';
import { FILE, problemOf, sampleArchive, sharedServer, startServer } from '../samples.ts';

const STATUS = '/dl/status?myimage=busybox';

/** Name and data of each event. */
function eventsOf(body: Buffer): [string, unknown][] {
  return [...body.toString().matchAll(/^event: (\S+)\ndata: (.*)$/gm)].map(([, name = '', data = '']) => [
    name,
    JSON.parse(data),
  ]);
}

suite('how far a download is', { timeout: 600_000 }, () => {
  test('an archive without preparation is ready', async () => {
    await using server = await sharedServer();
    const { status, header, body } = await server.get(STATUS);
    assert.equal(status, 200);
    assert.equal(header('content-type'), 'text/event-stream; charset=utf-8');
    assert.equal(header('cache-control'), 'no-store');
    const { filename, digests } = sampleArchive();
    assert.deepEqual(eventsOf(body), [['ready', { filename, size: FILE.length, digests }]]);
  });

  test('HEAD is answered as GET is, without an archive being prepared', async () => {
    await using server = await startServer({ deny: ['docker.io/library/secret'] });
    const paths = [
      STATUS,
      '/dl/status',
      '/dl/status?myimage=SECRET',
      '/dl/status?myimage=secret',
      `${STATUS}&checksum=1`,
    ];
    for (const path of paths) {
      const head = await server.send('HEAD', path);
      assert.equal(head.body.length, 0);
      assert.equal(server.requests.length, 0);
      const get = await server.get(path);
      server.requests.length = 0;
      assert.equal(head.status, get.status, path);
      for (const name of ['content-type', 'cache-control', 'x-accel-buffering'])
        assert.equal(head.header(name), get.header(name), `${path} ${name}`);
    }
  });

  test('stages come in their order; of many of one stage, the last', async () => {
    await using server = await startServer({
      open: ({ onProgress }) => {
        onProgress?.({ stage: 'queued', ahead: 1 });
        for (const current of [1, 2, 3]) {
          const layers = [{ id: 'abc', status: 'Downloading', current, total: 3 }];
          onProgress?.({ stage: 'pulling', image: 'docker.io/library/busybox:latest', layers });
        }
        onProgress?.({ stage: 'saving', bytes: 0 });
        return sampleArchive();
      },
    });
    const events = eventsOf((await server.get(STATUS)).body);
    assert.deepEqual(
      events.map(([name]) => name),
      ['queued', 'pulling', 'saving', 'ready'],
    );
    const document = JSON.parse((await server.get('/openapi.json')).body.toString()) as {
      paths: { '/dl/status': { get: { description: string } } };
    };
    const told = document.paths['/dl/status'].get.description.matchAll(/`(\w+)` \{([^}]*)\}/g);
    assert.deepEqual(
      events.map(([name, data]) => [name, Object.keys(data as object)]),
      [...told].map(([, name, members = '']) => [name, members.split(', ')]),
      'as it is documented',
    );
    assert.deepEqual(events[1]?.[1], {
      image: 'docker.io/library/busybox:latest',
      layers: [{ id: 'abc', status: 'Downloading', current: 3, total: 3 }],
    });
  });

  test('a failure is the last event, with what a problem has', async () => {
    const full = sentence('engine-queue-full', { count: 3 });
    const open = () => Promise.reject(new ServiceError('engine-busy', full, { retryAfter: 60 }));
    await using server = await startServer({ open });
    const [[name, data] = []] = eventsOf((await server.get(STATUS)).body);
    assert.equal(name, 'error');
    const { code, status, retryAfter, detail } = data as Record<string, unknown>;
    assert.deepEqual([code, status, retryAfter, detail], ['engine-busy', 503, 60, inEnglish([full])]);
    assert.ok(Value.Check(Problem, data), JSON.stringify(data));
  });

  test('mistakes in the request have their own status', async () => {
    await using server = await startServer({ deny: ['docker.io/library/busybox'] });
    assert.equal(problemOf(await server.get(STATUS)).code, 'image-not-allowed');
    assert.equal(problemOf(await server.get('/dl/status')).code, 'parameter-invalid');
    assert.equal((await server.get('/dl/status.tar')).status, 200, 'an image may have this name');
  });

  test('a disconnect ends the wait', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    await using server = await startServer({
      open: (_request, signal) => {
        signal.addEventListener('abort', () => resolve());
        return new Promise(() => {});
      },
    });
    const response = await fetch(`http://127.0.0.1:${server.port}${STATUS}`);
    await response.body?.cancel();
    await promise;
  });
});
