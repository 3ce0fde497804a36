import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type Digest, sha256 } from '../../../src/oci/digest.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import {
  createReferrerFinder,
  type FindReferrers,
  type Referrer,
} from '../../../src/sources/registry/referrers.ts';
import { createStack, type Stack } from '../../registry/stack.ts';
import { type HostileRegistry, startHostileRegistry } from '../../support/hostile-registry.ts';
import { index } from '../../support/images.ts';

const never = new AbortController().signal;
const digestOf = (at: number): Digest => sha256(new TextEncoder().encode(`${at}`));
const digests = (count: number): Digest[] => Array.from({ length: count }, (_, at) => digestOf(at));

suite('referrers of images', { timeout: 600_000 }, () => {
  let registry: HostileRegistry;
  let stack: Stack;
  const clock = { now: 1000 };

  before(async () => {
    registry = await startHostileRegistry();
    stack = createStack({ hosts: [registry.host] });
    for (const repository of ['alone', 'another', 'some', 'more', 'broken'])
      registry.misbehave(repository, {
        manifest: (_request, response) => void response.writeHead(404).end(),
      });
  });
  after(async () => {
    await stack.http.close();
    await registry[Symbol.asyncDispose]();
  });

  const begin = (): (() => FindReferrers) => {
    const search = createReferrerFinder({ client: stack.client, now: () => clock.now });
    return () => search().find;
  };
  const find = async (
    search: FindReferrers,
    name: string,
    subjects: readonly Digest[],
  ): Promise<Referrer[]> => {
    const found: Referrer[] = [];
    for await (const one of search(parseReference(`${registry.host}/${name}`), subjects, never))
      found.push(one);
    return found;
  };

  test('are not requested again for half a minute if the list was empty', async () => {
    const search = begin();
    const ask = async (name: string): Promise<number> => {
      const asked = registry.requests(name).length;
      assert.equal((await find(search(), name, digests(3))).length, 0);
      return registry.requests(name).length - asked;
    };
    assert.equal(await ask('alone'), 15);
    assert.equal(await ask('alone'), 0);
    assert.equal(await ask('another'), 15, 'a repository knows nothing of another one');
    clock.now += 29_999;
    assert.equal(await ask('alone'), 0);
    clock.now += 2;
    assert.equal(await ask('alone'), 15);
  });

  test('are requested each time if the list was not empty, because it can change', async () => {
    const search = begin();
    const subject = digestOf(0);
    const tag = `${subject.replace(':', '-')}.sig`;
    const signature = index([index([])]);
    registry.misbehave('signed', {
      manifest: (request, response) => {
        if (!request.url?.endsWith(`/${tag}`)) return void response.writeHead(404).end();
        response.writeHead(200, { 'content-type': signature.descriptor.mediaType }).end(signature.bytes);
      },
    });
    for (let times = 1; times <= 2; times += 1) {
      const found = await find(search(), 'signed', [subject]);
      assert.deepEqual(
        found.map((one) => [one.tag, one.found.digest]),
        [[tag, signature.descriptor.digest]],
      );
      assert.equal(registry.requests('signed').length, times * 5);
    }
  });

  test('are requested for up to a hundred manifests of a request, and for no manifest of a larger one', async () => {
    const search = begin()();
    await find(search, 'some', digests(60));
    const asked = registry.requests('more').length;
    await assert.rejects(find(search, 'more', digests(41)), {
      code: 'parameter-invalid',
      message: /41 images and indexes\. A request looks up the referrers of at most 100\. Omit &referrers=1/,
      reason: 'Too many images for referrers: at most 100',
    });
    assert.equal(registry.requests('more').length, asked);
    assert.equal((await find(begin()(), 'more', digests(41))).length, 0);
  });

  test('are not cached as an empty list if the registry fails', async () => {
    const search = begin();
    registry.at(`/v2/broken/referrers/${digestOf(0)}`, (_request, response) => {
      response.writeHead(500).end();
    });
    await assert.rejects(find(search(), 'broken', digests(1)), { code: /^registry-/ });
    await assert.rejects(find(search(), 'broken', digests(1)), { code: /^registry-/ });
  });
});
