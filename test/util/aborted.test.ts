import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { suite, test } from 'node:test';
import { destroyOnAbort } from '../../src/util/aborted.ts';

suite('a stream that a signal destroys', () => {
  const silent = (): Readable => new Readable({ read() {} });

  for (const when of ['before', 'after'])
    test(`fails if the signal aborts ${when} the call`, async () => {
      const stream = silent();
      const control = new AbortController();
      if (when === 'before') control.abort();
      destroyOnAbort(control.signal, stream);
      control.abort();
      await assert.rejects(finished(stream), { name: 'AbortError' });
    });

  test('ends without a reader, who then gets the error', async () => {
    const stream = silent();
    const control = new AbortController();
    destroyOnAbort(control.signal, stream);
    control.abort();
    // The function once() would reject with the error.
    await new Promise((closed) => stream.once('close', closed));
    await assert.rejects(stream.toArray(), { name: 'AbortError' });
  });

  test('is independent of the signal once it has closed', async () => {
    const stream = silent();
    const { signal } = new AbortController();
    destroyOnAbort(signal, stream);
    assert.equal(getEventListeners(signal, 'abort').length, 1);
    await assert.rejects(finished(stream.destroy()));
    assert.deepEqual(getEventListeners(signal, 'abort'), []);
  });
});
