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
    // Debian's registry always sends all tags, so a stand-in serves the first page.
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
    ['of another origin and list', (_host, elsewhere) => `${elsewhere}/v2/test/other/tags/list?last=a`],
    ['of another list', (host) => `http://${host}/v2/test/other/tags/list?last=a`],
    ['out of the list', () => '/v2/test/pages/tags/list/../../manifests/latest?last=a'],
    ['at what is no URL', () => 'http://['],
    ['to itself', () => '/v2/test/pages/tags/list?n=1000'],
  ];
  for (const [what, linkOf] of bad) {
    test(`a link ${what} is not followed`, async () => {
      const link = `<${linkOf(proxy.host, proxy.elsewhere)}>; rel="next"`;
      proxy.inject(() => answer({ tags: ['a'] }, { link }));
      assert.deepEqual(await tagsOf('test/pages'), { tags: ['a'], isComplete: false });
      assert.equal(proxy.requests.length, 1);
    });
  }

  const renamed: [what: string, origin: (host: string, elsewhere: string) => string][] = [
    ['another scheme', (host) => `https://${host}`],
    ['another host', (_host, elsewhere) => elsewhere],
    ['a host without a scheme', () => '//registry.internal:5000'],
  ];
  for (const [what, originOf] of renamed) {
    test(`a link of ${what} is followed at the registry itself`, async () => {
      const link = `<${originOf(proxy.host, proxy.elsewhere)}/v2/test/pages/tags/list?last=a>; rel="next"`;
      proxy.inject(({ path }) =>
        path.includes('last=a') ? answer({ tags: ['b'] }) : answer({ tags: ['a'] }, { link }),
      );
      assert.deepEqual(await tagsOf('test/pages'), { tags: ['a', 'b'], isComplete: true });
      assert.deepEqual(
        proxy.requests.map(({ origin, path }) => [origin, path]),
        [
          ['registry', '/v2/test/pages/tags/list?n=1000'],
          ['registry', '/v2/test/pages/tags/list?last=a'],
        ],
      );
    });
  }

  suite('without links', () => {
    const all = Array.from({ length: 2500 }, (_, at) => `v${`${at}`.padStart(4, '0')}`);
    const lastOf = (path: string): string | null => new URL(path, proxy.url).searchParams.get('last');
    const asked = (): (string | null)[] => proxy.requests.map(({ path }) => lastOf(path));
    /** Answers like `crane registry serve`, which starts over after the last tag. */
    const cutLikeCrane = (tags: readonly string[]): void =>
      proxy.inject(({ path }) => {
        const last = lastOf(path);
        const from =
          last === null
            ? 0
            : Math.max(
                tags.findIndex((tag) => tag > last),
                0,
              );
        return answer({ tags: tags.slice(from, from + 1000) });
      });

    test('a full page continues after its last tag', async () => {
      cutLikeCrane(all);
      assert.deepEqual(await tagsOf('test/pages'), { tags: all, isComplete: true });
      assert.deepEqual(asked(), [null, 'v0999', 'v1999']);
    });

    test('a full last page is the end if no new tag follows', async () => {
      cutLikeCrane(all.slice(0, 2000));
      assert.deepEqual(await tagsOf('test/pages'), { tags: all.slice(0, 2000), isComplete: true });
      assert.deepEqual(asked(), [null, 'v0999', 'v1999']);
    });

    test('an empty page is the end', async () => {
      proxy.inject(({ path }) => answer({ tags: lastOf(path) === null ? all.slice(0, 1000) : [] }));
      assert.deepEqual(await tagsOf('test/pages'), { tags: all.slice(0, 1000), isComplete: true });
    });

    test('a page that is not full is the end', async () => {
      cutLikeCrane(all.slice(0, 999));
      assert.equal((await tagsOf('test/pages')).isComplete, true);
      assert.deepEqual(asked(), [null]);
    });

    test('a page that is longer than requested is complete', async () => {
      proxy.inject(() => answer({ tags: all }));
      assert.deepEqual(await tagsOf('test/pages'), { tags: all, isComplete: true });
      assert.deepEqual(asked(), [null]);
    });

    const stuck: [what: string, fault: Fault][] = [
      ['ignores it', answer({ tags: all.slice(0, 1000) })],
      ['refuses it', { kind: 'answer', status: 400 }],
    ];
    for (const [what, fault] of stuck) {
      test(`a registry that ${what} is said to have more`, async () => {
        proxy.inject(({ path }) => (lastOf(path) === null ? answer({ tags: all.slice(0, 1000) }) : fault));
        assert.deepEqual(await tagsOf('test/pages'), { tags: all.slice(0, 1000), isComplete: false });
        assert.deepEqual(asked(), [null, 'v0999']);
      });
    }

    test('a list without an end is read up to a limit, and says so', async () => {
      proxy.inject(() => {
        const page = proxy.requests.length;
        return answer({ tags: all.slice(0, 1000).map((tag) => `${tag}-${page}`) });
      });
      const { tags, isComplete } = await tagsOf('test/pages');
      assert.deepEqual([tags.length, isComplete, proxy.requests.length], [20_000, false, 20]);
    });
  });

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

  test('a list of long tags is read up to a number of characters, and says so', async () => {
    proxy.inject(() => {
      const page = proxy.requests.length;
      const tags = Array.from({ length: 1000 }, (_, at) => `${page}.${at}.`.padEnd(128, '1.'));
      return answer({ tags });
    });
    const { tags, isComplete } = await tagsOf('test/pages');
    assert.deepEqual([tags.length, isComplete, proxy.requests.length], [2 ** 20 / 128, false, 9]);
  });

  test('a list of large pages without tags ends at a number of bytes, marked as incomplete', async () => {
    const sheets = [
      () => ['x'.repeat(100_000)],
      (page: number) => [`${page}`, ...Array<string>(200_000).fill('same')],
      () => Array<string>(1_000).fill('\u00e9'.repeat(100)),
      () => Array<number>(300_000).fill(1),
    ];
    for (const sheet of sheets) {
      proxy.requests.length = 0;
      let sent = 0;
      proxy.inject(() => {
        const page = proxy.requests.length;
        const tags = sheet(page);
        sent += JSON.stringify(tags).length;
        const link = `</v2/test/pages/tags/list?last=${page}>; rel="next"`;
        return answer({ tags }, { link });
      });
      const { isComplete } = await tagsOf('test/pages');
      assert.equal(isComplete, false);
      assert.ok(sent <= 8 * 2 ** 20, `${sent} bytes`);
    }
  });

  test('invalid tags are omitted', async () => {
    proxy.inject(() => answer({ tags: ['ok', '<script>', 'ok', 7, null, '', '-x', 'a'.repeat(129)] }));
    assert.deepEqual((await tagsOf('test/pages')).tags, ['ok']);
  });

  test('a repository without tags has an empty list', async () => {
    proxy.inject(() => answer({ name: 'test/pages', tags: null }));
    assert.deepEqual((await tagsOf('test/pages')).tags, []);
  });

  test('a missing or invalid list is a clear error', async () => {
    await assert.rejects(tagsOf('test/nothing'), { code: 'image-not-found' });
    proxy.inject(() => ({ kind: 'answer', status: 200, body: 'no list' }));
    await assert.rejects(tagsOf('test/pages'), { code: 'registry-failed' });
    proxy.inject(() => ({ kind: 'answer', status: 429, headers: { 'retry-after': '7' } }));
    await assert.rejects(tagsOf('test/pages'), { code: 'registry-rate-limited', retryAfter: 7 });
  });
});
