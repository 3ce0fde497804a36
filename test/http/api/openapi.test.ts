import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { INFO, problemOf, sharedServer, startServer } from '../samples.ts';

interface Operation {
  operationId?: string;
  summary?: string;
  description?: string;
  parameters?: { name: string; in: string; description?: string; required?: boolean; schema: Texts }[];
  responses: Record<string, object>;
}

/** The keywords of a parameter's schema that restrict its text. */
interface Texts {
  type?: string;
  minLength?: number;
  items?: Texts;
  anyOf?: { enum: string[] }[];
}

interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
}

async function documentOf(): Promise<Document> {
  await using server = await sharedServer();
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
    const routes = (
      '/dl /dl/{image}.tar /dl/status /file /healthz /api/v1/info /api/v1/image /api/v1/delta ' +
      '/api/v1/tags /api/v1/search /api/v1/limits /api/v1/files /api/v1/layers /api/v1/referrers ' +
      '/v2/ /v2/{name}/manifests/{reference} /v2/{name}/blobs/{digest} /v2/{name}/tags/list ' +
      '/v2/{name}/referrers/{digest}'
    ).split(' ');
    for (const path of routes) {
      assert.ok(paths[path]?.get?.summary, path);
    }
    assert.deepEqual(
      Object.keys(paths).filter((path) => !/^\/(?:dl|file|api\/v1|v2|healthz|readyz|metrics)/.test(path)),
      [],
    );
  });

  test('each parameter is described, and each route of the API tells how it fails', async () => {
    for (const [path, operations] of Object.entries((await documentOf()).paths)) {
      for (const { parameters = [], responses } of Object.values(operations)) {
        for (const { name, description } of parameters) assert.ok(description, `${path} ${name}`);
        if (/^\/(?:api|v2)\//.test(path)) assert.ok(responses.default, path);
      }
    }
  });

  test('the parameters of downloads are those that there are, and no other', async () => {
    await using server = await sharedServer();
    const { paths } = await documentOf();
    for (const [documented, path] of [
      ['/dl', '/dl?myimage=a&'],
      ['/dl/{image}.tar', '/dl/a.tar?'],
      ['/dl/status', '/dl/status?myimage=a&'],
    ] as const) {
      const { detail } = problemOf(await server.get(`${path}unknown=1`));
      const [, list = ''] = /Supported: ([\w, ]+)\.$/.exec(detail) ?? [];
      const query = paths[documented]?.get?.parameters?.filter((one) => one.in === 'query') ?? [];
      assert.deepEqual(query.map(({ name }) => name).sort(), list.split(', ').sort(), documented);
    }
  });

  test('an empty parameter is refused exactly if its schema forbids it', async () => {
    await using server = await startServer({ search: async () => [] });
    const forbidsEmpty = ({ type, minLength = 0, items, anyOf }: Texts): boolean =>
      items !== undefined ? forbidsEmpty(items) : anyOf !== undefined || type === 'integer' || minLength > 0;
    const valid: Record<string, string> = { myimage: 'a', have: 'b', repository: 'a', q: 'words' };
    for (const [path, { get }] of Object.entries((await documentOf()).paths)) {
      // The registry API ignores unknown and empty parameters, as other registries do.
      if (path.startsWith('/v2/')) continue;
      const query = get?.parameters?.filter((one) => one.in === 'query') ?? [];
      for (const { name, schema } of query) {
        const others = query.filter((one) => one.required && one.name !== name);
        const pairs = [...others.map((one) => `${one.name}=${valid[one.name]}`), `${name}=`];
        const url = `${path.replace('{image}', 'a')}?${pairs.join('&')}`;
        const { status, body } = await server.get(url);
        assert.equal(status, forbidsEmpty(schema) ? 400 : 200, `${url}: ${body}`);
      }
    }
  });

  test('the download reads its query as ever, whatever is documented', async () => {
    await using server = await sharedServer();
    const answer = await server.get('/dl?myimage=a&arch=arm64');
    assert.equal(answer.reason, 'Unknown parameter "arch"');
  });

  test('each operation has a unique identifier', async () => {
    const { paths } = await documentOf();
    const ids = Object.values(paths).flatMap((operations) =>
      Object.values(operations).map(({ operationId }) => operationId ?? ''),
    );
    for (const id of ids) assert.match(id, /^[a-z][A-Za-z]+$/);
    assert.equal(new Set(ids).size, ids.length, ids.join(' '));
  });

  test('all problems share one schema except in the registry API, and the archive is binary', async () => {
    await using server = await sharedServer();
    const text = (await server.get('/openapi.json')).body.toString();
    assert.equal(text.split('"violated-policies":').length, 2, 'The schema is in the document once');
    const { paths } = JSON.parse(text);
    for (const [path, operations] of Object.entries<Record<string, { responses: unknown }>>(paths)) {
      for (const { responses } of Object.values(operations)) {
        const { content } = (responses as { default: { content: unknown } }).default;
        const [type, name] = path.startsWith('/v2/')
          ? ['application/json', 'RegistryErrors']
          : ['application/problem+json', 'Problem'];
        const schema = { $ref: `#/components/schemas/${name}` };
        assert.deepEqual(content, { [type]: { schema } }, path);
      }
    }
    for (const path of ['/dl', '/dl/{image}.tar', '/file'])
      for (const type of ['application/x-tar', 'application/octet-stream'])
        assert.deepEqual(paths[path].get.responses['200'].content[type].schema, {
          ...{ type: 'string', format: 'binary', contentMediaType: type },
        });
    for (const type of ['application/gzip', 'application/zstd'])
      assert.ok(paths['/dl/{image}.tar'].get.responses['200'].content[type], type);
  });

  test('the registry API is documented only if it is on', async () => {
    await using server = await startServer({ info: () => ({ ...INFO, registryApi: false }) });
    const { paths } = JSON.parse((await server.get('/openapi.json')).body.toString());
    assert.deepEqual(
      Object.keys(paths).filter((path) => path.startsWith('/v2')),
      [],
    );
  });

  test('the Location header of a redirect has one schema', async () => {
    await using server = await sharedServer();
    const text = (await server.get('/openapi.json')).body.toString();
    assert.match(text, /"Location":\{"schema":\{[^{}]*"type":"string"/);
    assert.doesNotMatch(text, /"schema":\{"schema"/);
  });
});
