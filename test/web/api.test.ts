import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { Check } from 'typebox/schema';
import { type Fault, type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { httpCall } from '../support/http-request.ts';
import { skipUnless } from '../support/packages.ts';
import { run } from '../support/process.ts';
import { push } from '../support/push.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { type Bed, startBed } from './bed.ts';

interface Response {
  readonly content: Readonly<Record<string, { readonly schema: object }>>;
}

/** OpenAPI, as far as it is looked at here. */
interface Document {
  readonly paths: Readonly<
    Record<string, { readonly get: { readonly responses: Record<string, Response> } }>
  >;
  readonly components: object;
}

suite('the API of the running service keeps to its own document', {
  skip: skipUnless('docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  let bed: Bed;
  let document: Document;

  before(async () => {
    bed = await startBed({
      DOCKERPROXY_RATE_LIMIT: '600/minute',
      DOCKERPROXY_PAGE_RATE_LIMIT: '600/minute',
      DOCKERPROXY_DOWNLOADS_PER_IP: '8',
      DOCKERPROXY_CONNECTIONS_PER_DOWNLOAD: '32',
      DOCKERPROXY_BANDWIDTH_PER_IP: '1GB',
      DOCKERPROXY_DAILY_BYTES: '1GiB',
      DOCKERPROXY_MAX_DOWNLOADS: '100',
    });
    document = JSON.parse((await httpCall(`${bed.url}/openapi.json`)).body.toString()) as Document;
  });
  after(() => bed[Symbol.asyncDispose]());

  const here = (name: string): string => `${bed.registry.host}/${name}`;
  const requests: [path: string, query: () => string, status: number][] = [
    ['/healthz', () => '', 200],
    ['/api/v1/info', () => '', 200],
    ['/api/v1/limits', () => '', 200],
    ['/api/v1/search', () => '?q=ngin', 200],
    ['/api/v1/search', () => '?q=', 400],
    ['/api/v1/tags', () => `?repository=${bed.busybox}`, 200],
    ['/api/v1/tags', () => `?repository=${bed.busybox}&filter=1.3&after=1.36`, 200],
    ['/api/v1/tags', () => `?repository=${here('test/nothing')}`, 404],
    ['/api/v1/image', () => `?myimage=${bed.busybox}`, 200],
    ['/api/v1/image', () => `?myimage=${bed.busybox}&platform=linux/arm64&format=oci`, 200],
    ['/api/v1/image', () => `?myimage=${here('test/zstd')}`, 200],
    ['/api/v1/image', () => `?myimage=${bed.busybox}&platform=linux/s390x`, 404],
    ['/api/v1/image', () => `?myimage=${here('test/helm')}`, 200],
    ['/api/v1/image', () => `?myimage=${here('test/helm')}&format=docker`, 422],
    ['/api/v1/files', () => `?myimage=${bed.busybox}&path=/bin`, 200],
    ['/api/v1/files', () => `?myimage=${bed.busybox}&path=/none`, 404],
    ['/api/v1/layers', () => `?myimage=${bed.busybox}`, 200],
    ['/api/v1/referrers', () => `?myimage=${bed.busybox}`, 200],
    ['/api/v1/image', () => '?myimage=evil.example/a', 403],
    ['/api/v1/image', () => '', 400],
    ['/api/v1/delta', () => `?myimage=${here('test/shared:2')}&have=${here('test/shared:1')}`, 200],
    ['/api/v1/delta', () => `?myimage=${bed.busybox}`, 400],
    ['/dl', () => '?myimage=UPPER', 400],
    ['/dl/status', () => '?myimage=UPPER', 400],
  ];
  for (const [path, query, expected] of requests) {
    test(`${path} answers with ${expected}, as it is documented`, async () => {
      const { status, headers, body } = await httpCall(bed.url + path + query());
      assert.equal(status, expected, body.toString());
      const { responses } = document.paths[path]?.get ?? { responses: {} };
      const { content } = responses[`${status}`] ?? responses.default ?? { content: {} };
      const type = headers['content-type']?.split(';', 1)[0] ?? '';
      const schema = content[type]?.schema;
      assert.ok(schema, `${type} is not documented`);
      const answer: unknown = JSON.parse(body.toString());
      assert.ok(Check({ ...schema, components: document.components }, answer), body.toString());
      if (path === '/api/v1/limits')
        assert.ok(!Object.values(answer as object).includes(null), 'it has limits');
    });
  }

  test('the details are those of the download', async () => {
    const { body } = await httpCall(`${bed.url}/api/v1/image?myimage=${bed.busybox}&platform=linux/arm64`);
    const details = JSON.parse(body.toString()) as Record<string, unknown>;
    const { headers } = await httpCall(`${bed.url}${details.downloadUrl}`, { method: 'HEAD' });
    assert.equal(`${details.size}`, headers['content-length']);
    assert.equal(details.etag, headers.etag);
    assert.equal(details.digest, headers['docker-content-digest']);
    assert.equal(headers['content-disposition'], `attachment; filename="${details.filename}"`);
  });
});

suite('the examples on the page of the API', {
  skip: skipUnless('docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  let bed: Bed;
  let document: Document;
  let mirror: FaultProxy;
  let examples: { path: string; line: string; answer: string }[];

  before(async () => {
    bed = await startBed({ DOCKERPROXY_RATE_LIMIT: '600/minute' }, async (registry) => {
      mirror = await startFaultProxy(registry.url, { hook: answerReferrers });
      return { DOCKERPROXY_REGISTRIES: `docker.io=${mirror.url}` };
    });
    const { shared1, shared2 } = bed.images;
    await push(bed.registry.url, 'library/busybox', '1.36', shared1);
    await push(bed.registry.url, 'library/busybox', '1.37', shared2);
    document = JSON.parse((await httpCall(`${bed.url}/openapi.json`)).body.toString()) as Document;
    const html = (await httpCall(`${bed.url}/api`)).body.toString();
    const article =
      /GET ([^<]+)<[\s\S]*?<pre class="sample"><code>([^<]+)<[\s\S]*?<pre class="answer"><code>([^<]+)</g;
    examples = [...html.matchAll(article)].map(([, path = '', line = '', answer = '']) => ({
      path: unescaped(path),
      line: unescaped(line),
      answer: unescaped(answer),
    }));
  });
  after(async () => {
    await bed[Symbol.asyncDispose]();
    await mirror[Symbol.asyncDispose]();
  });

  test('there is one for each route', () => {
    assert.deepEqual(examples.map(({ path }) => path).sort(), Object.keys(document.paths).sort());
  });

  test('each line runs as it is, and prints an answer of the form of the example', async () => {
    await using folder = await temporaryFolder();
    for (const { path, line, answer } of examples) {
      const { code, stdout, stderr } = await run('sh', ['-c', line], { cwd: folder.path, timeout: 60_000 });
      assert.equal(code, 0, `${line}: ${stderr}`);
      if (answer.startsWith('{')) {
        const { content = {} } = document.paths[path]?.get.responses['200'] ?? {};
        const [{ schema } = {}] = Object.values(content);
        assert.ok(schema, path);
        const example: unknown = JSON.parse(answer);
        assert.ok(Check({ ...schema, components: document.components }, example), `${path}: ${answer}`);
        const printed: unknown = JSON.parse(stdout);
        assert.deepEqual(formOf(printed, example), formOf(example, printed), `${path}: ${stdout}`);
      } else {
        const names = (text: string) => [...text.matchAll(/^([\w-]+): /gm)].map(([, name]) => name);
        const printed = new Set(names(stdout));
        assert.deepEqual(
          names(answer).filter((name) => !printed.has(name)),
          [],
          `${path}: ${stdout}`,
        );
      }
    }
  });
});

/** Debian's registry does not have the referrers API, and Docker Hub does not respond. */
function answerReferrers({ path }: { path: string }): Fault | undefined {
  const type = 'application/vnd.oci.image.index.v1+json';
  const body = JSON.stringify({ schemaVersion: 2, mediaType: type, manifests: [] });
  return path.includes('/referrers/')
    ? { kind: 'answer', status: 200, headers: { 'content-type': type }, body }
    : undefined;
}

/**
 * Replaces the values of an answer by their types. A list has the form of its first item. Null and an empty list have
 * the form of the value that the other answer has.
 */
function formOf(value: unknown, like: unknown): unknown {
  if (value === null || like === null) return 'null';
  if (Array.isArray(value)) {
    const [item] = value;
    const [example] = Array.isArray(like) ? like : [];
    return item === undefined || example === undefined ? 'list' : [formOf(item, example)];
  }
  if (typeof value !== 'object') return typeof value;
  const members = Object(like) as Record<string, unknown>;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, formOf(item, members[key])]));
}

function unescaped(html: string): string {
  return html
    .replaceAll('&#39;', "'")
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&amp;', '&');
}
