import assert from 'node:assert/strict';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import openapiTS from 'openapi-typescript';
import { httpCall } from '../support/http-request.ts';
import { sha256 } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { startBed } from './bed.ts';

const ROOT = join(import.meta.dirname, '../..');

/** A program that a user of the generated types writes. It has the types of all parameters, answers, and errors. */
const CLIENT = `import { createHash } from 'node:crypto';
import createClient from 'openapi-fetch';
import type { paths } from './api.ts';

const [, , baseUrl = '', myimage = ''] = process.argv;
const client = createClient<paths>({ baseUrl });
const image = await client.GET('/api/v1/image', { params: { query: { myimage } } });
if (image.data === undefined) throw new Error(image.error.detail);
const size: number | null = image.data.size;
const { data, error } = await client.GET('/dl', {
  params: { query: { myimage: [myimage], format: 'docker' } },
  parseAs: 'arrayBuffer',
});
if (data === undefined) throw new Error(error.detail);
const bytes: ArrayBuffer = data;
const sha256 = createHash('sha256').update(new Uint8Array(bytes)).digest('hex');
console.log(JSON.stringify({ size, length: bytes.byteLength, sha256: \`sha256:\${sha256}\` }));
`;

const CONFIG = {
  compilerOptions: {
    ...{ target: 'es2024', module: 'nodenext', types: ['node'], noEmit: true, strict: true },
    ...{ exactOptionalPropertyTypes: true, allowImportingTsExtensions: true, verbatimModuleSyntax: true },
  },
  files: ['client.ts'],
};

suite('a client that openapi-typescript generates', {
  skip: skipUnless('docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  test('compiles, and downloads an archive as bytes', async () => {
    await using folder = await temporaryFolder();
    await using bed = await startBed();
    const document = JSON.parse((await httpCall(`${bed.url}/openapi.json`)).body.toString());
    const inside = (name: string) => join(folder.path, name);
    await symlink(join(ROOT, 'node_modules'), inside('node_modules'));
    await writeFile(inside('package.json'), JSON.stringify({ type: 'module' }));
    await writeFile(inside('api.ts'), await openapiTS(document));
    await writeFile(inside('client.ts'), CLIENT);
    await writeFile(inside('tsconfig.json'), JSON.stringify(CONFIG));
    await runOrThrow(join(ROOT, 'node_modules/.bin/tsc'), ['-p', folder.path], { timeout: 120_000 });
    const { stdout } = await runOrThrow(process.execPath, [inside('client.ts'), bed.url, bed.busybox]);
    const { body } = await httpCall(`${bed.url}/dl?myimage=${bed.busybox}`);
    assert.deepEqual(JSON.parse(stdout), { size: body.length, length: body.length, sha256: sha256(body) });
  });
});
