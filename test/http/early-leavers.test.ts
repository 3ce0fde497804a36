import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { suite, test } from 'node:test';
import { createDrain } from '../../src/http/listener/drain.ts';
import type { HttpMetrics } from '../../src/http/protocol/metrics-port.ts';
import type { CountingStore } from '../../src/limits/counting-store.ts';
import { createMemoryCountingStore } from '../../src/limits/memory-counting-store.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { waitFor } from '../support/wait-for.ts';
import { NO_PRESSURE_LIMITS, requestHead, sampleArchive, startServer } from './samples.ts';

const DL = '/dl?myimage=busybox';

/** A store whose answer to one request arrives only after the client has left. */
function slowStore() {
  const store = createMemoryCountingStore(Date.now);
  const left = Promise.withResolvers<void>();
  let isAsked = false;
  const slow: CountingStore = {
    ...store,
    async add(amounts) {
      isAsked = true;
      await left.promise;
      return store.add(amounts);
    },
  };
  return { store: slow, isAsked: () => isAsked, left: left.resolve };
}

/** Counts the transfers that have begun and not ended, and calls a function when a response ends. */
function meterOf(onEnd: () => void) {
  const { http } = createMetrics({
    version: '0',
    isKnownRegistry: () => false,
    certificateEnd: () => undefined,
    isCertificateFailing: () => false,
  });
  let active = 0;
  const meter: HttpMetrics = {
    ...http,
    answered(...response) {
      http.answered(...response);
      onEnd();
    },
    download() {
      active += 1;
      const own = http.download();
      return {
        ...own,
        end(...result) {
          active -= 1;
          own.end(...result);
        },
      };
    },
  };
  return { meter, active: () => active };
}

async function leave(port: number, when: () => boolean): Promise<void> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  socket.write(requestHead('GET', DL));
  await waitFor(when);
  socket.destroy();
}

suite('a client that leaves while its limits are checked', { timeout: 600_000 }, () => {
  test('has no transfer in the metrics', async () => {
    let isRead = false;
    const { store, isAsked, left } = slowStore();
    const { meter, active } = meterOf(left);
    const archive = sampleArchive();
    const read: typeof archive.read = (...range) => {
      isRead = true;
      return archive.read(...range);
    };
    await using server = await startServer({
      ...{ store, meter, limits: { dailyBytes: 1e9 }, open: () => ({ ...archive, read }) },
    });
    await leave(server.port, isAsked);
    await waitFor(() => isRead);
    assert.equal(active(), 0);
  });

  test('counts neither as a download in progress nor as a request in flight', async () => {
    const { store, isAsked, left } = slowStore();
    const { meter } = meterOf(left);
    const drain = createDrain();
    const memory = [{ name: 'testBytes', read: () => ({ used: 90, limit: 100 }), close() {} }];
    const pressure = { ...NO_PRESSURE_LIMITS, memory, interval: 5 };
    await using server = await startServer({
      ...{ store, meter, drain, pressure, limits: { rateLimit: { limit: 10, window: 60_000 } } },
    });
    await leave(server.port, isAsked);
    await waitFor(() => server.requests.length === 1);
    assert.equal(drain.count(), 0);
    await waitFor(async () => (await server.get('/api/v1/limits')).status === 200);
  });
});
