import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createClientList } from '../../../src/policy/client-list.ts';
import { parseAddressRange } from '../../../src/util/ip-address.ts';
import { problemOf, type ServerSetup, startServer } from '../samples.ts';

const DL = '/dl?myimage=busybox';
const PROXY = '127.0.0.1';

function except(...denied: string[]): ServerSetup {
  return { clients: createClientList({ allow: undefined, deny: denied.map(parseAddressRange) }) };
}

suite('a client that is not let in', { timeout: 600_000 }, () => {
  test('gets a 403 everywhere, and nothing is fetched for it', async () => {
    await using server = await startServer(except('127.0.0.0/8'));
    for (const path of [DL, '/dl/busybox.tar', '/dl/status?myimage=busybox', '/', '/nothing']) {
      const answer = await server.get(path);
      assert.equal(answer.status, 403, path);
      assert.equal(problemOf(answer).code, 'client-not-allowed');
      assert.equal(answer.reason, 'Your address may not use this service');
    }
    assert.deepEqual(server.requests, []);
  });

  test('may ask whether the service is well', async () => {
    await using server = await startServer(except('127.0.0.1'));
    assert.equal((await server.get('/healthz')).status, 200);
    assert.equal((await server.send('HEAD', '/healthz')).status, 200);
  });
});

suite('X-Forwarded-For', { timeout: 600_000 }, () => {
  /** Returns the header values for which the service accepts a client. */
  const letIn = async (setup: ServerSetup, headers: readonly string[]): Promise<string[]> => {
    await using server = await startServer(setup);
    const welcome: string[] = [];
    for (const header of headers) {
      const { status } = await server.get(DL, { 'x-forwarded-for': header });
      assert.ok(status === 200 || status === 403);
      if (status === 200) welcome.push(header);
    }
    return welcome;
  };

  test('changes nothing where no proxy is trusted, or another one', async () => {
    for (const trustProxy of [[], ['192.0.2.1']]) {
      const client = ['198.51.100.7'];
      assert.deepEqual(await letIn({ ...except('198.51.100.7'), trustProxy }, client), client);
      assert.deepEqual(await letIn({ ...except(PROXY), trustProxy }, client), []);
    }
  });

  test('from a trusted proxy states the client', async () => {
    const refused = ['198.51.100.7', '::ffff:198.51.100.7', '198.51.100.7:4711', '[2001:db8::1]:4711'];
    const welcome = ['198.51.100.8', '2001:db9::1'];
    for (const trustProxy of [[PROXY], ['127.0.0.0/8'], ['10.0.0.0/8', '::ffff:127.0.0.1/128']]) {
      const setup = { ...except('198.51.100.7', '2001:db8::/32'), trustProxy };
      assert.deepEqual(await letIn(setup, [...refused, ...welcome]), welcome);
    }
  });

  test('counts from its end: what the client itself has written before it changes nothing', async () => {
    const setup = { ...except('198.51.100.7'), trustProxy: [PROXY, '10.0.0.0/8'] };
    const forged = ['192.0.2.1', '127.0.0.1', 'garbage', '', '10.0.0.1, 192.0.2.1'];
    const refused = forged.flatMap((text) => [`${text}, 198.51.100.7`, `${text}, 198.51.100.7, 10.9.9.9`]);
    const welcome = forged.map((text) => `198.51.100.7, ${text}, 192.0.2.1`);
    assert.deepEqual(await letIn(setup, [...refused, ...welcome]), welcome);
  });

  test('that is ignored is logged once', async () => {
    await using server = await startServer();
    for (let time = 0; time < 3; time += 1) await server.get(DL, { 'x-forwarded-for': '198.51.100.7' });
    const warnings = server.log.filter(({ level }) => level === 40);
    assert.deepEqual(
      warnings.map(({ msg }) => msg),
      [
        'X-Forwarded-For from 127.0.0.1 does not count; if that is a proxy of yours, name it with --trust-proxy',
      ],
    );
    await using behindProxy = await startServer({ trustProxy: [PROXY] });
    await behindProxy.get(DL, { 'x-forwarded-for': '198.51.100.7' });
    assert.ok(behindProxy.log.every(({ level }) => level < 40));
  });

  test('without a valid address counts as the address of the proxy', async () => {
    const garbage = ['unknown', '_hidden', '999.1.1.1', '192.0.2.1 ; drop', '-'];
    assert.deepEqual(await letIn({ ...except(PROXY), trustProxy: [PROXY] }, garbage), []);
  });
});
