import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { problemOf, startServer } from '../samples.ts';

interface Operation {
  summary?: string;
  description?: string;
  parameters?: { name: string; in: string; description?: string }[];
  responses: Record<string, object>;
}

interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
}

async function documentOf(): Promise<Document> {
  await using server = await startServer();
  const answer = await server.get('/openapi.json');
  assert.equal(answer.status, 200);
  assert.match(answer.header('content-type') ?? '', /^application\/json/);
  return JSON.parse(answer.body.toString()) as Document;
}

suite('/openapi.json', { timeout: 600_000 }, () => {
  test('is valid OpenAPI 3.1', async () => {
    const document = await documentOf();
    assert.equal(document.openapi, '3.1.0');
    const { valid, errors } = await new Validator().validate({ ...document });
    assert.ok(valid, JSON.stringify(errors));
  });

  test('has every route that is meant for clients, and no other', async () => {
    const { paths } = await documentOf();
    for (const path of [
      '/dl',
      '/dl/{image}.tar',
      '/dl/status',
      '/healthz',
      '/api/v1/info',
      '/api/v1/image',
      '/api/v1/delta',
      '/api/v1/tags',
      '/api/v1/search',
      '/api/v1/limits',
    ]) {
      assert.ok(paths[path]?.get?.summary, path);
    }
    assert.deepEqual(
      Object.keys(paths).filter((path) => !/^\/(?:dl|api\/v1|healthz|readyz|metrics)/.test(path)),
      [],
    );
  });

  test('each parameter is described, and each route of the API tells how it fails', async () => {
    for (const [path, operations] of Object.entries((await documentOf()).paths)) {
      for (const { parameters = [], responses } of Object.values(operations)) {
        for (const { name, description } of parameters) assert.ok(description, `${path} ${name}`);
        if (path.startsWith('/api/')) assert.ok(responses.default, path);
      }
    }
  });

  test('the parameters of downloads are those that there are, and no other', async () => {
    await using server = await startServer();
    const { paths } = await documentOf();
    for (const [documented, path] of [
      ['/dl', '/dl?myimage=a&'],
      ['/dl/{image}.tar', '/dl/a.tar?'],
      ['/dl/status', '/dl/status?myimage=a&'],
    ] as const) {
      const { detail } = problemOf(await server.get(`${path}unknown=1`));
      const [, list = ''] = /there is ([\w, ]+)\.$/.exec(detail) ?? [];
      const query = paths[documented]?.get?.parameters?.filter((one) => one.in === 'query') ?? [];
      assert.deepEqual(query.map(({ name }) => name).sort(), list.split(', ').sort(), documented);
    }
  });

  test('the download reads its query as ever, whatever is documented', async () => {
    await using server = await startServer();
    const answer = await server.get('/dl?myimage=a&arch=arm64');
    assert.equal(answer.reason, 'Unknown parameter "arch"');
  });

  test('the Location header of a redirect has one schema', async () => {
    await using server = await startServer();
    const text = (await server.get('/openapi.json')).body.toString();
    assert.match(text, /"Location":\{"schema":\{[^{}]*"type":"string"/);
    assert.doesNotMatch(text, /"schema":\{"schema"/);
  });
});
