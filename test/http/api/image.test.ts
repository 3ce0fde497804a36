import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { Value } from 'typebox/value';
import { detail } from '../../../src/errors/details.ts';
import { ServiceError } from '../../../src/errors.ts';
import { ImageDetails } from '../../../src/http/api/image.ts';
import { formatPlatform } from '../../../src/oci/platform.ts';
import type { DetailsRequest } from '../../../src/sources/image-catalogue.ts';
import {
  DIGEST,
  problemOf,
  type RunningServer,
  sampleDetails,
  sharedServer,
  startServer,
} from '../samples.ts';

const IMAGE = '/api/v1/image?myimage=busybox:1.36';

async function detailsAt(server: RunningServer, path: string): Promise<ImageDetails> {
  const answer = await server.get(path);
  assert.equal(answer.status, 200, answer.body.toString());
  const body: unknown = JSON.parse(answer.body.toString());
  assert.ok(Value.Check(ImageDetails, body), JSON.stringify([...Value.Errors(ImageDetails, body)]));
  return body;
}

suite('GET /api/v1/image', { timeout: 600_000 }, () => {
  test('tells what the image is, as its schema has it', async () => {
    await using server = await sharedServer();
    const details = await detailsAt(server, `${IMAGE}&platform=linux/amd64`);
    assert.equal(details.reference, 'docker.io/library/busybox:1.36');
    assert.equal(details.name, 'busybox:1.36');
    assert.equal(details.pinned, `busybox:1.36@${DIGEST}`);
    assert.equal(details.created, '2026-01-01T00:00:00.000Z');
    assert.deepEqual(details.config.command, ['sh']);
    assert.equal(details.downloadUrl, '/dl?myimage=busybox:1.36&platform=linux/amd64');
    assert.equal((await server.get(details.downloadUrl)).status, 200);
  });

  test('asks for what the query says', async () => {
    const requests: DetailsRequest[] = [];
    await using server = await startServer({
      catalogue: {
        describe: async (request) => {
          requests.push(request);
          return sampleDetails();
        },
      },
    });
    await detailsAt(server, IMAGE);
    await detailsAt(server, `${IMAGE}&platform=Linux/aarch64&format=oci`);
    const [first, second] = requests;
    assert.deepEqual([first?.platform, first?.format], [undefined, 'docker']);
    assert.equal(second?.platform && formatPlatform(second.platform), 'linux/arm64');
    assert.equal(second?.format, 'oci');
    assert.equal(second?.reference.name, 'docker.io/library/busybox');
    assert.equal(second?.client, '127.0.0.1');
  });

  test('an index is what a tag is pinned to, so that its platforms stay', async () => {
    const indexDigest = `sha256:${'1'.repeat(64)}` as typeof DIGEST;
    await using server = await startServer({
      catalogue: { describe: async () => sampleDetails({ indexDigest }) },
    });
    const { pinned, digest } = await detailsAt(server, IMAGE);
    assert.equal(pinned, `busybox:1.36@${indexDigest}`);
    assert.equal(digest, DIGEST);
  });

  const pins: [reference: string, pinned: string][] = [
    ['busybox', `busybox:latest@${DIGEST}`],
    ['ghcr.io/org/app:1.2', `ghcr.io/org/app:1.2@${DIGEST}`],
    [`busybox@${DIGEST}`, `busybox@${DIGEST}`],
    [`busybox:1.36@${DIGEST}`, `busybox:1.36@${DIGEST}`],
  ];
  for (const [reference, expected] of pins) {
    test(`${reference} is pinned by the name that its archive has in it`, async () => {
      await using server = await sharedServer();
      const { pinned } = await detailsAt(server, `/api/v1/image?myimage=${reference}`);
      assert.equal(pinned, expected);
      assert.equal((await detailsAt(server, `/api/v1/image?myimage=${expected}`)).pinned, expected);
    });
  }

  test('values that only a built archive has are null', async () => {
    const unknown = {
      size: undefined,
      etag: undefined,
      layers: undefined,
      digest: undefined,
      created: undefined,
    };
    await using server = await startServer({ catalogue: { describe: async () => sampleDetails(unknown) } });
    const { size, etag, layers, digest, pinned, created } = await detailsAt(server, IMAGE);
    assert.deepEqual([size, etag, layers, digest, pinned, created], [null, null, null, null, null, null]);
  });

  test('errors of the inspector are problem responses', async () => {
    const describe = () =>
      Promise.reject(
        new ServiceError(
          'platform-not-found',
          detail('platform-unavailable', { image: 'app', platform: 'linux/arm64' }),
        ),
      );
    await using server = await startServer({ catalogue: { describe } });
    const answer = await server.get(IMAGE);
    assert.equal(answer.status, 404);
    assert.equal(problemOf(answer).code, 'platform-not-found');
  });

  const refused: [query: string, code: string, detail: RegExp][] = [
    ['', 'parameter-invalid', /myimage is missing/],
    ['?myimage=UPPER', 'reference-invalid', /lowercase/],
    ['?myimage=a&myimage=b', 'parameter-invalid', /myimage/],
    ['?myimage=a&platform=linux', 'platform-invalid', /linux/],
    ['?myimage=a&format=zip', 'parameter-invalid', /format/],
    ['?myimage=a&stream=1', 'parameter-unknown', /"stream"/],
    ['?myimage=evil.example/a', 'image-not-allowed', /evil\.example/],
  ];
  for (const [query, code, detail] of refused) {
    test(`/api/v1/image${query} is refused: ${code}`, async () => {
      await using server = await startServer({
        allow: ['docker.io/**'],
        catalogue: { describe: () => assert.fail('it was asked for') },
      });
      const problem = problemOf(await server.get(`/api/v1/image${query}`));
      assert.equal(problem.code, code);
      assert.match(problem.detail, detail);
    });
  }

  test('a disconnect ends the work', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const leaving = new AbortController();
    await using server = await startServer({
      catalogue: {
        describe: (_request, signal) => {
          signal.addEventListener('abort', () => resolve());
          leaving.abort();
          return new Promise(() => {});
        },
      },
    });
    await assert.rejects(fetch(`http://127.0.0.1:${server.port}${IMAGE}`, { signal: leaving.signal }));
    await promise;
  });
});
