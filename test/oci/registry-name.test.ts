import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseRegistryName } from '../../src/oci/registry-name.ts';

const NAMES = { names: new Map([['lab', 'registry.lab:5000']]), own: new Set(['dl.example.org']) };

const read = (name: string, namespace?: string): string => {
  const { domain, path } = parseRegistryName(name, namespace, NAMES);
  return `${domain} ${path}`;
};

suite('the name of a repository in the registry API', () => {
  test('begins with the host of a registry, or means Docker Hub', () => {
    assert.equal(read('busybox'), 'docker.io library/busybox');
    assert.equal(read('library/busybox'), 'docker.io library/busybox');
    assert.equal(read('org/app'), 'docker.io org/app');
    assert.equal(read('docker.io/library/busybox'), 'docker.io library/busybox');
    assert.equal(read('docker.io/busybox'), 'docker.io library/busybox');
    assert.equal(read('index.docker.io/org/app'), 'docker.io org/app');
    assert.equal(read('ghcr.io/org/app/part'), 'ghcr.io org/app/part');
    assert.equal(read('localhost/app'), 'localhost app');
    assert.equal(read('192.0.2.7/app'), '192.0.2.7 app');
    assert.equal(read('org.example'), 'docker.io library/org.example');
  });

  test('begins with a name from the settings', () => {
    assert.equal(read('lab/org/app'), 'registry.lab:5000 org/app');
    assert.equal(read('lab'), 'docker.io library/lab');
  });

  test('is within the namespace that containerd states', () => {
    assert.equal(read('library/busybox', 'docker.io'), 'docker.io library/busybox');
    assert.equal(read('org/app', 'registry.lab:5000'), 'registry.lab:5000 org/app');
    assert.equal(read('org/app', 'lab'), 'registry.lab:5000 org/app');
    assert.equal(read('ghcr.io/app', 'quay.io'), 'quay.io ghcr.io/app');
    assert.equal(read('app', '[2001:db8::1]:5000'), '[2001:db8::1]:5000 app');
  });

  test('may start with the namespace, as BuildKit sends it for a mirror with a path', () => {
    assert.equal(read('docker.io/library/busybox', 'docker.io'), 'docker.io library/busybox');
    assert.equal(read('docker.io/busybox', 'docker.io'), 'docker.io library/busybox');
    assert.equal(read('ghcr.io/org/app', 'GHCR.io'), 'ghcr.io org/app');
    assert.equal(read('ghcr.io', 'ghcr.io'), 'ghcr.io ghcr.io');
    assert.equal(read('lab/org/app', 'registry.lab:5000'), 'registry.lab:5000 lab/org/app');
  });

  test('counts alone where the namespace is this service', () => {
    assert.equal(read('quay.io/org/app', 'dl.example.org'), 'quay.io org/app');
    assert.equal(read('quay.io/org/app', 'dl.example.org:8443'), 'quay.io org/app');
    assert.equal(read('quay.io/org/app', 'DL.Example.org:8443'), 'quay.io org/app');
  });

  test('means the same registry in any case of the namespace', () => {
    assert.equal(read('org/app', 'GHCR.io'), 'ghcr.io org/app');
    assert.equal(read('org/app', 'Lab'), 'registry.lab:5000 org/app');
    assert.equal(read('busybox', 'Docker.IO'), 'docker.io library/busybox');
  });

  test('is refused where the specification does not allow it', () => {
    for (const name of [
      '',
      'App',
      'a//b',
      '/a',
      'a/',
      'a..b',
      'a___b',
      'a:5000/b',
      'a@b',
      'é',
      '-a',
      'a b',
    ]) {
      assert.throws(() => read(name), { code: 'reference-invalid' }, name);
    }
    for (const namespace of [
      '',
      'registry',
      'https://ghcr.io',
      'ghcr.io/org',
      'a b',
      'registry.lab:0',
      '300.1.1.1',
    ]) {
      assert.throws(() => read('app', namespace), { code: 'reference-invalid' }, namespace);
    }
  });
});
