import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { suite, test } from 'node:test';
import { type EngineAddress, findEngine } from '../../../src/sources/engine/address.ts';

const FOLDER = '/home/user/.docker';
const CA = Buffer.from('ca');
const CERT = Buffer.from('cert');
const KEY = Buffer.from('key');

function find(
  variables: Record<string, string> = {},
  files: Record<string, Buffer | object> = {},
): EngineAddress {
  const readFile = (path: string): Buffer | undefined => {
    const file = files[path];
    return file === undefined || Buffer.isBuffer(file) ? file : Buffer.from(JSON.stringify(file));
  };
  return findEngine({ variables, configFolder: FOLDER, readFile });
}

function idOf(context: string): string {
  return createHash('sha256').update(context).digest('hex');
}

function contextFiles(name: string, endpoint: object, tls: Record<string, Buffer> = {}) {
  const id = idOf(name);
  return {
    [`${FOLDER}/contexts/meta/${id}/meta.json`]: { Name: name, Endpoints: { docker: endpoint } },
    ...Object.fromEntries(
      Object.entries(tls).map(([file, bytes]) => [`${FOLDER}/contexts/tls/${id}/docker/${file}`, bytes]),
    ),
  };
}

const USUAL = { kind: 'unix', url: 'unix:///var/run/docker.sock', socketPath: '/var/run/docker.sock' };

suite('if the engine is', () => {
  test('without anything, at the usual socket', () => {
    assert.deepEqual(find(), USUAL);
    assert.deepEqual(find({ DOCKER_HOST: '', DOCKER_CONTEXT: '' }), USUAL);
    assert.deepEqual(find({ DOCKER_CONTEXT: 'default' }), USUAL);
    assert.deepEqual(find({}, { [`${FOLDER}/config.json`]: { currentContext: 'default' } }), USUAL);
    assert.deepEqual(find({}, { [`${FOLDER}/config.json`]: Buffer.from('{') }), USUAL);
  });

  test('DOCKER_HOST names a socket', () => {
    const url = 'unix:///run/user/1000/podman/podman.sock';
    assert.deepEqual(find({ DOCKER_HOST: url }), {
      kind: 'unix',
      url,
      socketPath: url.slice('unix://'.length),
    });
  });

  const plain: [text: string, host: string, port: number][] = [
    ['tcp://engine.lan:2375', 'engine.lan', 2375],
    ['tcp://engine.lan', 'engine.lan', 2375],
    ['engine.lan:80', 'engine.lan', 80],
    ['tcp://[::1]:4000', '::1', 4000],
    ['http://10.0.0.1:2375/', '10.0.0.1', 2375],
  ];
  for (const [text, host, port] of plain) {
    test(`DOCKER_HOST=${text} is plain HTTP`, () => {
      const address = find({ DOCKER_HOST: text });
      assert.ok(address.kind === 'tcp');
      assert.deepEqual([address.host, address.port, address.tls], [host, port, undefined]);
    });
  }

  test('DOCKER_TLS_VERIFY takes the certificates of DOCKER_CERT_PATH, else those beside config.json', () => {
    const files = {
      '/certs/ca.pem': CA,
      '/certs/cert.pem': CERT,
      '/certs/key.pem': KEY,
      [`${FOLDER}/ca.pem`]: KEY,
    };
    const DOCKER_HOST = 'tcp://docker';
    const given = find({ DOCKER_HOST, DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: '/certs' }, files);
    assert.deepEqual(given, {
      kind: 'tcp',
      url: 'tcp://docker:2376',
      host: 'docker',
      port: 2376,
      tls: { ca: CA, cert: CERT, key: KEY, verify: true },
    });
    const beside = find({ DOCKER_HOST, DOCKER_TLS_VERIFY: '1' }, files);
    assert.ok(beside.kind === 'tcp');
    assert.deepEqual(beside.tls, { ca: KEY, cert: undefined, key: undefined, verify: true });
    const unverified = find({ DOCKER_HOST, DOCKER_CERT_PATH: '/certs' }, files);
    assert.ok(unverified.kind === 'tcp');
    assert.equal(unverified.tls?.verify, false);
  });

  test('the current context counts where DOCKER_HOST is not set, and DOCKER_CONTEXT before it', () => {
    const config = { [`${FOLDER}/config.json`]: { currentContext: 'remote' } };
    const remote = contextFiles(
      'remote',
      { Host: 'tcp://remote:2376' },
      { 'ca.pem': CA, 'cert.pem': CERT, 'key.pem': KEY },
    );
    const other = contextFiles('other', { Host: 'unix:///other.sock', SkipTLSVerify: false });
    const files = { ...config, ...remote, ...other };
    assert.deepEqual(find({}, files), {
      kind: 'tcp',
      url: 'tcp://remote:2376',
      host: 'remote',
      port: 2376,
      tls: { ca: CA, cert: CERT, key: KEY, verify: true },
    });
    assert.equal(find({ DOCKER_CONTEXT: 'other' }, files).url, 'unix:///other.sock');
    assert.equal(
      find({ DOCKER_HOST: 'unix:///a.sock', DOCKER_CONTEXT: 'other' }, files).url,
      'unix:///a.sock',
    );
    const careless = contextFiles('careless', { Host: 'tcp://c', SkipTLSVerify: true });
    const address = find({ DOCKER_CONTEXT: 'careless' }, careless);
    assert.ok(address.kind === 'tcp');
    assert.equal(address.tls?.verify, false);
  });

  test('unusable settings are reported', () => {
    for (const text of [
      'ssh://user@host',
      'npipe:////./pipe/docker_engine',
      'unix://',
      'tcp://a:b:c',
      'tcp://h/path',
      'fd://',
    ]) {
      assert.throws(
        () => find({ DOCKER_HOST: text }),
        { message: /^DOCKER_HOST is ".*": write it as unix:/ },
        text,
      );
    }
    assert.throws(() => find({ DOCKER_CONTEXT: 'gone' }), /Cannot find the Docker context "gone"/);
    assert.throws(() => find({ DOCKER_CONTEXT: 'empty' }, contextFiles('empty', {})), /names no engine/);
  });
});
