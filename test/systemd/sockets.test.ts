import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { ConfigError } from '../../src/config/loader.ts';
import { passedSockets } from '../../src/systemd/sockets.ts';

const PID = 4242;

function passed(names: string, count = names.split(':').length, tls: 'acme' | 'off' = 'acme') {
  const variables = { LISTEN_PID: `${PID}`, LISTEN_FDS: `${count}`, LISTEN_FDNAMES: names };
  return passedSockets(variables, PID, { tls });
}

suite('sockets that systemd passes on', () => {
  test('each has the use that its name tells', () => {
    assert.deepEqual(passed('metrics:http:https'), { metrics: 3, http: 4, https: 5 });
    assert.deepEqual(passed('http', 1, 'off'), { http: 3 });
  });

  test('those of one unit share a name, which tells it of each in their order', () => {
    assert.deepEqual(passed('http,https:http,https'), { http: 3, https: 4 });
    assert.deepEqual(passed('metrics:http,https:http,https'), { metrics: 3, http: 4, https: 5 });
    assert.deepEqual(passed('http,https', 1, 'off'), { http: 3 });
  });

  test('sockets for another or an unknown process are left alone', () => {
    const variables = { LISTEN_FDS: '1', LISTEN_FDNAMES: 'http' };
    assert.deepEqual(passedSockets({ ...variables, LISTEN_PID: '1' }, PID, { tls: 'off' }), {});
    assert.deepEqual(passedSockets(variables, PID, { tls: 'off' }), {});
    assert.deepEqual(passed('', 0), {});
  });

  for (const [what, names, count] of [
    ['a name that is none', 'dockerproxy.socket', 1],
    ['no name', '', 1],
    ['more sockets than names', 'http', 2],
    ['two for one use', 'http:http', 2],
    ['more sockets than the name tells of', 'http,https:http,https:http,https', 3],
  ] as const) {
    test(`${what} is a mistake`, () => {
      assert.throws(
        () => passed(names, count),
        (error) => {
          assert.ok(error instanceof ConfigError);
          assert.match(error.message, /FileDescriptorName=/);
          return true;
        },
      );
    });
  }

  test('an invalid number is a mistake', () => {
    const variables = { LISTEN_PID: `${PID}`, LISTEN_FDS: '-1' };
    assert.throws(() => passedSockets(variables, PID, { tls: 'off' }), /LISTEN_FDS: "-1" is not a number/);
  });

  test('HTTPS without a certificate is a mistake: its clients would wait forever', () => {
    assert.throws(
      () => passed('http,https:http,https', 2, 'off'),
      /no certificate is configured\. Set --domains/,
    );
  });
});
