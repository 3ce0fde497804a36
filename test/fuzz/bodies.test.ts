import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc, { type Arbitrary } from 'fast-check';
import { ServiceError } from '../../src/errors.ts';
import type { HttpClient } from '../../src/net/http.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { createAuthorizer } from '../../src/registry/authorizer.ts';
import { createRepositorySearch } from '../../src/registry/hub-search.ts';
import { listReferrers } from '../../src/registry/list-referrers.ts';
import { listTags } from '../../src/registry/tag-list.ts';
import { bytesOf, hostileText, mutatedJson } from './arbitraries.ts';
import { runs } from './budget.ts';
import { responseWith } from './response.ts';

const never = new AbortController().signal;
const repository = parseReference('registry.example/a/b');

/** Generates JSON with a few changes, sometimes truncated, and sometimes text that is not JSON. */
function bodyLike(value: unknown): Arbitrary<Uint8Array> {
  const json = fc.oneof(
    { weight: 1, arbitrary: fc.constant(value) },
    { weight: 6, arbitrary: mutatedJson(value) },
  );
  return fc.oneof(
    { weight: 8, arbitrary: json.map(bytesOf) },
    {
      weight: 1,
      arbitrary: fc.tuple(json, fc.nat(20)).map(([whole, cut]) => bytesOf(whole).subarray(0, -1 - cut)),
    },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  );
}

/** A client that gets the same response to each request. */
function answering(status: number, body: Uint8Array): HttpClient {
  return { request: async () => responseWith(status, {}, body), close: async () => {} };
}

/** Returns the result, or undefined if it is refused as an upstream's mistake. */
async function orUpstreamError<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    assert.ok(error instanceof ServiceError, `${error}`);
    assert.match(error.code, /^registry-|^image-not-found$/);
    assert.match(error.message, /^[\x20-\x7e]+$/);
    return undefined;
  }
}

suite('arbitrary bodies', { concurrency: true }, () => {
  test('as a list of tags result in tags or an error', async () => {
    const tag = fc.oneof(
      fc.constantFrom('1.36', 'latest'),
      hostileText(['1', '.', '-', '/', '@sha256:', ':'], 4),
    );
    const list = fc.array(tag, { maxLength: 6 }).chain((tags) => bodyLike({ name: 'a/b', tags }));
    let some = 0;
    await fc.assert(
      fc.asyncProperty(list, async (body) => {
        const found = await orUpstreamError(listTags(repository, async () => responseWith(200, {}, body)));
        for (const one of found?.tags ?? []) {
          some += 1;
          assert.match(one, /^\w[\w.-]{0,127}$/);
          assert.equal(parseReference(`registry.example/a/b:${one}`).tag, one);
        }
      }),
      runs('tagLists'),
    );
    assert.ok(some > 250, `${some} tags`);
  });

  test('as pages of referrers result in all of them or an error', async () => {
    const { digest } = parseReference(`a@sha256:${'0'.repeat(64)}`);
    assert.ok(digest !== undefined);
    const page = bodyLike({ schemaVersion: 2, manifests: [{ digest, size: 1, artifactType: 'x/y' }] });
    const link = `</v2/a/b/referrers/${digest}?last=x>; rel="next"`;
    await fc.assert(
      fc.asyncProperty(page, page, async (first, second) => {
        let asked = 0;
        const found = await orUpstreamError(
          listReferrers(repository, digest, async () => {
            asked += 1;
            return responseWith(200, asked === 1 ? { link } : {}, asked === 1 ? first : second);
          }),
        );
        if (found === undefined) return;
        assert.equal(asked, 2);
        assert.ok(
          Array.isArray((JSON.parse(Buffer.from(found).toString()) as { manifests: unknown }).manifests),
        );
      }),
      runs('referrerLists'),
    );
  });

  test('as search results are repositories of Docker Hub, as plain text, or nothing', async () => {
    const result = {
      repo_name: 'grafana/grafana',
      short_description: 'Dashboards \u202e and more',
      star_count: 5,
      is_official: false,
    };
    const name = hostileText(['nginx', '/', 'ghcr.io/a', ':1', '@', 'library/'], 4);
    const body = name.chain((repo_name) => bodyLike({ results: [result, { ...result, repo_name }] }));
    let now = 0;
    let some = 0;
    await fc.assert(
      fc.asyncProperty(body, fc.constantFrom(200, 200, 200, 500), async (bytes, status) => {
        // Time passes, so that no response or failure is cached for the next.
        now += 1e9;
        const http = answering(status, bytes);
        const search = createRepositorySearch({
          http,
          url: new URL('https://search.example/'),
          now: () => now,
        });
        for (const { reference, name: shown, description, stars, official } of (await search('x', never)) ??
          []) {
          some += 1;
          assert.equal(reference.domain, 'docker.io');
          assert.equal(parseReference(shown).name, reference.name);
          assert.match(shown, /^[a-z0-9._/-]+$/);
          assert.doesNotMatch(description, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
          assert.ok(description.length <= 160);
          assert.ok(Number.isSafeInteger(stars) && stars >= 0);
          assert.equal(typeof official, 'boolean');
        }
      }),
      runs('searches'),
    );
    assert.ok(some > 250, `${some} repositories`);
  });

  test('from a token server result in a token that fits into a header, or an error', async () => {
    const token = fc.oneof(fc.constant('abc.def'), hostileText(['abc', '.', '=', '\r\nx: y'], 6));
    const body = fc
      .tuple(token, fc.constantFrom('token', 'access_token'))
      .chain(([text, name]) =>
        bodyLike({ [name]: text, expires_in: 300, issued_at: '2026-01-01T00:00:00Z' }),
      );
    let some = 0;
    await fc.assert(
      fc.asyncProperty(body, fc.constantFrom(200, 200, 200, 401, 500), async (bytes, status) => {
        const http = answering(status, bytes);
        const credentials = { find: async () => undefined };
        const authorizer = createAuthorizer({ http, credentials, now: () => 0 });
        const challenge = 'Bearer realm="https://token.example/"';
        const header = await orUpstreamError(
          authorizer.challenged(repository, 'https://registry.example', challenge, undefined),
        );
        if (header === undefined) return;
        some += 1;
        assert.match(header, /^Bearer [\x21-\x7e]+$/);
      }),
      runs('tokens'),
    );
    assert.ok(some > 100, `${some} tokens`);
  });
});
