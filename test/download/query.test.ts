import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import {
  type ArchiveQuery,
  parseArchivePath,
  parseArchiveQuery,
  parseStatusQuery,
} from '../../src/download/query.ts';
import type { QueryString } from '../../src/download/read-parameters.ts';
import { formatPlatformChoice, isSeveral } from '../../src/oci/platform-choice.ts';
import { formatReference } from '../../src/oci/reference.ts';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

function names({ references }: ArchiveQuery): string[] {
  return references.map(formatReference);
}

suite('the query of /dl', () => {
  test('one image, with the defaults', () => {
    const query = parseArchiveQuery({ myimage: 'busybox' });
    assert.deepEqual(names(query), ['docker.io/library/busybox:latest']);
    assert.equal(query.platform, undefined);
    assert.equal(query.format, 'docker');
  });

  test('several images keep their order', () => {
    assert.deepEqual(names(parseArchiveQuery({ myimage: ['b/b', 'a/a:1', 'quay.io/c/c'] })), [
      'docker.io/b/b:latest',
      'docker.io/a/a:1',
      'quay.io/c/c:latest',
    ]);
  });

  test('one image in several spellings counts once, at its first position', () => {
    const spellings = ['busybox', 'alpine', 'docker.io/library/busybox:latest', 'index.docker.io/busybox'];
    assert.deepEqual(names(parseArchiveQuery({ myimage: spellings })), [
      'docker.io/library/busybox:latest',
      'docker.io/library/alpine:latest',
    ]);
  });

  test('two tags of one repository are two images', () => {
    assert.equal(parseArchiveQuery({ myimage: ['busybox:1', 'busybox:2'] }).references.length, 2);
  });

  test('ten images are the most', () => {
    const images = Array.from({ length: 11 }, (_, at) => `a/i${at}`);
    assert.equal(parseArchiveQuery({ myimage: images.slice(0, 10) }).references.length, 10);
    assert.throws(() => parseArchiveQuery({ myimage: images }), {
      code: 'parameter-invalid',
      status: 400,
      message: /11 images.*at most 10/,
      reason: 'The request names 11 images',
    });
  });

  test('platform and format are read', () => {
    const query = parseArchiveQuery({ myimage: 'a', platform: 'linux/arm/v7', format: 'oci' });
    assert.equal(query.platform && formatPlatformChoice(query.platform), 'linux/arm/v7');
    assert.equal(query.format, 'oci');
    assert.equal(parseArchiveQuery({ myimage: 'a', format: 'docker' }).format, 'docker');
    assert.equal(parseArchiveQuery({ myimage: 'a' }).stream, false);
    assert.equal(parseArchiveQuery({ myimage: 'a', stream: '0' }).stream, false);
    assert.equal(parseArchivePath('a.tar', { stream: '1' }).stream, true);
    assert.throws(() => parseArchiveQuery({ myimage: 'a', stream: 'true' }), { code: 'parameter-invalid' });
  });

  test('several platforms are all, or a list, and need the format oci', () => {
    const platforms = (platform: string) => parseArchiveQuery({ myimage: 'a', platform, format: 'oci' });
    assert.equal(platforms('all').platform, 'all');
    const { platform: list } = platforms('linux/amd64,linux/arm64,linux/arm64/v8');
    assert.ok(isSeveral(list));
    assert.equal(formatPlatformChoice(list), 'linux/amd64,linux/arm64');
    assert.equal(isSeveral(platforms('linux/amd64').platform), false);
    for (const platform of ['all', 'linux/amd64,linux/arm64']) {
      assert.throws(() => parseArchiveQuery({ myimage: 'a', platform }), {
        code: 'parameter-invalid',
        reason: 'Several platforms require &format=oci',
      });
    }
    for (const platform of ['all', 'linux/amd64', undefined])
      assert.ok(parseArchiveQuery({ myimage: 'a', platform, format: 'oci', referrers: '1' }).referrers);
    assert.throws(() => parseArchiveQuery({ myimage: 'a', referrers: '1' }), {
      reason: 'The parameter referrers requires &format=oci',
    });
    for (const platform of ['all,linux/amd64', 'linux/amd64,', 'ALL']) {
      assert.throws(() => platforms(platform), { code: 'platform-invalid' });
    }
  });

  test('known layers are images and layers', () => {
    assert.equal(parseArchiveQuery({ myimage: 'a' }).have, undefined);
    const { have } = parseArchiveQuery({
      myimage: 'a',
      have: ['a:1', DIGEST, 'docker.io/library/a:1', DIGEST],
    });
    assert.deepEqual(have?.references.map(formatReference), ['docker.io/library/a:1']);
    assert.deepEqual(have?.layers, [DIGEST]);
    const pinned = parseArchiveQuery({ myimage: 'a', have: `a@${DIGEST}` }).have;
    assert.deepEqual(pinned?.references.map(formatReference), [`docker.io/library/a@${DIGEST}`]);
    const many = Array.from({ length: 11 }, (_, at) => `a:${at}`);
    assert.throws(() => parseArchiveQuery({ myimage: 'a', have: many }), { code: 'parameter-invalid' });
    for (const wrong of ['', 'UPPER', 'sha256:12']) {
      assert.throws(() => parseArchiveQuery({ myimage: 'a', have: wrong }), { code: 'reference-invalid' });
    }
  });

  test('parts have a size, and one of them is chosen', () => {
    assert.equal(parseArchiveQuery({ myimage: 'a' }).parts, undefined);
    assert.deepEqual(parseArchiveQuery({ myimage: 'a', parts: '4GiB', part: '2' }).parts, {
      limit: 2 ** 32,
      number: 2,
    });
    assert.deepEqual(parseArchiveQuery({ myimage: 'a', parts: '25MB' }).parts, {
      limit: 25_000_000,
      number: undefined,
    });
    for (const [query, reason] of [
      [{ part: '2' }, /parts is missing/],
      [{ parts: 'large' }, /parts is "large"/],
      [{ parts: '1kB' }, /parts is "1kB"/],
      [{ parts: '4GiB', part: '0' }, /part is "0"/],
      [{ parts: '4GiB', part: '1.5' }, /part is "1\.5"/],
      [{ parts: '4GiB', part: '-1' }, /part is "-1"/],
    ] as const) {
      assert.throws(() => parseArchiveQuery({ myimage: 'a', ...query }), {
        code: 'parameter-invalid',
        reason,
      });
    }
  });

  test('parameters ask for a file of one kind, or for a redirect to it', () => {
    const kindOf = (query: QueryString) => {
      const parsed = parseArchiveQuery({ myimage: 'a', ...query });
      return parsed.kind === 'redirect' ? [parsed.kind, parsed.target] : parsed.kind;
    };
    for (const [query, kind] of [
      [{}, 'archive'],
      [{ checksum: '0', redirect: '0' }, 'archive'],
      [{ parts: '4GiB' }, 'part'],
      [{ parts: '4GiB', part: '1' }, 'part'],
      [{ parts: '4GiB', part: '1', checksum: '1' }, 'checksum'],
      [{ metalink: '1' }, 'metalink'],
    ] as const) {
      assert.equal(kindOf(query), kind);
      assert.deepEqual(kindOf({ ...query, redirect: '1' }), ['redirect', kind]);
    }
    assert.throws(() => kindOf({ checksum: '1', metalink: '1' }), {
      code: 'parameter-invalid',
      reason: 'Choose checksum or metalink, not both',
    });
  });

  test('progress always covers the whole file', () => {
    assert.equal(parseStatusQuery({ myimage: 'a', stream: '1' }).stream, true);
    for (const name of ['parts', 'part', 'checksum']) {
      assert.throws(() => parseStatusQuery({ myimage: 'a', [name]: '1' }), { code: 'parameter-unknown' });
    }
  });

  test('no image is a mistake that shows how to name one', () => {
    for (const query of [{}, { myimage: [] }, { platform: 'linux/amd64' }]) {
      assert.throws(() => parseArchiveQuery(query), {
        code: 'parameter-invalid',
        message: /myimage is missing/,
        reason: 'The parameter myimage is missing',
      });
    }
  });

  test('a bad image among good ones is named', () => {
    assert.throws(() => parseArchiveQuery({ myimage: ['busybox', 'UPPER'] }), {
      code: 'reference-invalid',
      message: /UPPER/,
    });
    assert.throws(() => parseArchiveQuery({ myimage: '' }), { code: 'reference-invalid' });
  });

  for (const name of ['platform', 'format']) {
    test(`${name} given twice is refused, even with the same value`, () => {
      const value = name === 'platform' ? 'linux/amd64' : 'oci';
      assert.throws(() => parseArchiveQuery({ myimage: 'a', [name]: [value, value] }), {
        code: 'parameter-invalid',
        message: new RegExp(`${name} is given more than once`),
      });
    });
  }

  for (const name of ['image', 'MyImage', 'myimage ', 'arch', '', '__proto__', 'constructor', 'toString']) {
    test(`the unknown parameter ${JSON.stringify(name)} is refused by name`, () => {
      const query = Object.fromEntries([
        ['myimage', 'a'],
        [name, 'x'],
      ]);
      assert.throws(() => parseArchiveQuery(query), {
        code: 'parameter-unknown',
        status: 400,
        message: /Supported: myimage, platform, format/,
        reason: `Unknown parameter "${name}"`,
      });
    });
  }

  for (const platform of ['', 'linux', 'linux/amd64/v1/x', 'linux amd64']) {
    test(`the platform ${JSON.stringify(platform)} is refused`, () => {
      assert.throws(() => parseArchiveQuery({ myimage: 'a', platform }), { code: 'platform-invalid' });
    });
  }

  test('a name is read for one image, in normal form', () => {
    const { name } = parseArchiveQuery({ myimage: 'busybox', name: 'Mine.example/app' });
    assert.equal(name && formatReference(name), 'mine.example/app:latest');
    assert.equal(parseArchiveQuery({ myimage: 'busybox' }).name, undefined);
  });

  for (const [what, query, message] of [
    ['several images', { myimage: ['a', 'b'], name: 'c' }, /requires one image, but 2 are given/],
    ['a digest', { myimage: 'a', name: `b@${DIGEST}` }, /must not have a digest/],
    ['a root file system', { myimage: 'a', name: 'b', format: 'rootfs' }, /&format=rootfs has no name/],
    ['files', { myimage: 'a', name: 'b', format: 'files' }, /&format=files has no name/],
    ['an invalid reference', { myimage: 'a', name: 'B' }, /lowercase/],
  ] as const)
    test(`a name is refused for ${what}`, () => {
      assert.throws(() => parseArchiveQuery({ ...query, myimage: [query.myimage].flat() }), {
        status: 400,
        message,
      });
    });

  for (const format of ['', 'tar', 'OCI', 'docker,oci']) {
    test(`the format ${JSON.stringify(format)} is refused`, () => {
      assert.throws(() => parseArchiveQuery({ myimage: 'a', format }), {
        code: 'parameter-invalid',
        message: /must be docker, oci, /,
      });
    });
  }

  test('a reason keeps what the user wrote, full stops and all', () => {
    assert.throws(() => parseArchiveQuery({ myimage: 'a', format: 'tar.gz' }), {
      reason: /"tar\.gz"/,
    });
  });
});

suite('the path form', () => {
  const paths: [string, string][] = [
    ['busybox.tar', 'docker.io/library/busybox:latest'],
    ['busybox:1.36.tar', 'docker.io/library/busybox:1.36'],
    ['ghcr.io/org/app:1.2.tar', 'ghcr.io/org/app:1.2'],
    ['localhost:5000/a/b.tar', 'localhost:5000/a/b:latest'],
    [`busybox@${DIGEST}.tar`, `docker.io/library/busybox@${DIGEST}`],
    ['app.tar.tar', 'docker.io/library/app.tar:latest'],
  ];
  for (const [path, expected] of paths) {
    test(`${path.slice(0, 40)} means ${expected}`, () =>
      assert.deepEqual(names(parseArchivePath(path, {})), [expected]));
  }

  test('platform and format stand in the query', () => {
    const query = parseArchivePath('a.tar', { platform: 'linux/arm64', format: 'oci' });
    assert.equal(query.platform && formatPlatformChoice(query.platform), 'linux/arm64');
    assert.equal(query.format, 'oci');
  });

  test('a checksum is a path, too', () => {
    const query = parseArchivePath('ghcr.io/org/app:1.2.tar.sha256', {});
    assert.deepEqual(names(query), ['ghcr.io/org/app:1.2']);
    assert.equal(query.kind, 'checksum');
    assert.equal(query.savedAs, 'app:1.2.tar');
    assert.equal(parseArchivePath('a.tar', {}).kind, 'archive');
    assert.equal(parseArchivePath('a.tar', { checksum: '1' }).kind, 'checksum');
  });

  for (const path of ['', 'busybox', 'busybox.sha256', 'busybox.tar.gz', 'busybox.TAR', 'busybox.tar/']) {
    test(`${JSON.stringify(path)} is not a download`, () => {
      assert.throws(() => parseArchivePath(path, {}), { code: 'route-not-found', status: 404 });
    });
  }

  test('a path without a name is an invalid reference', () => {
    assert.throws(() => parseArchivePath('.tar', {}), { code: 'reference-invalid' });
  });

  test('myimage is unknown beside a path', () => {
    assert.throws(() => parseArchivePath('a.tar', { myimage: 'b' }), {
      code: 'parameter-unknown',
      message: /Supported: platform, format/,
    });
  });
});
