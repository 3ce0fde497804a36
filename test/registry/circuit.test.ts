import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createCircuit } from '../../src/registry/circuit.ts';

function circuitAt() {
  const clock = { time: 0 };
  const told: string[] = [];
  const circuit = createCircuit({
    ...{ now: () => clock.time, random: () => 1 },
    onOpen: ({ message }, pause) => told.push(`open ${pause}: ${message}`),
    onClose: () => told.push('closed'),
  });
  return { circuit, clock, told };
}

const failure = new Error('gone');

suite('the circuit of a host', () => {
  test('a failure leaves it out for a second, then one request tries', () => {
    const { circuit, clock, told } = circuitAt();
    assert.ok(circuit.admits());
    circuit.failed(failure);
    assert.equal(circuit.admits(), false);
    clock.time = 999;
    assert.equal(circuit.admits(), false);
    clock.time = 1000;
    assert.ok(circuit.admits());
    assert.equal(circuit.admits(), false, 'the others wait for what comes of it');
    circuit.succeeded();
    assert.ok(circuit.admits());
    assert.ok(circuit.admits());
    assert.deepEqual(told, ['open 1000: gone', 'closed']);
  });

  test('each failed try makes the pause twice as long, up to a minute', () => {
    const { circuit, clock, told } = circuitAt();
    circuit.failed(failure);
    const pauses: number[] = [];
    for (let attempt = 0; attempt < 9; attempt++) {
      const since = clock.time;
      while (!circuit.admits()) clock.time += 500;
      pauses.push(clock.time - since);
      circuit.failed(failure);
    }
    assert.deepEqual(
      pauses,
      [1, 2, 4, 8, 16, 32, 60, 60, 60].map((seconds) => seconds * 1000),
    );
    assert.equal(told.length, 1, 'the log hears of it once');
  });

  test('requests that fail together count once', () => {
    const { circuit, clock } = circuitAt();
    for (let request = 0; request < 20; request++) circuit.failed(failure);
    clock.time = 1000;
    assert.ok(circuit.admits());
  });

  test('a try of which nothing is heard is followed by another one', () => {
    const { circuit, clock } = circuitAt();
    circuit.failed(failure);
    clock.time = 1000;
    assert.ok(circuit.admits());
    clock.time = 2000;
    assert.ok(circuit.admits());
  });

  test('it stays away for as long as the host asks for', () => {
    const { circuit, clock } = circuitAt();
    circuit.failed(failure, 30_000);
    clock.time = 29_999;
    assert.equal(circuit.admits(), false);
    clock.time = 30_000;
    assert.ok(circuit.admits());
  });
});
