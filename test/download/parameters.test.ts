import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseSaveArguments } from '../../src/cli/save-arguments.ts';
import { choicesOf, isFlag, isInteger, PARAMETER_NAMES } from '../../src/download/parameters.ts';
import { parseArchiveQuery } from '../../src/download/query.ts';
import { downloadUrl } from '../../src/download/url.ts';

const HTTP_ONLY = ['stream', 'redirect'];
/** `compress` excludes others, so it has a test of its own. */
const SHARED = PARAMETER_NAMES.filter((name) => ![...HTTP_ONLY, 'myimage', 'compress'].includes(name));
const VALUES: Readonly<Record<string, string>> = {
  ...{ platform: 'all', format: 'oci', referrers: '1', have: 'app:1' },
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
      assert.deepEqual(parseSaveArguments(['app:2', `--${name}`]).settings, [`--${name}`]);
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

  test('stand in a URL in one order, which starts with the images', () => {
    assert.equal(
      downloadUrl({ ...VALUES, myimage: ['app:2', 'base@sha256:1'] }),
      '/dl?myimage=app:2&myimage=base@sha256:1&have=app:1&platform=all&format=oci&referrers=1&parts=4GiB&part=2&checksum=1&metalink=1',
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
