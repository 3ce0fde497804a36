import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { detail } from '../../src/errors/details.ts';
import { ServiceError } from '../../src/errors.ts';
import { createOriginOutages } from '../../src/registry/origin-outages.ts';

const unreachable = new ServiceError('registry-timeout', detail('registry-silent', { host: 'a.io' }), {
  isUnreachable: true,
});

function watch() {
  const clock = { now: 0 };
  const told: string[] = [];
  const outages = createOriginOutages({
    ...{ now: () => clock.now, random: () => 1 },
    onOpen: (domain, { message }, pause) => told.push(`${domain} open ${pause}: ${message}`),
    onClose: (domain) => told.push(`${domain} closed`),
  });
  return { clock, told, outages };
}

suite('outages of registries that have mirrors', () => {
  test('last from a failed connection until a response, with a try after each pause', () => {
    const { clock, told, outages } = watch();
    assert.equal(outages.find('a.io'), undefined);
    outages.note('a.io', unreachable);
    assert.equal(outages.find('a.io'), unreachable);
    assert.equal(outages.find('b.io'), undefined);
    clock.now = 1000;
    assert.equal(outages.find('a.io'), undefined);
    assert.equal(outages.find('a.io'), unreachable, 'only one request tries');
    outages.note('a.io', unreachable);
    clock.now = 2999;
    assert.equal(outages.find('a.io'), unreachable, 'the second pause is twice as long');
    outages.end('a.io');
    assert.equal(outages.find('a.io'), undefined);
    assert.deepEqual(told, ['a.io open 1000: a.io did not respond in time.', 'a.io closed']);
  });

  test('end with any response, but not with a timeout', () => {
    const { outages } = watch();
    outages.note('a.io', new ServiceError('registry-timeout', detail('blob-slow', { host: 'a.io' })));
    assert.equal(outages.find('a.io'), undefined);
    outages.note('a.io', unreachable);
    outages.note('a.io', new ServiceError('registry-timeout', detail('blob-slow', { host: 'a.io' })));
    assert.equal(outages.find('a.io'), unreachable);
    outages.note(
      'a.io',
      new ServiceError('registry-failed', detail('registry-status', { host: 'a.io', status: 500 })),
    );
    assert.equal(outages.find('a.io'), undefined);
  });
});
