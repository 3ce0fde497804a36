import assert from 'node:assert/strict';
import { PassThrough, Readable, Writable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { lend, relay, send } from '../../src/util/streams.ts';

const never = new AbortController().signal;

suite('a relay of streams', () => {
  test('gives its parts one after the other', async () => {
    const whole = relay(async function* () {
      yield Buffer.from('a');
      yield Readable.from([Buffer.from('b'), Buffer.from('c')]);
      yield Readable.from([]);
      yield Buffer.from('d');
    }, never);
    assert.equal(await text(whole), 'abcd');
  });

  test('asks for a part when it is wanted, one ahead at most', async () => {
    const asked: number[] = [];
    const whole = relay(async function* () {
      for (let part = 0; part < 10; part++) {
        asked.push(part);
        yield Readable.from([Buffer.alloc(10, part)]);
      }
    }, never);
    whole.read(0);
    await turn();
    await turn();
    assert.ok(asked.length <= 2, asked.join());
    assert.equal((await buffer(whole)).length, 100);
  });

  for (const [what, part] of [
    ['that fails', () => Readable.from(failing())],
    ['that is cut off', () => cutOff()],
  ] as const) {
    test(`fails with a part ${what}`, async () => {
      const whole = relay(async function* () {
        yield part();
        yield Buffer.from('never');
      }, never);
      await assert.rejects(buffer(whole), /broken|cut off/);
    });
  }

  test('fails with what its inspector throws, and does not pass that chunk on', async () => {
    const passed: string[] = [];
    const whole = relay(
      async function* () {
        yield Readable.from([Buffer.from('good'), Buffer.from('bad')]);
      },
      never,
      (chunk) => {
        if (String(chunk) === 'bad') throw new Error('inspected');
      },
    );
    whole.on('data', (chunk) => passed.push(String(chunk)));
    await assert.rejects(new Promise((_, reject) => whole.once('error', reject)), /inspected/);
    assert.deepEqual(passed, ['good']);
  });

  test('that is sent shows each chunk, whatever part it is of', async () => {
    const whole = relay(async function* () {
      yield Buffer.from('head');
      yield Readable.from([Buffer.from('b'), Buffer.from('ody')]);
      yield Buffer.from('tail');
    }, never);
    const seen: string[] = [];
    const sink = new PassThrough();
    await send(whole, sink, (chunk) => seen.push(String(chunk)));
    assert.deepEqual(seen, ['head', 'b', 'ody', 'tail']);
    assert.equal(await text(sink.end()), 'headbodytail');
  });

  test('with an aborted signal fails by its promise, without an unhandled event', async () => {
    const gone = new AbortController();
    gone.abort();
    const whole = relay(async function* (signal) {
      await turn();
      signal.throwIfAborted();
      yield Buffer.from('never');
    }, gone.signal);
    await assert.rejects(send(whole, new PassThrough()), { name: 'AbortError' });
  });

  test('ends what is under way when it is destroyed', async () => {
    const part = new Readable({ read() {} });
    const whole = relay(async function* (signal) {
      signal.addEventListener('abort', () => part.emit('told'));
      yield part;
    }, never);
    const told = new Promise((resolve) => part.once('told', resolve));
    whole.resume();
    await turn();
    whole.destroy();
    await told;
    assert.ok(part.destroyed);
  });

  test('a part that fails after the end of the whole is ignored', async () => {
    const late = Promise.withResolvers<Readable>();
    const whole = relay(async function* () {
      yield await late.promise;
    }, never);
    whole.resume();
    await turn();
    whole.destroy();
    const part = new Readable({ read() {} });
    part.destroy(new Error('nobody hears this'));
    late.resolve(part);
    await turn();
    await turn();
    assert.ok(part.destroyed);
  });
});

async function* failing(): AsyncGenerator<Buffer> {
  yield Buffer.from('x');
  throw new Error('broken');
}

function cutOff(): Readable {
  const part = new Readable({ read() {} });
  part.push('x');
  setImmediate(() => part.destroy());
  return part;
}

suite('a stream of lent chunks', () => {
  /** Reuses one buffer for all chunks. */
  const counting = async function* (): AsyncGenerator<Uint8Array, void> {
    const buffer = Buffer.alloc(4);
    for (const part of ['one ', 'two ', 'end.']) {
      buffer.write(part);
      yield buffer;
    }
  };

  test('gives copies to a reader', async () => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of lend(counting, never)) chunks.push(chunk as Uint8Array);
    assert.equal(Buffer.concat(chunks).toString(), 'one two end.');
  });

  test('lends each chunk to a sink until the sink has written it', async () => {
    const written: string[] = [];
    const sink = new Writable({
      write(chunk: Buffer, _encoding, done) {
        setImmediate(() => {
          written.push(String(chunk));
          done();
        });
      },
    });
    const inspected: string[] = [];
    await send(lend(counting, never), sink, (chunk) => void inspected.push(String(chunk)));
    assert.deepEqual(written, ['one ', 'two ', 'end.']);
    assert.deepEqual(inspected, written);
  });

  test('ends its generator and the transfer when it is destroyed, while the sink is stuck', async () => {
    const over = Promise.withResolvers<void>();
    const stream = lend(async function* () {
      try {
        yield Buffer.from('a');
        yield Buffer.from('b');
      } finally {
        over.resolve();
      }
    }, never);
    const begun = Promise.withResolvers<void>();
    const sink = new Writable({ highWaterMark: 1, write: () => begun.resolve() });
    const sent = send(stream, sink);
    await begun.promise;
    stream.destroy(new Error('gone'));
    await assert.rejects(sent, /gone/);
    await over.promise;
  });

  for (const error of [undefined, new Error('The stream was closed.')])
    test(`fails if it is destroyed between two chunks, ${error ? 'with' : 'without'} an error`, async () => {
      const stream = lend(async function* () {
        yield Buffer.from('a');
        yield Buffer.from('b');
      }, never);
      const sink = new Writable({
        write(_chunk, _encoding, done) {
          setImmediate(() => {
            done();
            stream.destroy(error);
          });
        },
      });
      await assert.rejects(send(stream, sink), /^Error: The stream was closed\.$/);
    });

  test('ends a generator that waits for its next reader', async () => {
    const over = Promise.withResolvers<void>();
    const stream = lend(async function* () {
      try {
        for (;;) yield Buffer.from('a');
      } finally {
        over.resolve();
      }
    }, never);
    for await (const _ of stream) break;
    await over.promise;
  });

  test('fails with what its generator or its inspector throws', async () => {
    const failing = async function* () {
      yield Buffer.from('a');
      throw new RangeError('broken');
    };
    await assert.rejects(buffer(lend(failing, never)), RangeError);
    await assert.rejects(send(lend(failing, never), new PassThrough()), RangeError);
    const refuse = (): void => {
      throw new TypeError('inspected');
    };
    await assert.rejects(send(lend(counting, never), new PassThrough(), refuse), TypeError);
  });
});
