import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseSaveArguments } from '../../src/cli/save-arguments.ts';
import { choicesOf, isFlag, isInteger, PARAMETER_NAMES } from '../../src/download/parameters.ts';
import { namedQuery } from '../../src/download/pinned-query.ts';
import { parseArchiveQuery } from '../../src/download/query.ts';
import { downloadUrl } from '../../src/download/url.ts';

const HTTP_ONLY = ['stream', 'redirect'];
/** These require other formats, so they have tests of their own. */
const SHARED = PARAMETER_NAMES.filter(
  (name) => ![...HTTP_ONLY, 'myimage', 'compress', 'squash'].includes(name),
);
const VALUES: Readonly<Record<string, string>> = {
  ...{ platform: 'all', format: 'oci', referrers: '1', name: 'mine:1', have: 'app:1' },
  ...{ parts: '4GiB', part: '2', checksum: '1', metalink: '1' },
};

suite('the parameters of a download', () => {
  test('are flags of save with the same meaning, except those that concern only HTTP', () => {
    assert.deepEqual(SHARED, Object.keys(VALUES).toSorted(byPlaceIn(SHARED)));
    const flags = SHARED.flatMap((name) => (isFlag(name) ? [`--${name}`] : [`--${name}`, `${VALUES[name]}`]));
    const { query, sidecars, settings } = parseSaveArguments(['app:2', ...flags]);
    assert.deepEqual(settings, []);
    assert.deepEqual(sidecars, { checksum: true, metalink: true });
    const { metalink: _, ...others } = VALUES;
    const { kind, savedAs: __, ...asked } = parseArchiveQuery({ myimage: 'app:2', ...others });
    assert.equal(kind, 'checksum');
    assert.deepEqual(query, asked);
    for (const name of HTTP_ONLY)
      assert.throws(() => parseSaveArguments(['app:2', `--${name}`]), /unknown flag/);
  });

  test('compress a root file system by a flag, too', () => {
    const { query } = parseSaveArguments(['app:2', '--format', 'rootfs', '--compress', 'zstd']);
    assert.equal(query.compress, 'zstd');
    const { kind, savedAs, ...asked } = parseArchiveQuery({
      myimage: 'app:2',
      format: 'rootfs',
      compress: 'zstd',
    });
    assert.deepEqual([kind, savedAs, query], ['archive', undefined, asked]);
  });

  test('squash unpacked layers by a flag, too', () => {
    const { query } = parseSaveArguments(['app:2', '--format', 'docker-classic', '--squash']);
    assert.equal(query.squash, true);
    const { kind, savedAs, ...asked } = parseArchiveQuery({
      myimage: 'app:2',
      format: 'docker-classic',
      squash: '1',
    });
    assert.deepEqual([kind, savedAs, query], ['archive', undefined, asked]);
    assert.equal(downloadUrl(namedQuery(query)), '/dl?myimage=app:2&format=docker-classic&squash=1');
    for (const format of ['docker', 'oci', 'rootfs', 'files'])
      assert.throws(() => parseArchiveQuery({ myimage: 'app:2', format, squash: '1' }), {
        message: /squash requires &format=docker-classic/,
      });
  });

  test('stand in a URL in one order, which starts with the images', () => {
    assert.equal(
      downloadUrl({ ...VALUES, myimage: ['app:2', 'base@sha256:1'] }),
      '/dl?myimage=app:2&myimage=base@sha256:1&have=app:1&platform=all&format=oci&referrers=1&name=mine:1&parts=4GiB&part=2&checksum=1&metalink=1',
    );
  });

  test('refuse all but their values', () => {
    for (const name of PARAMETER_NAMES) {
      if (!isFlag(name) && !isInteger(name) && choicesOf(name) === undefined) continue;
      const query = { myimage: 'app', parts: '4GiB', [name]: 'none' };
      assert.throws(() => parseArchiveQuery(query), { code: 'parameter-invalid', message: /"none"/ }, name);
    }
  });
});

function byPlaceIn(names: readonly string[]): (one: string, other: string) => number {
  return (one, other) => names.indexOf(one) - names.indexOf(other);
}
