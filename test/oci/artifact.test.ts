import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type ArtifactManifest, artifactFiles, hasNamesInConfig } from '../../src/oci/artifact.ts';
import { parseManifestLinks } from '../../src/oci/manifest.ts';
import { dockerModel, emptyArtifact, helmChart, orasArtifact } from '../support/artifacts.ts';
import type { Manifest } from '../support/images.ts';

function parsed({ bytes }: Manifest): ArtifactManifest {
  const links = parseManifestLinks(bytes, undefined);
  assert.ok(links.kind === 'manifest');
  return links;
}

const titlesOf = (made: Manifest, config?: Uint8Array) =>
  artifactFiles(parsed(made), config).map(({ title }) => title);

suite('files of an artifact', () => {
  test('have the titles that their publisher gives them', () => {
    const made = orasArtifact({ files: [{ content: 'a', title: 'a.txt' }, { content: 'b' }] });
    assert.deepEqual(titlesOf(made), ['a.txt', undefined]);
  });

  test('are named after the chart and its version, which is not the tag', async () => {
    const made = await helmChart('app', '1.0.0+build', true);
    assert.ok(hasNamesInConfig(parsed(made)));
    const config = made.blobs[0]?.content as Uint8Array;
    assert.deepEqual(titlesOf(made, config), ['app-1.0.0+build.tgz', 'app-1.0.0+build.tgz.prov']);
  });

  for (const config of [
    '{}',
    '{"name":"../x","version":"1"}',
    '{"name":7,"version":"1"}',
    '[',
    `{"name":"a"}`,
  ])
    test(`have no name from the chart ${config}`, async () => {
      assert.deepEqual(titlesOf(await helmChart('app', '1.0.0'), Buffer.from(config)), [undefined]);
    });

  test('do not include placeholders', () => {
    assert.deepEqual(artifactFiles(parsed(emptyArtifact())), []);
  });

  test('are folders if ORAS packed them', () => {
    const annotations = { 'io.deis.oras.content.unpack': 'true' };
    const made = orasArtifact({
      files: [
        { content: '', title: 'a', annotations },
        { content: 'b', title: 'b' },
      ],
    });
    assert.deepEqual(
      artifactFiles(parsed(made)).map(({ isFolder }) => isFolder),
      [true, false],
    );
  });

  test('have the type of their artifact, or of its config', () => {
    assert.equal(parsed(emptyArtifact()).artifactType, 'application/vnd.example.note');
    assert.equal(parsed(dockerModel()).artifactType, 'application/vnd.docker.ai.model.config.v0.1+json');
  });
});
