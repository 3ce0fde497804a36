import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Row } from '../../bench/figures.ts';
import { measured } from '../../bench/samples.ts';
import { compare } from '../../bench/targets.ts';

const find = (rows: Row[], name: string) => compare(rows).find((one) => one.name === name);

test('a ratio has the better figure where it belongs', () => {
  const rows = [
    measured('dockerproxy-cold', { firstByteMs: 20, seconds: 2 }),
    measured('docker', { firstByteMs: 60_000, seconds: 80 }),
    measured('skopeo-oci', { seconds: 4.5 }),
    measured('nginx-proxy-cache', { seconds: 2 }),
  ];
  assert.deepEqual(find(rows, 'cold: first byte sooner than docker pull + save'), {
    name: 'cold: first byte sooner than docker pull + save',
    value: '3000×',
    wanted: '≥ 300×',
    reached: true,
  });
  assert.equal(find(rows, 'cold: whole file sooner than docker pull + save')?.value, '40×');
  assert.equal(find(rows, 'cold: whole file sooner than skopeo to oci-archive')?.reached, false);
  assert.equal(find(rows, 'cold: throughput of nginx proxy_cache')?.reached, true);
});

test('a registry over TLS may add a tenth more time to a direct download than a plain one', () => {
  const verdict = (seconds: number) =>
    find(
      [
        measured('dockerproxy-cold', { seconds: 1.3 }),
        measured('blobs', { seconds: 0.3 }),
        measured('dockerproxy-tls-registry', { seconds }),
        measured('blobs-tls-registry', { seconds: 0.5 }),
      ],
      'cold, registry over TLS: time added to that of curl, over plain HTTP',
    )?.reached;
  assert.deepEqual([1.59, 1.61].map(verdict), [true, false]);
});

test('less CPU is better', () => {
  const nginx = measured('nginx-static', { cpuSeconds: 1 });
  const verdict = (cpuSeconds: number) =>
    find([nginx, measured('dockerproxy-warm', { cpuSeconds })], 'warm: CPU per byte of nginx static')
      ?.reached;
  assert.equal(verdict(1.4), true);
  assert.equal(verdict(1.6), false);
});

test('one GET too many misses the target', () => {
  const gets = { blobGets: 7, blobs: 6, manifestGets: 2, manifests: 2 };
  const rows = [measured('dockerproxy-cold-50', {}, gets)];
  assert.deepEqual(find(rows, 'cold, 50 clients: GETs of blobs')?.reached, false);
  assert.deepEqual(find(rows, 'cold, 50 clients: GETs of manifests')?.reached, true);
});

test('memory for each slow client has its unit', () => {
  const details = { bytesPerClient: 250_000, bytesPerFurtherClient: 150_000 };
  const rows = [measured('dockerproxy-slow-200', {}, details)];
  const seen = ['each above idle', 'each of 100 more'].map((which) => {
    const { value, wanted, reached } = find(rows, `200 slow clients: memory of ${which}`) ?? {};
    return { value, wanted, reached };
  });
  assert.deepEqual(seen, [
    { value: '250 KB', wanted: '≤ 150 KB', reached: false },
    { value: '150 KB', wanted: '≤ 150 KB', reached: true },
  ]);
});

test('a start costs at most three empty programs, and a small save has limits of its own', () => {
  const rows = [
    measured('node-start', { cpuSeconds: 0.03 }),
    measured('cli-version', { cpuSeconds: 0.045 }),
    measured('save-small', { seconds: 0.14, cpuSeconds: 0.16 }),
    measured('dockerproxy-idle', { peakBytes: 81_000_000 }),
  ];
  assert.equal(find(rows, 'dockerproxy --version: CPU of an empty program')?.value, '1.5×');
  assert.equal(find(rows, 'dockerproxy save of 1 MB: time')?.reached, true);
  assert.deepEqual(find(rows, 'dockerproxy save of 1 MB: CPU'), {
    name: 'dockerproxy save of 1 MB: CPU',
    value: '0.16 s',
    wanted: '≤ 0.15 s',
    reached: false,
  });
  assert.equal(find(rows, 'idle: memory')?.reached, false);
});

test('the event loop is late by no more than it may', () => {
  const verdict = (eventLoopP99Ms: number) =>
    find(
      [measured('dockerproxy-warm-50', {}, { eventLoopP99Ms })],
      'warm, 50 clients: delay of the event loop (99th percentile)',
    );
  assert.equal(verdict(49)?.reached, true);
  assert.equal(verdict(51)?.reached, false);
  assert.equal(verdict(7.23)?.value, '7.2 ms');
});

test('conditions on an absent line are undecided', () => {
  const targets = compare([{ id: 'docker', absent: 'dockerd needs root' }]);
  assert.ok(targets.length > 0);
  assert.deepEqual(
    targets.filter(({ reached, value }) => reached !== undefined || value !== '-'),
    [],
  );
});

test('nothing follows from a second worker for which no core was left', () => {
  const rows = (speed: number, idleCores: number) => [
    measured('dockerproxy-workers-1', {}, { idleCores, serverCores: 1, clientCores: 1 }),
    measured('dockerproxy-workers-2', { seconds: 1 / speed }),
  ];
  const verdict = (speed: number, idleCores: number) =>
    find(rows(speed, idleCores), 'whole cores: throughput of 2 workers over 1')?.reached;
  assert.deepEqual([verdict(1.8, 0), verdict(1.2, 1.3), verdict(1.2, 1.5)], [true, undefined, false]);
});

test('the last file of a layer starts within the time of gzip', () => {
  const verdict = (firstByteMs: number) =>
    find(
      [measured('file-last-small', { firstByteMs }), measured('gunzip-small', { seconds: 4 })],
      'last file of a layer, warm, small files: first byte, in times of gzip -dc',
    );
  assert.deepEqual(
    [4000, 4001].map((time) => verdict(time)?.reached),
    [true, false],
  );
  assert.equal(verdict(2000)?.value, '0.5×');
});
