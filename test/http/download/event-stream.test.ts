import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { createEventStream } from '../../../src/http/download/event-stream.ts';
import { waitFor } from '../../support/wait-for.ts';

/** Like the status of a pull with many layers. */
const LAYERS = Array.from({ length: 100 }, (_, at) => ({ id: `${at}`.padStart(12, '0'), status: 'Waiting' }));

suite('a stream of events', () => {
  test('a reader that is behind costs no memory, and hears the end of each stage when it goes on', async () => {
    const events = createEventStream();
    const { body } = events;
    for (let bytes = 0; bytes < 50; bytes++) {
      events.sendSoon('pulling', { layers: LAYERS, bytes });
      // Each event is sent immediately, so the buffer would be full after a few.
      events.send('noise', { noise: 'x'.repeat(10_000) });
    }
    const full = body.readableLength;
    for (let bytes = 0; bytes < 10_000; bytes++) events.sendSoon('pulling', { layers: LAYERS, bytes });
    for (let bytes = 0; bytes < 10_000; bytes++) events.sendSoon('saving', { bytes });
    const { readableLength } = body;
    events.send('ready', {});
    events.end();
    assert.equal(readableLength, full);
    const told = (await text(body)).split('\n\n').slice(-4);
    assert.match(told[0] ?? '', /^event: pulling\ndata: .*"bytes":9999\}$/);
    assert.equal(told[1], 'event: saving\ndata: {"bytes":9999}');
    assert.equal(told[2], 'event: ready\ndata: {}');
  });

  test('sends a new reader the current state and no old events', async () => {
    const events = createEventStream();
    const { body } = events;
    while (body.readableLength < body.readableHighWaterMark)
      events.send('noise', { noise: 'x'.repeat(1000) });
    for (const bytes of [1, 2, 3]) events.sendSoon('saving', { bytes });
    let heard = '';
    body.setEncoding('utf8').on('data', (chunk: string) => {
      heard += chunk;
    });
    await waitFor(() => heard.includes('saving'), { what: 'the stage' });
    assert.match(heard, /event: saving\ndata: \{"bytes":3\}\n\n$/);
    assert.equal(heard.match(/saving/g)?.length, 1);
    body.destroy();
  });
});
