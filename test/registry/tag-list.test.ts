import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, suite, test } from 'node:test';
import { parseReference } from '../../src/oci/reference.ts';
import type { TagList } from '../../src/registry/tag-list.ts';
import { type Fault, type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { skipUnless } from '../support/packages.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { type StandardImages, standardImages } from '../support/standard-images.ts';
import { createStack, type Stack } from './stack.ts';

const never = new AbortController().signal;

suite('the tags of a repository, from a real registry', {
  skip: skipUnless('docker-registry', 'busybox-amd64', 'busybox-arm64'),
}, () => {
  let registry: Registry;
  let proxy: FaultProxy;
  let stack: Stack;
  let images: StandardImages;

  before(async () => {
    registry = await startRegistry();
    proxy = await startFaultProxy(registry.url);
    images = await standardImages(registry);
  });
  after(async () => {
    await proxy.close();
    await registry[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    proxy.inject(undefined);
    proxy.requests.length = 0;
    stack = createStack({ hosts: [proxy.host], trusted: [proxy.elsewhere] });
  });
  afterEach(() => stack.http.close());

  const tagsOf = (path: string): Promise<TagList> =>
    stack.client.tags(parseReference(`${proxy.host}/${path}`), never);
  const answer = (body: object, headers: Record<string, string> = {}): Fault => ({
    ...{ kind: 'answer', status: 200, headers, body: JSON.stringify(body) },
  });

  test('all of them are listed', async () => {
    const { tags, isComplete } = await tagsOf('library/busybox');
    assert.deepEqual([...tags].sort(), ['1.35', 'latest']);
    assert.equal(isComplete, true);
  });

  test('pages follow by the link of each', async () => {
    for (const tag of ['a', 'b', 'c']) await push(registry.url, 'test/pages', tag, images.busybox135);
    // Debian's registry gives all at once, whatever it is asked for: the first page is not its own.
    proxy.inject(({ path }) => {
      if (!path.includes('n=1000')) return undefined;
      const link = '</v2/test/pages/tags/list?last=a&n=1>; rel="next"';
      return answer({ name: 'test/pages', tags: ['a'] }, { link });
    });
    const { tags, isComplete } = await tagsOf('test/pages');
    assert.deepEqual(tags, ['a', 'b', 'c']);
    assert.equal(isComplete, true);
    assert.equal(proxy.requests.length, 2);
  });

  const bad: [what: string, link: (host: string, elsewhere: string) => string][] = [
    ['of another origin', (_host, elsewhere) => `${elsewhere}/v2/test/pages/tags/list?last=a`],
    ['of another list', (host) => `http://${host}/v2/test/other/tags/list?last=a`],
    ['out of the list', () => '/v2/test/pages/tags/list/../../manifests/latest?last=a'],
    ['at what is no URL', () => 'http://['],
    ['to itself', () => '/v2/test/pages/tags/list?n=1000'],
  ];
  for (const [what, linkOf] of bad) {
    test(`a link ${what} is not followed`, async () => {
      const link = `<${linkOf(proxy.host, proxy.elsewhere)}>; rel="next"`;
      proxy.inject(() => answer({ tags: ['a'] }, { link }));
      assert.deepEqual((await tagsOf('test/pages')).tags, ['a']);
      assert.equal(proxy.requests.length, 1);
    });
  }

  test('a list without an end is read up to a limit, and says so', async () => {
    let page = 0;
    proxy.inject(() => {
      page += 1;
      const link = `</v2/test/pages/tags/list?last=${page}>; rel="next"`;
      return answer({ tags: [`${page}`] }, { link });
    });
    const { tags, isComplete } = await tagsOf('test/pages');
    assert.equal(isComplete, false);
    assert.ok(tags.length <= 40 && proxy.requests.length === tags.length, `${tags.length}`);
  });

  test('what is no tag is left out', async () => {
    proxy.inject(() => answer({ tags: ['ok', '<script>', 'ok', 7, null, '', '-x', 'a'.repeat(129)] }));
    assert.deepEqual((await tagsOf('test/pages')).tags, ['ok']);
  });

  test('a repository without tags has none', async () => {
    proxy.inject(() => answer({ name: 'test/pages', tags: null }));
    assert.deepEqual((await tagsOf('test/pages')).tags, []);
  });

  test('what is not there, or no list, is an error that says so', async () => {
    await assert.rejects(tagsOf('test/nothing'), { code: 'image-not-found' });
    proxy.inject(() => ({ kind: 'answer', status: 200, body: 'no list' }));
    await assert.rejects(tagsOf('test/pages'), { code: 'registry-failed' });
    proxy.inject(() => ({ kind: 'answer', status: 429, headers: { 'retry-after': '7' } }));
    await assert.rejects(tagsOf('test/pages'), { code: 'registry-rate-limited', retryAfter: 7 });
  });
});
