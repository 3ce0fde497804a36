import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseSaveArguments } from '../../src/cli/save-arguments.ts';
import { UsageError } from '../../src/config/loader.ts';
import { formatPlatform } from '../../src/oci/platform.ts';
import { formatPlatformChoice } from '../../src/oci/platform-choice.ts';
import { formatReference } from '../../src/oci/reference.ts';

suite('the arguments of save', () => {
  test('distinguish images, flags of save, and settings, in any order', () => {
    const line =
      '--cache-dir /c busybox -o - --insecure-registries=r.lan:5000 --platform linux/arm64 r.lan:5000/a:1 --format=oci';
    const { query, output, settings } = parseSaveArguments(line.split(' '));
    assert.deepEqual(query.references.map(formatReference), [
      'docker.io/library/busybox:latest',
      'r.lan:5000/a:1',
    ]);
    assert.equal(output, '-');
    assert.equal(query.platform && formatPlatformChoice(query.platform), 'linux/arm64');
    assert.equal(query.format, 'oci');
    assert.deepEqual(settings, ['--cache-dir', '/c', '--insecure-registries=r.lan:5000']);
  });

  test('include the parameters of a download as flags', () => {
    const line =
      'app:2.1 --have app:2.0 --have=base --parts 4GiB --part=2 --checksum --metalink --platform all --format oci --cache-dir /c';
    const { query, sidecars, settings } = parseSaveArguments(line.split(' '));
    assert.deepEqual(query.references.map(formatReference), ['docker.io/library/app:2.1']);
    assert.deepEqual(query.have?.references.map(formatReference), [
      'docker.io/library/app:2.0',
      'docker.io/library/base:latest',
    ]);
    assert.deepEqual(query.parts, { limit: 2 ** 32, number: 2 });
    assert.deepEqual(sidecars, { checksum: true, metalink: true });
    assert.equal(query.platform, 'all');
    assert.deepEqual(settings, ['--cache-dir', '/c']);
    // An image, and not the value of the previous flag.
    assert.deepEqual(parseSaveArguments(['--checksum', 'app']).query.references.map(formatReference), [
      'docker.io/library/app:latest',
    ]);
  });

  test('accept an architecture alone as a platform of Linux', () => {
    const { query } = parseSaveArguments(['busybox', '--platform', 'arm64']);
    assert.equal(query.platform && formatPlatformChoice(query.platform), 'linux/arm64');
  });

  test('report every unknown flag and every missing value at once', () => {
    assert.throws(
      () =>
        parseSaveArguments(['busybox', '--plaform', 'arm64', '--cache-dri=x', '-o', '--checksum', '--port']),
      (error) => {
        assert.ok(error instanceof UsageError);
        assert.deepEqual(error.mistakes, [
          '--plaform: unknown flag. Did you mean --platform?',
          '--cache-dri: unknown flag. Did you mean --cache-dir?',
          '-o: a value is missing.',
          '--port: a value is missing.',
        ]);
        return true;
      },
    );
  });

  test('require the registry of a user for a list, which would otherwise choose who gets the password', () => {
    const refused = { message: 'Name the registry of the user, as in --user ghcr.io/alice.' };
    const listed = [{ name: 'registry.test/a' }];
    assert.throws(() => parseSaveArguments(['--user', 'alice'], listed), refused);
    assert.throws(() => parseSaveArguments(['--user', 'alice', 'ghcr.io/b'], listed), refused);
    const { login } = parseSaveArguments(['--user', 'ghcr.io/alice'], [{ name: 'ghcr.io/a' }, ...listed]);
    assert.equal(login?.user, 'ghcr.io/alice');
    assert.equal(parseSaveArguments(['--user', 'alice', 'ghcr.io/b']).login?.user, 'alice');
  });

  test('apply the platforms of a list to its images, unless a flag chooses one for all', () => {
    const listed = [
      { name: 'nginx:1.27', platforms: ['linux/arm64', 'linux/arm64/v8'] },
      { name: 'library/redis:7', platforms: ['linux/arm/v7'] },
      { name: 'postgres:17', platforms: undefined },
    ];
    const { query } = parseSaveArguments(['busybox'], listed);
    assert.equal(query.platform, undefined);
    assert.deepEqual(
      [...(query.ownPlatforms ?? [])].map(([name, platform]) => `${name} ${formatPlatform(platform)}`),
      ['docker.io/library/nginx:1.27 linux/arm64', 'docker.io/library/redis:7 linux/arm/v7'],
    );
    const { query: chosen } = parseSaveArguments(['--platform', 's390x'], listed);
    assert.equal(chosen.platform && formatPlatformChoice(chosen.platform), 'linux/s390x');
    assert.equal(chosen.ownPlatforms, undefined);
    // As with the flag, so that the file has the name of its platform.
    const { query: common } = parseSaveArguments([], listed.slice(0, 1));
    assert.equal(common.platform && formatPlatformChoice(common.platform), 'linux/arm64');
    assert.equal(common.ownPlatforms, undefined);
  });

  for (const [platforms, mistake] of [
    [
      ['linux/amd64', 'linux/arm64'],
      'The list names app:2 for linux/amd64 and for linux/arm64, but an archive can contain only one of them. Choose one with --platform.',
    ],
    [
      ['ARM 64'],
      'The platform of app:2 is "ARM 64", which is not a platform. Name a platform such as linux/arm64, or choose one for all images with --platform.',
    ],
    [
      ['linux/<>'],
      'The platform of app:2 depends on a variable. Name a platform such as linux/arm64, or choose one for all images with --platform.',
    ],
  ] as const)
    test(`refuse the platforms ${platforms.join(' and ')} of an image in a list, unless a flag chooses`, () => {
      const listed = [{ name: 'app:2', platforms }];
      assert.throws(() => parseSaveArguments([], listed), new UsageError([mistake]));
      assert.equal(parseSaveArguments(['--platform', 'amd64'], listed).query.ownPlatforms, undefined);
    });

  for (const [what, line, mistake] of [
    ['no image', '-o x.tar', /^Name an image/],
    ['an image that is none', 'BUSYBOX', /BUSYBOX/],
    ['a platform that is none', 'busybox --platform linux', /platform/],
    ['a format that is none', 'busybox --format zip', /^--format is "zip", but must be docker, oci, /],
    [
      'several platforms in the format of Docker',
      'busybox --platform all',
      /^Several platforms require --format oci/,
    ],
    ['a size that is none', 'busybox --parts large', /^--parts is "large"/],
    ['a part without its size', 'busybox --part 2', /^--parts is missing\. .* --parts 4GiB\.$/],
    [
      'referrers in a format that cannot hold them',
      'busybox --referrers',
      /^--referrers requires --format oci\./,
    ],
    ['a flag with another value', 'busybox --checksum=yes', /^--checksum is "yes"/],
    ['an output without a value', 'busybox -o', /^-o: a value is missing/],
  ] as const) {
    test(`${what} is a mistake in words`, () => {
      const refuse = (error: unknown): boolean =>
        error instanceof UsageError && mistake.test(error.message) && !/&|parameter/.test(error.message);
      assert.throws(() => parseSaveArguments(line.split(' ')), refuse);
    });
  }
});
