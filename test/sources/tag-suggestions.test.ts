import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { detail } from '../../src/errors/details.ts';
import { ServiceError } from '../../src/errors.ts';
import { parseReference, type Repository } from '../../src/oci/reference.ts';
import { UnknownTagError } from '../../src/registry/status-error.ts';
import type { TagList } from '../../src/registry/tag-list.ts';
import type { ImageInspector } from '../../src/sources/image-catalogue.ts';
import type { ArchiveRequest } from '../../src/sources/image-source.ts';
import { suggestingInspector, suggestingSource } from '../../src/sources/tag-suggestions.ts';

const never = new AbortController().signal;
const missing = new UnknownTagError(parseReference('python'), '3.12-slimm');
const listing =
  (...tags: string[]) =>
  async (): Promise<TagList> => ({ tags, isComplete: true });

/** Both ways to the error: a download, and a description. */
const traits = { formats: [], preparesArchives: false, isReproducible: true };
const ways: [
  name: string,
  fail: (error: unknown, tags: ImageInspector['tags'], signal?: AbortSignal) => Promise<unknown>,
][] = [
  [
    'a source',
    (error, tags, signal = never) =>
      suggestingSource({ traits, open: () => Promise.reject(error) }, tags).open(
        {} as ArchiveRequest,
        signal,
      ),
  ],
  [
    'a catalogue',
    (error, tags, signal = never) =>
      suggestingInspector({ describe: () => Promise.reject(error), tags }).describe(
        { reference: parseReference('python'), platform: undefined, format: 'docker' },
        signal,
      ),
  ],
];

for (const [name, fail] of ways) {
  suite(`an unknown tag of ${name}`, () => {
    test('is an error that names similar tags', async () => {
      await assert.rejects(fail(missing, listing('latest', '3.12-slim', '3.12-slim-bookworm')), {
        code: 'tag-not-found',
        status: 404,
        message: 'python has no tag 3.12-slimm. Similar tags: 3.12-slim, 3.12-slim-bookworm.',
        reason: 'No tag 3.12-slimm; similar: 3.12-slim, 3.12-slim-bookworm',
        members: {
          repository: 'python',
          tag: '3.12-slimm',
          similarTags: ['3.12-slim', '3.12-slim-bookworm'],
        },
      });
    });

    test('is an error without tags if none is similar', async () => {
      await assert.rejects(fail(missing, listing('latest')), {
        code: 'tag-not-found',
        message: 'python has no tag 3.12-slimm.',
        reason: 'No tag 3.12-slimm',
        members: { repository: 'python', tag: '3.12-slimm', similarTags: [] },
      });
    });

    test('keeps its original error if the tags cannot be listed or include it', async () => {
      await assert.rejects(
        fail(missing, () =>
          Promise.reject(new ServiceError('registry-failed', detail('tags-unreadable', { host: 'a.io' }))),
        ),
        missing,
      );
      await assert.rejects(fail(missing, listing('3.12-slimm', '3.12-slim')), missing);
    });

    test('fetches no list for another error', async () => {
      const other = new ServiceError('image-not-found', detail('image-hidden', { image: 'python' }));
      const asked: Repository[] = [];
      const tags = async (repository: Repository): Promise<TagList> => {
        asked.push(repository);
        return { tags: [], isComplete: true };
      };
      await assert.rejects(fail(other, tags), other);
      assert.deepEqual(asked, []);
    });

    test('aborts its list with the request', async () => {
      const gone = new AbortController();
      const tags: ImageInspector['tags'] = (_repository, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
          gone.abort();
        });
      await assert.rejects(fail(missing, tags, gone.signal), missing);
    });
  });
}
