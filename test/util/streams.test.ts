import assert from 'node:assert/strict';
import { PassThrough, Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { relay, send } from '../../src/util/streams.ts';

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
