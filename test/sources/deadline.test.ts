import assert from 'node:assert/strict';
import { once } from 'node:events';
import { suite, test } from 'node:test';
import { parsePlatform } from '../../src/oci/platform.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { inspectorWithDeadline, sourceWithDeadline } from '../../src/sources/deadline.ts';
import { createRegistryInspector } from '../../src/sources/registry/catalogue.ts';
import { createRegistrySource } from '../../src/sources/registry/source.ts';
import { useHostileRegistry } from '../registry/hostile-stack.ts';
import { answering, type Handler } from '../support/hostile-registry.ts';
import { sha256 } from '../support/images.ts';
import { waitFor } from '../support/wait-for.ts';

const never = new AbortController().signal;
const defaultPlatform = parsePlatform('linux/amd64');
const digestOf = (text: string): string => sha256(Buffer.from(text));

suite('the contents of an archive', { timeout: 600_000 }, () => {
  const { registry, stack } = useHostileRegistry();

  const options = () => ({ ...stack(), defaultPlatform, maxSize: 1e9, now: () => performance.now() });
  const request = (name: string) => ({
    references: [parseReference(`${registry().host}/${name}`)],
    platform: undefined,
    format: 'docker' as const,
  });
  /** An image of layers that only its registry can tell whether it has them. */
  const foreign = (name: string, layers: readonly string[], blob: Handler): void => {
    const config = Buffer.from(JSON.stringify({ rootfs: { diff_ids: layers.map(digestOf) } }));
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: sha256(config),
        size: config.length,
      },
      layers: layers.map((layer) => ({
        mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
        digest: digestOf(layer),
        size: 10,
      })),
    };
    const headers = { 'content-type': manifest.mediaType };
    registry().misbehave(name, {
      manifest: answering(manifest, headers),
      blob: (request, response) => {
        const isConfig = request.url?.endsWith(sha256(config)) === true;
        (isConfig ? answering(config) : blob)(request, response);
      },
    });
  };

  test('is given up where it is not known in time, and nothing more is asked for it', async () => {
    const ends: Promise<unknown>[] = [];
    registry().misbehave('late', {
      manifest: (_request, response) => void ends.push(once(response, 'close')),
    });
    const source = sourceWithDeadline(createRegistrySource(options()), 2000);
    const catalogue = inspectorWithDeadline(createRegistryInspector(options()), 2000);
    const [reference] = request('late').references;
    assert.ok(reference);
    registry().at('/v2/late/tags/list', (_request, response) => void ends.push(once(response, 'close')));
    const late = [
      source.open(request('late'), never),
      catalogue.describe({ reference, platform: undefined, format: 'docker' }, never),
      catalogue.tags(reference, never),
    ];
    const expected = { code: 'registry-timeout', status: 504, message: /longer than 2 s/ };
    await Promise.all(late.map((one) => assert.rejects(one, expected)));
    assert.equal(ends.length, 3);
    await Promise.all(ends);
  });

  test('is given up silently once no request waits for it', async () => {
    const gone = new AbortController();
    const source = sourceWithDeadline(createRegistrySource(options()), 60_000);
    const asked = registry().requests('late').length;
    const opening = source.open(request('late'), gone.signal);
    await waitFor(() => registry().requests('late').length > asked);
    gone.abort();
    await assert.rejects(opening, { name: 'AbortError' });
  });

  test('is asked for a few foreign layers at a time, each once', async () => {
    const layers = Array.from({ length: 20 }, (_, at) => `${at}`);
    const waiting: (() => void)[] = [];
    let most = 0;
    foreign('many', [...layers, ...layers], (_request, response) => {
      waiting.push(() => response.writeHead(200, { 'content-length': 10 }).end());
    });
    const opening = createRegistrySource(options()).open(request('many'), never);
    let answered = 0;
    while (answered < layers.length) {
      await waitFor(() => waiting.length > 0);
      most = Math.max(most, waiting.length);
      for (const answer of waiting.splice(0)) {
        answered += 1;
        answer();
      }
    }
    await opening;
    assert.ok(most > 1 && most <= 8, `${most} at once`);
    assert.equal(registry().requests('many').length, 2 + layers.length);
  });
});
