import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { FastifyRequest } from 'fastify';
import { clientAddress } from '../../../src/http/protocol/client-address.ts';

function addressOf(ip: string | undefined, remoteAddress: string | undefined): string {
  return clientAddress({ ip, socket: { remoteAddress } } as unknown as FastifyRequest);
}

suite('the address of a client', () => {
  test('is unknown after the client has reset the connection', () => {
    assert.equal(addressOf(undefined, undefined), 'unknown');
  });

  test('is that of the connection if a proxy states none', () => {
    assert.equal(addressOf('not an address', '192.0.2.1'), '192.0.2.1');
  });
});
