import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseDigest } from '../../src/oci/digest.ts';
import { parseReference } from '../../src/oci/reference.ts';
import type { Handler } from '../support/hostile-registry.ts';
import { useHostileRegistry } from './hostile-stack.ts';

const never = new AbortController().signal;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const DIGEST = parseDigest(`sha256:${'a'.repeat(64)}`);
const entry = (at: number) => ({ mediaType: INDEX, digest: `sha256:${`${at}`.padStart(64, '0')}`, size: 2 });
const indexOf = (...entries: readonly number[]): string =>
  JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: entries.map(entry) });

/** The body of a page, and the link to the next one. */
type Page = { readonly body: string; readonly link?: string; readonly status?: number };

suite('the list of what refers to a manifest', () => {
  const { registry, stack } = useHostileRegistry();

  const listPath = (name: string): string => `/v2/${name}/referrers/${DIGEST}`;
  /** Serves pages by what stands behind `last=`. */
  const serve = (name: string, pageOf: (last: string) => Page): void => {
    const handler: Handler = (request, response) => {
      const {
        body,
        link,
        status = 200,
      } = pageOf(new URL(request.url ?? '', registry().url).searchParams.get('last') ?? '');
      response.writeHead(status, { 'content-type': INDEX, ...(link !== undefined && { link }) }).end(body);
    };
    registry().at(listPath(name), handler);
  };
  const next = (name: string, last: number | string): string =>
    `<${listPath(name)}?last=${last}>; rel="next"`;
  const referrersOf = (name: string) =>
    stack().client.referrers(parseReference(`${registry().host}/${name}`), DIGEST, never);
  const entriesOf = async (name: string): Promise<unknown[]> =>
    JSON.parse(Buffer.from((await referrersOf(name))?.bytes ?? []).toString()).manifests;

  test('on one page is what the registry sends, byte for byte', async () => {
    const body = ` ${indexOf(1, 2)} `;
    serve('one', () => ({ body }));
    assert.equal(`${Buffer.from((await referrersOf('one'))?.bytes ?? [])}`, body);
  });

  test('on several pages is that of all of them', async () => {
    serve('pages', (last) =>
      last === ''
        ? { body: indexOf(1, 2), link: next('pages', 2) }
        : last === '2'
          ? { body: indexOf(3), link: next('pages', 3) }
          : { body: indexOf(4) },
    );
    assert.deepEqual(await entriesOf('pages'), [1, 2, 3, 4].map(entry));
    assert.equal(registry().requests('pages').length, 3);
  });

  test('combines all pages even if the links name another host', async () => {
    const link = next('renamed', 1).replace('<', '<http://registry.internal:5000');
    serve('renamed', (last) => (last === '' ? { body: indexOf(1), link } : { body: indexOf(2) }));
    assert.deepEqual(await entriesOf('renamed'), [1, 2].map(entry));
  });

  test('is empty if the registry does not have the API', async () => {
    for (const status of [400, 404, 405]) {
      serve('none', () => ({ body: '', status }));
      assert.equal(await referrersOf('none'), undefined);
    }
    serve('none', () => ({ body: '', status: 503 }));
    await assert.rejects(referrersOf('none'), { code: 'registry-unavailable' });
  });

  const broken: [what: string, pageOf: (last: string, name: string) => Page][] = [
    ['that goes round in a circle', (_last, name) => ({ body: indexOf(1), link: next(name, 1) })],
    ['without an end', (last, name) => ({ body: indexOf(1), link: next(name, Number(last) + 1) })],
    ['that goes on elsewhere', () => ({ body: indexOf(1), link: `<http://127.0.0.9/v2/x>; rel="next"` })],
    [
      'that goes on as another list',
      (_last, name) => ({ body: indexOf(1), link: `<${listPath(name)}/../x>; rel="next"` }),
    ],
    [
      'of which a page is missing',
      (last, name) => (last === '' ? { body: indexOf(1), link: next(name, 1) } : { body: '', status: 404 }),
    ],
    [
      'of which a page is none',
      (last, name) => (last === '' ? { body: indexOf(1), link: next(name, 1) } : { body: '[]' }),
    ],
    [
      'of megabytes',
      (last, name) => ({ body: indexOf(1) + ' '.repeat(2 ** 20), link: next(name, Number(last) + 1) }),
    ],
  ];
  for (const [at, [what, pageOf]] of broken.entries()) {
    test(`${what} is taken for no list at all`, async () => {
      const name = `broken${at}`;
      serve(name, (last) => pageOf(last, name));
      await assert.rejects(referrersOf(name), { name: 'ServiceError' });
      assert.ok(registry().requests(name).length <= 20);
    });
  }
});
