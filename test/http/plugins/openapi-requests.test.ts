import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import fc from 'fast-check';
import { Errors } from 'typebox/schema';
import { type Answer, type RunningServer, sampleTags, startServer } from '../samples.ts';

type JsonSchema = Readonly<Record<string, unknown>>;

interface Parameter {
  readonly name: string;
  readonly in: 'query' | 'path';
  readonly required?: boolean;
  readonly schema: JsonSchema & {
    readonly type?: string;
    readonly items?: JsonSchema;
    readonly anyOf?: readonly { readonly enum: readonly string[] }[];
    readonly minLength?: number;
    readonly maxLength?: number;
    readonly minItems?: number;
    readonly maxItems?: number;
    readonly minimum?: number;
    readonly maximum?: number;
  };
}

interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: JsonSchema }>> }>
  >;
}

interface Document {
  readonly paths: Readonly<Record<string, { readonly get: Operation }>>;
  readonly components: object;
}

/** A query as pairs, because a parameter may be given several times. */
type Query = readonly (readonly [name: string, value: string])[];

/** Meaningful values, so that some requests pass the first check. */
const MEANINGFUL: Readonly<Record<string, readonly string[]>> = {
  myimage: ['busybox', 'nginx:1.27', `app/x@sha256:${'a'.repeat(64)}`, 'ghcr.io/org/app', 'UPPER', 'a:b:c'],
  image: ['busybox', 'ghcr.io/org/app:1.2', 'a b'],
  have: ['busybox:1.36', `sha256:${'b'.repeat(64)}`, 'sha256:short'],
  repository: ['nginx', 'ghcr.io/org/app', 'nginx:1'],
  platform: ['linux/amd64', 'linux/arm64/v8', 'all', 'linux/amd64,linux/arm64', 'windows', '/'],
  parts: ['4GiB', '25MB', '1B', 'all'],
};
const RUNS = 60;

/** Generates values that the schema of a parameter allows. */
function valuesOf({ name, schema }: Parameter): fc.Arbitrary<string> {
  const { type, anyOf, minLength = 0, maxLength = 20, minimum = 0, maximum = 2 ** 31 } = schema;
  if (anyOf !== undefined) return fc.constantFrom(...anyOf.flatMap((one) => one.enum));
  if (type === 'integer') return fc.integer({ min: minimum, max: maximum }).map(String);
  const least = (schema.items as { minLength?: number } | undefined)?.minLength ?? minLength;
  const text = fc.string({ minLength: least, maxLength: Math.max(maxLength, least), unit: 'grapheme' });
  return fc.oneof(fc.constantFrom(...(MEANINGFUL[name] ?? ['a1'])), text);
}

function queryOf(parameters: readonly Parameter[]): fc.Arbitrary<Query> {
  const each = parameters
    .filter((parameter) => parameter.in === 'query')
    .map((parameter) => {
      const { name, required = false, schema } = parameter;
      const value = valuesOf(parameter);
      const least = required ? Math.max(schema.minItems ?? 1, 1) : 0;
      const most = schema.type === 'array' ? Math.min(schema.maxItems ?? 5, 5) : 1;
      return fc
        .array(value, { minLength: least, maxLength: Math.max(most, least) })
        .map((values) => values.map((one) => [name, one] as const));
    });
  return fc.tuple(...each).map((pairs) => pairs.flat());
}

/** Generates queries that the schema forbids. */
function brokenQueryOf(parameters: readonly Parameter[]): fc.Arbitrary<Query> {
  const query = parameters.filter((parameter) => parameter.in === 'query');
  const broken: fc.Arbitrary<Query>[] = [
    fc
      .tuple(queryOf(query), fc.string({ minLength: 1, unit: fc.constantFrom('a', 'b', '.', '[', '-') }))
      .map(([valid, name]): Query => [...valid, [`x${name}`, '1']]),
  ];
  for (const { name, schema, required } of query) {
    const others = queryOf(query.filter((other) => other.name !== name));
    const add = (...values: readonly string[]): void => {
      const pairs = values.map((value) => [name, value] as const);
      broken.push(others.map((valid): Query => [...valid, ...pairs]));
    };
    const items = (schema.items ?? schema) as Parameter['schema'];
    if (required) add();
    if (schema.type === 'array') add(...Array<string>((schema.maxItems ?? 1_000) + 1).fill('busybox'));
    else add('linux/amd64', 'linux/amd64');
    if ((items.minLength ?? 0) > 0) add('');
    if (items.maxLength !== undefined) add('a'.repeat(items.maxLength + 1));
    if (schema.anyOf !== undefined) add('neither');
    if (schema.type === 'integer') add('1.5');
    if (schema.minimum !== undefined) add(`${schema.minimum - 1}`);
    if (schema.maximum !== undefined) add(`${schema.maximum + 1}`);
  }
  return fc.oneof(...broken);
}

suite('requests as /openapi.json describes them', { timeout: 600_000 }, () => {
  let server: RunningServer;
  let document: Document;

  before(async () => {
    server = await startServer({
      catalogue: { tags: async () => sampleTags(['latest', '1.27']) },
      search: async () => [],
    });
    document = JSON.parse((await server.get('/openapi.json')).body.toString()) as Document;
  });
  after(() => server[Symbol.asyncDispose]());

  const urlOf = (path: string, image: string, query: Query): string => {
    const search = new URLSearchParams(query.map(([name, value]): [string, string] => [name, value]));
    const text = path.replace('{image}', image.split('/').map(encodeURIComponent).join('/'));
    return `${text}?${search}`;
  };

  const assertMatches = (schema: JsonSchema, { head, body }: Answer, url: string): void => {
    const whole = { ...schema, components: document.components };
    const value: unknown = JSON.parse(body.toString());
    const [isValid, errors] = Errors(whole, value);
    assert.ok(isValid, `${url}\n${head}\n${body}\n${JSON.stringify(errors)}`);
  };

  /** Checks the status, the media type and any JSON body against the documented operation. */
  const assertDocumented = ({ responses }: Operation, answer: Answer, url: string): void => {
    const { status } = answer;
    assert.ok(status < 500, `${url}: ${answer.head}`);
    const { content } = responses[status] ?? responses.default ?? {};
    const [type = ''] = (answer.header('content-type') ?? '').split(';');
    if (content === undefined) return;
    const media = content[type];
    assert.ok(media !== undefined, `${url}: ${status} has the undocumented type ${type}`);
    if (/json$/.test(type)) assertMatches(media.schema, answer, url);
  };

  for (const path of [
    ...['/dl', '/dl/{image}.tar', '/dl/status', '/healthz', '/api/v1/info', '/api/v1/image'],
    ...['/api/v1/delta', '/api/v1/tags', '/api/v1/search', '/api/v1/limits'],
  ]) {
    test(`${path} answers valid parameters as documented`, async () => {
      const operation = document.paths[path]?.get;
      assert.ok(operation);
      const { parameters = [] } = operation;
      const image = fc.constantFrom(...(MEANINGFUL.image ?? []));
      await fc.assert(
        fc.asyncProperty(image, queryOf(parameters), async (name, query) => {
          const url = urlOf(path, name, query);
          assertDocumented(operation, await server.get(url), url);
        }),
        { numRuns: parameters.length === 0 ? 1 : RUNS },
      );
    });

    // A health check accepts any query, such as one that bypasses caches.
    if (path === '/healthz') continue;
    test(`${path} refuses invalid parameters with a problem`, async () => {
      const operation = document.paths[path]?.get;
      assert.ok(operation);
      const { parameters = [] } = operation;
      await fc.assert(
        fc.asyncProperty(brokenQueryOf(parameters), async (query) => {
          const url = urlOf(path, 'busybox', query);
          const answer = await server.get(url);
          assert.ok(answer.status >= 400 && answer.status < 500, `${url}: ${answer.head}`);
          assertDocumented(operation, answer, url);
        }),
        { numRuns: RUNS },
      );
    });
  }
});
