import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { KeyValueStore } from '../../src/registry/manifest-store.ts';
import { keepingManifests } from '../../src/registry/memory-store.ts';
import { createMemoryCaches } from '../../src/util/memory-caches.ts';

/** Creates a store that counts its calls. */
function counting() {
  const contents = new Map<string, Buffer>();
  const reads: string[] = [];
  const store: KeyValueStore = {
    async read(kind, name) {
      reads.push(`${kind} ${name}`);
      return contents.get(`${kind} ${name}`);
    },
    async write(kind, name, content) {
      contents.set(`${kind} ${name}`, content);
    },
  };
  let now = 1;
  const kept = keepingManifests(
    store,
    createMemoryCaches(() => now),
  );
  return { kept, contents, reads, pass: (milliseconds: number) => (now += milliseconds) };
}

suite('manifests in memory', () => {
  test('are read once a minute from the store, which notes their use', async () => {
    const { kept, contents, reads, pass } = counting();
    contents.set('manifests a', Buffer.from('{}'));
    for (let at = 0; at < 3; at++) assert.equal(`${await kept.read('manifests', 'a')}`, '{}');
    assert.deepEqual(reads, ['manifests a']);
    pass(61_000);
    await kept.read('manifests', 'a');
    assert.equal(reads.length, 2);
  });

  test('are replaced on write, so that a damaged one is fetched again', async () => {
    const { kept, contents } = counting();
    contents.set('manifests a', Buffer.from('damaged'));
    await kept.read('manifests', 'a');
    await kept.write('manifests', 'a', Buffer.from('{}'));
    assert.equal(`${await kept.read('manifests', 'a')}`, '{}');
    assert.equal(`${contents.get('manifests a')}`, '{}');
  });

  test('are not cached if missing or large; nor are tags, which change', async () => {
    const { kept, contents, reads } = counting();
    contents.set('manifests large', Buffer.alloc(65 * 1024));
    for (const [kind, name] of [
      ['manifests', 'none'],
      ['manifests', 'large'],
      ['tags', 'a'],
    ] as const) {
      await kept.read(kind, name);
      await kept.read(kind, name);
    }
    assert.equal(reads.length, 6);
  });
});
