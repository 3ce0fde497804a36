import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { createStrangerLookup } from '../../src/net/name-lookup.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

const FROM_SYSTEM: LookupAddress[] = [{ address: '192.0.2.1', family: 4 }];

/** A name server on loopback that answers some names with 192.0.2.9, and others never. */
async function nameServer(
  answers: (name: string) => boolean,
): Promise<{ address: string; asked: string[] } & AsyncDisposable> {
  const asked: string[] = [];
  const socket: Socket = createSocket('udp4', (query, from) => {
    const labels: string[] = [];
    let at = 12;
    for (; query[at]; at += 1 + (query[at] ?? 0))
      labels.push(query.toString('latin1', at + 1, at + 1 + (query[at] ?? 0)));
    const name = labels.join('.');
    asked.push(name);
    if (!answers(name)) return;
    const question = query.subarray(12, at + 5);
    const isFour = query.readUInt16BE(at + 1) === 1;
    const header = Buffer.from([...query.subarray(0, 2), 0x81, 0x80, 0, 1, 0, isFour ? 1 : 0, 0, 0, 0, 0]);
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]);
    socket.send(Buffer.concat([header, question, ...(isFour ? [record] : [])]), from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked,
    [Symbol.asyncDispose]: async () => void socket.close(),
  };
}

suite('look-up of names that strangers choose', { timeout: 60_000 }, () => {
  test('an honest name beside 50 of a zone that does not answer needs no thread', async () => {
    await using server = await nameServer((name) => name === 'honest.test');
    let atOnce = 0;
    const system = (): Promise<never> => {
      atOnce += 1;
      return new Promise(() => {});
    };
    const lookup = createStrangerLookup({
      ...{ system, servers: [server.address], hostsFile: '/dev/null' },
      questionTimeout: 500,
      turnTimeout: 500,
    });
    const refused: unknown[] = [];
    for (let at = 0; at < 50; at += 1)
      lookup(`${at}.slow.test`).catch((error: unknown) => refused.push(error));
    assert.deepEqual(await lookup('honest.test'), [{ address: '192.0.2.9', family: 4 }]);
    assert.equal(atOnce, 0);
    // One lookup occupies the system's resolver. The others fail after their timeout.
    await waitFor(() => refused.length === 49, { what: 'the others to give up' });
    assert.ok(refused.every((error) => error instanceof Error && error.name === 'TimeoutError'));
    assert.equal(atOnce, 1);
    assert.deepEqual(await lookup('honest.test'), [{ address: '192.0.2.9', family: 4 }]);
  });

  test('the hosts file comes first', async () => {
    await using folder = await temporaryFolder();
    await using server = await nameServer(() => true);
    const hostsFile = join(folder.path, 'hosts');
    await writeFile(hostsFile, '# 192.0.2.2 other.test\n192.0.2.1\tone.test Registry.test # ours\n');
    const lookup = createStrangerLookup({
      system: async () => FROM_SYSTEM,
      servers: [server.address],
      hostsFile,
    });
    assert.deepEqual(await lookup('registry.TEST'), FROM_SYSTEM);
    assert.deepEqual(server.asked, []);
    assert.deepEqual(await lookup('other.test'), [{ address: '192.0.2.9', family: 4 }]);
  });

  test('the system is asked for what name servers do not find', async () => {
    const system = async (): Promise<LookupAddress[]> => FROM_SYSTEM;
    const lookup = createStrangerLookup({ system, servers: ['127.0.0.1:9'], hostsFile: '/dev/null' });
    assert.deepEqual(await lookup('registry.test'), FROM_SYSTEM);
  });
});
