import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { detail } from '../../src/errors/details.ts';
import { ServiceError } from '../../src/errors.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { indexOf, readReferrers } from '../../src/pull/manifest-referrers.ts';
import type { RegistryClient } from '../../src/registry/client.ts';
import { MirrorsAloneError } from '../../src/registry/mirroring-client.ts';

const REPOSITORY = { domain: 'registry.example', path: 'org/app' };
const digestOf = (at: number) => `sha256:${String(at).padStart(64, '0')}` as Digest;
const SUBJECT = digestOf(0);
const { signal } = new AbortController();

suite('the referrers of a manifest', () => {
  test('have a type that no filter names if the registry states no text', async () => {
    const client = clientOf({
      referrers: [
        { artifactType: { toString: 1, valueOf: 1 }, digest: digestOf(1) },
        { artifactType: 'text/plain', digest: digestOf(2) },
      ],
    });
    const list = await readReferrers(client, REPOSITORY, SUBJECT, ['text/plain'], signal);
    assert.deepEqual(
      JSON.parse(`${Buffer.from(list)}`).manifests.map(({ digest }: { digest: string }) => digest),
      [digestOf(2)],
    );
  });

  test('are completed by at most 16 requests, also where manifests are missing', async () => {
    const tagged = Array.from({ length: 100 }, (_, at) => ({ digest: digestOf(at + 1), size: 2 }));
    const client = clientOf({ tagged });
    const list = await readReferrers(client, REPOSITORY, SUBJECT, undefined, signal);
    assert.deepEqual(JSON.parse(`${Buffer.from(list)}`).manifests, tagged);
    assert.equal(client.missing(), 16);
  });

  test('are those of the tag if only a mirror without a list is reachable', async () => {
    const tagged = [{ artifactType: 'text/plain', digest: digestOf(1) }];
    const outage = new ServiceError('registry-failed', detail('registry-slow', {}));
    const client = {
      ...clientOf({ tagged }),
      referrers: async () => {
        throw new MirrorsAloneError(outage);
      },
    };
    const list = await readReferrers(client, REPOSITORY, SUBJECT, undefined, signal);
    assert.deepEqual(JSON.parse(`${Buffer.from(list)}`).manifests, tagged);
  });
});

/** A registry with a list of referrers, or with a tag that has one and without its manifests. */
function clientOf({ referrers, tagged = [] }: { referrers?: object[]; tagged?: object[] }): RegistryClient & {
  missing(): number;
} {
  const fetched = (manifests: object[]) => ({
    bytes: indexOf(manifests as never),
    digest: SUBJECT,
    contentType: undefined,
  });
  let missing = 0;
  const client: Partial<RegistryClient> = {
    referrers: async () => referrers && fetched(referrers),
    manifest: async (_repository, reference) => {
      if (!reference.includes(':')) return fetched(tagged);
      missing += 1;
      throw new ServiceError('image-not-found', detail('image-unknown', { image: reference }));
    },
  };
  return { ...(client as RegistryClient), missing: () => missing };
}
