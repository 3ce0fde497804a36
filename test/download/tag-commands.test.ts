import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { tagCommands } from '../../src/download/tag-commands.ts';
import { archiveWarnings } from '../../src/download/warnings.ts';
import { parseReference } from '../../src/oci/reference.ts';
import type { UntaggedImage } from '../../src/sources/image-source.ts';
import { DIGEST } from '../http/samples.ts';

const CONFIG = DIGEST.replace(/.$/, '0') as typeof DIGEST;

const ARM = { os: 'linux', architecture: 'arm', variant: 'v7' };
const AMD64 = { os: 'linux', architecture: 'amd64' };

function untagged(
  image: string,
  config?: typeof DIGEST,
  platforms: UntaggedImage['platforms'] = config === undefined ? [] : [ARM],
): UntaggedImage {
  return { reference: parseReference(image), digest: DIGEST, config, platforms };
}

suite('commands that tag an untagged image of a delta', () => {
  test('use the name that each engine knows, and check the image unless loading does', () => {
    const full = `docker.io/library/app@${DIGEST}`;
    assert.deepEqual(tagCommands(untagged('app', CONFIG), 'app.tar'), {
      docker: `docker load --platform linux/arm/v7 --input app.tar && { docker tag app@${DIGEST} app:latest || docker tag ${CONFIG} app:latest; }`,
      dockerBefore28: `docker load --input app.tar && docker tag ${CONFIG} app:latest`,
      podman: `podman load --input app.tar && podman tag ${full} docker.io/library/app:latest`,
      ctr: `ctr images import app.tar && ctr images check name==${full} | grep -F ' complete (' && ctr images tag --force ${full} docker.io/library/app:latest`,
    });
    assert.equal(
      tagCommands(untagged('ghcr.io/org/app:2.1'), 'app.tar').docker,
      `docker load --input app.tar && { docker tag ghcr.io/org/app@${DIGEST} ghcr.io/org/app:2.1; }`,
    );
  });

  test('check each platform of an index before they tag it', () => {
    const loaded = `app@${DIGEST}`;
    assert.equal(
      tagCommands(untagged('app:2.1', undefined, [AMD64, ARM]), 'app.tar').docker,
      `docker load --input app.tar && docker save --platform linux/amd64 ${loaded} > /dev/null && docker save --platform linux/arm/v7 ${loaded} > /dev/null && { docker tag ${loaded} app:2.1; }`,
    );
  });

  test('quote what a shell would expand', () => {
    const { dockerBefore28 } = tagCommands(untagged('[::1]:5000/app:2', CONFIG), "it's here.tar");
    assert.equal(
      dockerBefore28,
      `docker load --input 'it'\\''s here.tar' && docker tag ${CONFIG} '[::1]:5000/app:2'`,
    );
  });

  test('appear in a notice with the first image and the number of others', () => {
    const layer = { mediaType: 'x', digest: DIGEST, size: 1 };
    const omitted = { layers: [layer], fullSize: 1, held: [], unknown: 0 };
    const noticesOf = (...images: UntaggedImage[]): string[] =>
      archiveWarnings({ zstd: false, staleSince: undefined, omitted: { ...omitted, untagged: images } });
    assert.deepEqual(noticesOf().length, 1);
    const sentence = `the image has no tag: load it with docker load --platform, then tag app@${DIGEST} as app:2.1`;
    assert.deepEqual(noticesOf(untagged('app:2.1')).slice(1), [sentence]);
    assert.deepEqual(noticesOf(untagged('app:2.1'), untagged('b')).slice(1), [`${sentence}, and 1 more`]);
    assert.deepEqual(noticesOf(untagged('app:2.1', undefined, [AMD64, ARM])).slice(1), [
      `the image has no tag: load it, check each platform with docker save --platform, then tag app@${DIGEST} as app:2.1`,
    ]);
  });
});
