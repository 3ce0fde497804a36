import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createPropagationCheck, type DnsResolver } from '../../../src/tls/acme/dns-propagation.ts';
import { createDnsResponder } from '../../../src/tls/acme/dns-responder.ts';

const NAME = '_acme-challenge.dl.example.org';

type Records = Readonly<Record<string, readonly string[]>>;

/** Records by type and name, and TXT records by server; `silent` is a server that does not respond. */
interface Dns {
  readonly ns?: Records;
  readonly cname?: Records;
  readonly addresses?: Records;
  readonly txt: Readonly<Record<string, Records | 'silent'>>;
}

function checkOf({ ns, cname, addresses, txt }: Dns, servers: readonly string[] = []) {
  const find = async (records: Records | undefined, name: string): Promise<string[]> => {
    const found = records?.[name];
    if (found === undefined) throw Object.assign(new Error('queryA ENODATA'), { code: 'ENODATA' });
    return [...found];
  };
  const openResolver = (asked: readonly string[] = []): DnsResolver => ({
    resolveNs: (zone) => find(ns, zone),
    resolveCname: (name) => find(cname, name),
    resolve4: (host) => find(addresses, host),
    resolve6: (host) => find(undefined, host),
    async resolveTxt(name) {
      const records = txt[asked[0] ?? ''];
      if (records === 'silent') throw Object.assign(new Error('queryTxt ETIMEOUT'), { code: 'ETIMEOUT' });
      // A long text is in several parts.
      return (await find(records, name)).map((text) => [text.slice(0, 2), text.slice(2)]);
    },
  });
  return createPropagationCheck({ openResolver, servers });
}

const zone = {
  ns: { 'example.org': ['ns1.example.org', 'ns2.example.org'] },
  addresses: { 'ns1.example.org': ['192.0.2.1'], 'ns2.example.org': ['192.0.2.2'] },
};

suite('the propagation of a TXT record', () => {
  test('is complete when all authoritative servers have the value among others', async () => {
    const txt = { '192.0.2.1': { [NAME]: ['other', 'value'] }, '192.0.2.2': { [NAME]: ['value'] } };
    assert.equal(await checkOf({ ...zone, txt })(NAME, 'value'), undefined);
  });

  test('waits for a server that has another value or no record', async () => {
    for (const second of [{ [NAME]: ['old'] }, {}]) {
      const txt = { '192.0.2.1': { [NAME]: ['value'] }, '192.0.2.2': second };
      assert.equal(await checkOf({ ...zone, txt })(NAME, 'value'), 'it is missing at 192.0.2.2');
    }
  });

  test('leaves out a server that does not respond, unless no server responds', async () => {
    const silent = 'silent' as const;
    const one = { '192.0.2.1': silent, '192.0.2.2': { [NAME]: ['value'] } };
    assert.equal(await checkOf({ ...zone, txt: one })(NAME, 'value'), undefined);
    const none = { '192.0.2.1': silent, '192.0.2.2': silent };
    assert.match((await checkOf({ ...zone, txt: none })(NAME, 'value')) ?? '', /^none of .* responds$/);
  });

  test('follows an alias to another zone, and ends in a loop of aliases', async () => {
    const cname = { [NAME]: ['x.acme.example'], 'a.example': ['a.example'] };
    const ns = { 'acme.example': ['ns1.example.org'] };
    const txt = { '192.0.2.1': { 'x.acme.example': ['value'] } };
    const find = checkOf({ addresses: zone.addresses, ns, cname, txt });
    assert.equal(await find(NAME, 'value'), undefined);
    assert.match((await find('a.example', 'value')) ?? '', /name servers of a\.example cannot be found/);
  });

  test('is checked at the configured servers alone', async () => {
    const txt = { '192.0.2.53:5353': { [NAME]: ['value'] } };
    assert.equal(await checkOf({ txt }, ['192.0.2.53:5353'])(NAME, 'value'), undefined);
  });
});

suite('the answer to DNS-01', () => {
  const challenge = (name: string) =>
    ({ type: 'dns-01', name, token: 'token', keyAuthorization: 'token.print' }) as const;

  test('runs the hook once at a time, and waits for the record', async () => {
    let [atOnce, most, looks] = [0, 0, 0];
    const runs: string[] = [];
    const responder = createDnsResponder({
      async hook(action, { name, value }) {
        atOnce += 1;
        most = Math.max(most, atOnce);
        await new Promise<void>((done) => setImmediate(done));
        atOnce -= 1;
        runs.push(`${action} ${name} ${value}`);
      },
      find: async () => (++looks < 3 ? 'it is missing at 192.0.2.1' : undefined),
      uptime: () => 0,
      interval: 1,
    });
    const challenges = ['a.example', 'b.example'].map(challenge);
    await Promise.all(challenges.map((each) => responder.present(each)));
    await responder.spread(challenges);
    await Promise.all(challenges.map((each) => responder.cleanup(each)));
    // SHA-256 of the key authorization, in base64url.
    const value = runs[0]?.split(' ')[2] ?? '';
    assert.match(value, /^[\w-]{43}$/);
    const expected = ['present', 'cleanup'].flatMap((action) =>
      ['a.example', 'b.example'].map((name) => `${action} _acme-challenge.${name} ${value}`),
    );
    assert.deepEqual([runs, most, looks], [expected, 1, 4]);
  });

  test('fails if the record is not visible in time', async () => {
    let uptime = 0;
    const responder = createDnsResponder({
      hook: async () => {},
      async find() {
        uptime += 300_000;
        return 'it is missing at 192.0.2.1';
      },
      uptime: () => uptime,
      interval: 1,
    });
    await assert.rejects(
      responder.spread([challenge('a.example')]),
      /TXT record of _acme-challenge\.a\.example is not visible after 10 minutes: it is missing at 192\.0\.2\.1\./,
    );
  });
});
