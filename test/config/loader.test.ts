import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { ConfigError, loadConfig, type Sources } from '../../src/config/loader.ts';
import { mask } from '../../src/config/mask.ts';
import type { Config } from '../../src/config/schema.ts';
import { formatPlatform } from '../../src/oci/platform.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const WITHOUT_DEFAULT = (
  'allow allowFile denyFile policy allowClientsFile denyClientsFile redisUrl redisPasswordFile ' +
  'redisSentinelUser redisSentinelPasswordFile redisTlsCaFile redisTlsCertFile redisTlsKeyFile ' +
  'redisKeyFile metricsPort operatorName operatorContact acmeEmail acmeDnsHook acmeProfile ' +
  'acmePreferredChain acmeEabKid acmeEabKeyFile acmeFallbackDirectory acmeFallbackEabKid ' +
  'acmeFallbackEabKeyFile acmeCaFile tlsCertFile tlsKeyFile certsDir'
).split(' ');
const nowhere = join(import.meta.dirname, 'no-such-folder');

function load(sources: Partial<Sources> = {}): Config {
  return loadConfig({ argv: [], environment: {}, home: nowhere, isRoot: false, ...sources });
}

function mistakesOf(sources: Partial<Sources>): readonly string[] {
  try {
    load(sources);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.mistakes;
  }
  return [];
}

function globs(patterns: Config['allow']): string[] | undefined {
  return patterns?.map(({ glob }) => glob);
}

async function fileWith(toml: string, ...path: string[]) {
  const folder = await temporaryFolder();
  const file = join(folder.path, ...(path.length > 0 ? path : ['settings.toml']));
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, toml);
  return { file, folder: folder.path, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

suite('the sources of settings', () => {
  test('without anything, the defaults hold', () => {
    const { defaultPlatform, ...config } = load();
    assert.equal(formatPlatform(defaultPlatform), 'linux/amd64');
    assert.deepEqual(config, {
      ...Object.fromEntries(WITHOUT_DEFAULT.map((name) => [name, undefined])),
      source: 'registry',
      host: '127.0.0.1',
      port: 8080,
      workers: 1,
      deny: [],
      allowClients: [],
      denyClients: [],
      trustProxy: [],
      replicas: [],
      tagTtl: 0,
      maxConnections: 10_000,
      connectionsPerClient: 256,
      minClientSpeed: 1024,
      minClientSpeedWindow: 120_000,
      maxEventLoopDelay: 500,
      rateLimit: { limit: 60, window: 60_000 },
      pageRateLimit: { limit: 600, window: 60_000 },
      downloadsPerIp: 4,
      connectionsPerDownload: 32,
      maxDownloads: 1000,
      dailyBytes: 100 * 2 ** 30,
      bandwidthPerIp: 0,
      limitsStore: 'sqlite',
      clientCredentials: 'off',
      registryApi: 'on',
      registryNames: [],
      insecureRegistries: [],
      metricsHost: '127.0.0.1',
      drain: 30_000,
      maxImageSize: 0,
      maxUnpackedSize: 64 * 2 ** 30,
      contentsOnDemand: 64 * 2 ** 20,
      searchUrl: new URL('https://hub.docker.com/v2/search/repositories/'),
      httpsPort: 8443,
      tls: 'off',
      domains: [],
      acmeDirectory: 'https://acme-v02.api.letsencrypt.org/directory',
      acmeStaging: false,
      acmeClient: 'auto',
      acmeChallenge: 'auto',
      acmeDnsResolvers: [],
      logFormat: 'auto',
      logLevel: 'info',
      cacheSize: 20 * 2 ** 30,
      readAhead: 256 * 2 ** 20,
      staleIfError: 86_400_000,
      registries: new Map(),
      pull: 'always',
      pulls: 2,
      pullQueue: 16,
      engineKeep: 20 * 2 ** 30,
      cacheDir: join(nowhere, '.cache/dockerproxy'),
      stateDir: join(nowhere, '.local/state/dockerproxy'),
    });
  });

  test('flags come before variables, these before the file, the file before the defaults', async () => {
    await using made = await fileWith('host = "127.0.0.9"\nlog_level = "warn"\nport = 1\n');
    const config = load({
      argv: ['--config', made.file, '--port', '3'],
      environment: { DOCKERPROXY_PORT: '2', DOCKERPROXY_LOG_LEVEL: 'error' },
    });
    assert.equal(config.port, 3);
    assert.equal(config.logLevel, 'error');
    assert.equal(config.host, '127.0.0.9');
    assert.equal(config.maxImageSize, 0);
  });

  test('a list of a higher source replaces a lower one, also with nothing', async () => {
    await using made = await fileWith('allow = ["ghcr.io/**"]\ndeny = ["ghcr.io/secret/**"]\n');
    const config = load({
      argv: ['--config', made.file, '--deny='],
      environment: { DOCKERPROXY_ALLOW: 'quay.io/**' },
    });
    assert.deepEqual(globs(config.allow), ['quay.io/**']);
    assert.deepEqual(config.deny, []);
  });

  test('a flag takes its value after a space or an equals sign', () => {
    assert.equal(load({ argv: ['--max-image-size', '5'] }).maxImageSize, 5);
    assert.equal(load({ argv: ['--max-image-size=5'] }).maxImageSize, 5);
  });

  test('DOCKERPROXY_CONFIG names the file, and --config comes before it', async () => {
    await using one = await fileWith('port = 1\n');
    await using other = await fileWith('port = 2\n');
    const environment = { DOCKERPROXY_CONFIG: one.file };
    assert.equal(load({ environment }).port, 1);
    assert.equal(load({ environment, argv: ['--config', other.file] }).port, 2);
  });

  test('variables of other programs are ignored', () => {
    assert.equal(load({ environment: { PORT: 'x', DOCKER_HOST: 'y', dockerproxy_port: 'z' } }).port, 8080);
  });
});

suite("a user's folders and root's", () => {
  test("a user's file is in .config", async () => {
    await using made = await fileWith('port = 7\n', '.config/dockerproxy/dockerproxy.toml');
    assert.equal(load({ home: made.folder }).port, 7);
  });

  test('XDG folders replace those below the home folder', async () => {
    await using made = await fileWith('port = 7\n', 'xdg/dockerproxy/dockerproxy.toml');
    const config = load({
      environment: {
        XDG_CONFIG_HOME: join(made.folder, 'xdg'),
        XDG_CACHE_HOME: '/xdg/cache',
        XDG_STATE_HOME: '/xdg/state',
      },
    });
    assert.equal(config.port, 7);
    assert.equal(config.cacheDir, '/xdg/cache/dockerproxy');
    assert.equal(config.stateDir, '/xdg/state/dockerproxy');
  });

  // https://specifications.freedesktop.org/basedir-spec/latest/: "either not set or empty", "must be absolute"
  for (const value of ['', 'relative/folder']) {
    test(`an XDG variable that is ${JSON.stringify(value)} counts as not set`, () => {
      const config = load({ environment: { XDG_CACHE_HOME: value, XDG_STATE_HOME: value } });
      assert.equal(config.cacheDir, join(nowhere, '.cache/dockerproxy'));
      assert.equal(config.stateDir, join(nowhere, '.local/state/dockerproxy'));
    });
  }

  test("root's folders are the system's, whatever home and XDG say", async () => {
    await using made = await fileWith('port = 7\n', '.config/dockerproxy/dockerproxy.toml');
    await using chosen = await fileWith('', 'empty.toml');
    const environment = { XDG_CACHE_HOME: '/xdg', XDG_STATE_HOME: '/xdg', XDG_CONFIG_HOME: '/xdg' };
    const root = { isRoot: true, home: made.folder, environment };
    const config = load({ ...root, argv: ['--config', chosen.file] });
    assert.equal(config.cacheDir, '/var/cache/dockerproxy');
    assert.equal(config.stateDir, '/var/lib/dockerproxy');
    assert.notEqual(load(root).port, 7);
  });

  test("root's commands keep cache and state in its home, not among the service's files", async () => {
    await using made = await fileWith('');
    const config = load({ isRoot: true, keepsInHome: true, home: '/root', argv: ['--config', made.file] });
    assert.equal(config.cacheDir, '/root/.cache/dockerproxy');
    assert.equal(config.stateDir, '/root/.local/state/dockerproxy');
  });

  test('a given folder replaces the usual one', () => {
    const config = load({ argv: ['--cache-dir', '/a'], environment: { DOCKERPROXY_STATE_DIR: '/b' } });
    assert.equal(config.cacheDir, '/a');
    assert.equal(config.stateDir, '/b');
  });
});

suite('values', () => {
  test('lists are written with commas, or as TOML arrays', async () => {
    await using made = await fileWith('allow = ["a.io/**", "b.io/x"]\ndeny = "a.io/y, b.io/z"\n');
    const config = load({
      argv: ['--config', made.file, '--insecure-registries', ' one.lan:5000 ,,two.lan '],
    });
    assert.deepEqual(globs(config.allow), ['a.io/**', 'b.io/x']);
    assert.deepEqual(globs(config.deny), ['a.io/y', 'b.io/z']);
    assert.deepEqual(config.insecureRegistries, ['one.lan:5000', 'two.lan']);
  });

  const sizes: [string, number][] = [
    ['0', 0],
    ['1000', 1000],
    ['12B', 12],
    ['500MB', 500_000_000],
    ['1.5kB', 1500],
    ['20 GiB', 20 * 2 ** 30],
    ['1TiB', 2 ** 40],
    ['0.3B', 0],
  ];
  for (const [given, expected] of sizes) {
    test(`${given} is ${expected} bytes`, () => {
      assert.equal(load({ environment: { DOCKERPROXY_MAX_IMAGE_SIZE: given } }).maxImageSize, expected);
    });
  }

  test('TOML numbers are taken as they are', async () => {
    await using made = await fileWith('port = 0\nmax_image_size = 1_000_000\n');
    const config = load({ argv: ['--config', made.file] });
    assert.equal(config.port, 0);
    assert.equal(config.maxImageSize, 1_000_000);
  });

  const registries: [string, string][] = [
    ['registry.lan', 'registry.lan'],
    ['Registry.LAN:5000', 'registry.lan:5000'],
    [' 127.0.0.1:5000 ', '127.0.0.1:5000'],
    ['localhost', 'localhost'],
    ['localhost:5000', 'localhost:5000'],
    ['[::1]:5000', '[::1]:5000'],
  ];
  for (const [given, expected] of registries) {
    test(`the registry ${JSON.stringify(given)} is ${expected}`, () => {
      assert.deepEqual(load({ argv: ['--insecure-registries', given] }).insecureRegistries, [expected]);
    });
  }

  const contacts: [string, string][] = [
    ['images@example.org', 'mailto:images@example.org'],
    ['mailto:images@example.org', 'mailto:images@example.org'],
    ['https://example.org/help', 'https://example.org/help'],
  ];
  test('the search is where it is said, or nowhere', () => {
    assert.equal(load({}).searchUrl?.host, 'hub.docker.com');
    assert.equal(load({ argv: ['--search-url', 'http://a.lan/find'] }).searchUrl?.href, 'http://a.lan/find');
    assert.equal(load({ argv: ['--search-url', 'off'] }).searchUrl, undefined);
  });

  for (const [given, expected] of contacts) {
    test(`the contact ${given} is the link ${expected}`, () => {
      assert.equal(load({ argv: ['--operator-contact', given] }).operatorContact, expected);
    });
  }

  const rates: [string, number, number][] = [
    ['60/minute', 60, 60_000],
    [' 5 / second ', 5, 1000],
    ['1000/hour', 1000, 3_600_000],
    ['1/day', 1, 86_400_000],
    ['0', 0, 60_000],
  ];
  for (const [given, limit, window] of rates) {
    test(`the rate ${given} is ${limit} in ${window} ms`, () => {
      assert.deepEqual(load({ argv: [`--rate-limit=${given}`] }).rateLimit, { limit, window });
    });
  }

  const ranges: [string, string][] = [
    ['192.0.2.7', '192.0.2.7/32'],
    ['10.0.0.0/8', '10.0.0.0/8'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['2001:DB8:0::/32', '2001:db8::/32'],
    ['::1', '::1/128'],
    ['::ffff:10.0.0.0/104', '10.0.0.0/8'],
  ];
  for (const [given, expected] of ranges) {
    test(`the range ${given} is ${expected}`, () => {
      const { trustProxy, allowClients, denyClients } = load({
        argv: [`--trust-proxy=${given}`, `--allow-clients=${given}`, `--deny-clients=${given}`],
      });
      for (const list of [trustProxy, allowClients, denyClients]) {
        assert.deepEqual(
          list.map(({ cidr }) => cidr),
          [expected],
        );
      }
    });
  }

  test('replicas are origins, each with a country or none', () => {
    const { replicas } = load({ argv: ['--replicas', 'https://DL1.example.org/, http://10.0.0.2:8080 DE'] });
    assert.deepEqual(replicas, [
      { origin: 'https://dl1.example.org', location: undefined },
      { origin: 'http://10.0.0.2:8080', location: 'de' },
    ]);
  });

  test('platforms come in normal form', () => {
    const { defaultPlatform } = load({ argv: ['--default-platform', 'Linux/aarch64/v8'] });
    assert.equal(formatPlatform(defaultPlatform), 'linux/arm64');
  });
});

suite('mistakes in settings', () => {
  const badValues: [string, string[], RegExp][] = [
    ['port', ['http', '65536', '-1', '80.5', '0x50', '', '1e3'], /must be a port/],
    ['host', ['', '  '], /must be a text/],
    ['allow', ['docker.io', 'ghcr.io/**,busybox'], /must be a glob/],
    ['deny', ['*'], /must be a glob/],
    [
      'replicas',
      ['dl.example.org', 'https://a.example/dl', 'https://u@a.example', 'ftp://a', 'https://a.example deu'],
      /must name services by URLs/,
    ],
    [
      'insecure-registries',
      [
        'registry',
        'https://registry.lan',
        'registry.lan/path',
        'registry.lan:x',
        'registry.lan:70000',
        'index.docker.io',
      ],
      /must be the host and port/,
    ],
    ['default-platform', ['linux', 'linux/', 'linux/amd64/v1/x', ''], /must be/],
    ['max-image-size', ['much', '-1', '5XB', '5 gib', '1e9', '99999999TiB', ''], /must be a size/],
    ['log-level', ['verbose', 'INFO', ''], /must be one of trace, debug, info/],
    [
      'trust-proxy',
      ['1', 'loopback', '10.0.0.0/33', '10.0.0.0/', '10.1.0.0/8', '127.1', '2001:db8::/129', 'proxy.lan'],
      /must be an address or a range/,
    ],
    [
      'rate-limit',
      ['60', '60/fortnight', '-1/minute', '0/minute', '1.5/minute', 'minute', ''],
      /must be a rate/,
    ],
    ['downloads-per-ip', ['-1', 'many', '1.5', ''], /must be a whole number from 0 on/],
    ['cache-dir', [''], /must be a text/],
    ['state-dir', [''], /must be a text/],
    ['search-url', ['on', 'file:///etc/passwd', ''], /must be/],
    [
      'operator-contact',
      ['someone', 'javascript:alert(1)', 'http://a.example', 'a b@c.example', ''],
      /must be/,
    ],
  ];
  const LISTS = new Set(['allow', 'deny', 'replicas', 'insecure-registries', 'trust-proxy']);
  for (const [flag, values, rule] of badValues) {
    for (const value of values) {
      test(`--${flag}=${value} is refused with its rule`, () => {
        const [mistake = '', ...others] = mistakesOf({ argv: [`--${flag}=${value}`] });
        assert.deepEqual(others, []);
        const entries = value.split(',');
        const place = LISTS.has(flag) ? `entry ${entries.length}, ` : '';
        const quoted = `"${mask(LISTS.has(flag) ? entries.at(-1) : value)}"`;
        assert.ok(mistake.startsWith(`--${flag}: ${place}${quoted}${place === '' ? '' : ','} `), mistake);
        assert.match(mistake, rule);
      });
    }
  }

  test('a common prefix does not make names similar', () => {
    assert.deepEqual(mistakesOf({ argv: ['--nope', '1'], environment: { DOCKERPROXY_FOO: '1' } }), [
      '--nope: unknown flag.',
      'DOCKERPROXY_FOO: unknown setting.',
    ]);
  });

  test('mistakes of all sources are reported at once, with their places', async () => {
    await using made = await fileWith('prot = 80\nhost = 5\nallow = [1]\n');
    const mistakes = mistakesOf({
      argv: ['serve', '--prot', '80', '--config', made.file, '--port=http', '-x', '--cache-dir'],
      environment: {
        DOCKERPROXY_PROT: '80',
        DOCKERPROXY_LOG_LEVEL: 'loud',
        DOCKERPROXY_DEFAULT_PLATFORM: 'linux',
      },
    });
    const expected = [
      /^"serve" is neither a command nor a flag/,
      /^--prot: unknown flag\. Did you mean --port\?$/,
      /^-x: unknown flag/,
      /^--cache-dir: a value is missing/,
      /^DOCKERPROXY_PROT: unknown setting\. Did you mean DOCKERPROXY_PORT\?$/,
      /settings\.toml: unknown setting "prot"\. Did you mean port\?$/,
      /^--port: "http" must be a port/,
      /^DOCKERPROXY_LOG_LEVEL: "loud" must be one of/,
      /^DOCKERPROXY_DEFAULT_PLATFORM: "linux" must be a platform/,
      /settings\.toml: host: "5" must be a text/,
      /settings\.toml: allow: entry 1, "1", must be a text/,
    ];
    for (const rule of expected) {
      assert.ok(
        mistakes.some((mistake) => rule.test(mistake)),
        `${rule} is not among ${JSON.stringify(mistakes)}`,
      );
    }
  });

  test('each mistake in a list names its entry', async () => {
    const long = Array.from({ length: 40 }, (_, at) => `"registry-${at}.example/**"`).join(', ');
    await using made = await fileWith(
      `allow = [${long}, "Foo bar", "ghcr.io/**", "docker.io"]\ntrust_proxy = ["10.0.0.0/8", 7]\n`,
    );
    const glob = 'must be a glob over registry/repository, such as docker.io/library/* or ghcr.io/**.';
    const mistakes = mistakesOf({ argv: ['--config', made.file, '--deny', 'ghcr.io/a, ,b c/d'] });
    assert.match(mistakes[1] ?? '', /: trust_proxy: entry 2, "7", must be /);
    assert.deepEqual(mistakes.toSpliced(1, 1), [
      `--deny: entry 2, "b c/d", ${glob}`,
      `${made.file}: allow: entry 41, "Foo bar", ${glob}`,
      `${made.file}: allow: entry 43, "docker.io", ${glob}`,
    ]);
  });

  test('wrong TOML types are refused', async () => {
    await using made = await fileWith(
      'port = true\nallow = 1\nmax_image_size = -5\nlog_level = 3\ndefault_platform = 1\n',
    );
    assert.equal(mistakesOf({ argv: ['--config', made.file] }).length, 5);
  });

  test('a TOML table where a value belongs is refused', async () => {
    await using made = await fileWith('[allow]\na = 1\n');
    assert.match(mistakesOf({ argv: ['--config', made.file] }).join(), /allow: .*must be a list/);
  });

  test('a mistake that a higher source hides is reported, too', async () => {
    await using made = await fileWith('port = 80800\n');
    const mistakes = mistakesOf({ argv: ['--config', made.file, '--port', '8080'] });
    assert.match(mistakes.join('\n'), /^[^\n]*settings\.toml: port: "80800" must be a port[^\n]*$/);
  });

  test('a flag is not the value of the flag before it', () => {
    const mistakes = mistakesOf({ argv: ['--cache-dir', '--host', '::1'] });
    assert.match(mistakes.join('\n'), /^--cache-dir: a value is missing/);
  });

  test('the file cannot name another file', async () => {
    await using made = await fileWith('config = "other.toml"\n');
    assert.match(mistakesOf({ argv: ['--config', made.file] }).join(), /unknown setting "config"/);
  });

  for (const [name, sources] of [
    ['--config', { argv: ['--config', nowhere] }],
    ['DOCKERPROXY_CONFIG', { environment: { DOCKERPROXY_CONFIG: nowhere } }],
  ] as const) {
    test(`a file that ${name} names must be there`, () => {
      assert.deepEqual(mistakesOf(sources), [`The file ${nowhere} does not exist.`]);
    });
  }

  test('malformed TOML is a mistake with the path, also in the usual place', async () => {
    await using made = await fileWith('port = = 1\n', '.config/dockerproxy/dockerproxy.toml');
    const [mistake = '', ...others] = mistakesOf({ home: made.folder });
    assert.match(mistake, /dockerproxy\.toml: .*TOML/);
    assert.deepEqual(others, []);
  });

  test('malformed TOML is reported with its line', async () => {
    await using made = await fileWith('host = "h"\n\nport = = 1\n');
    assert.match(mistakesOf({ argv: ['--config', made.file] }).join(), /\b3\b/);
  });

  test('the quoted value has no credentials, even if they are the mistake', () => {
    const urls = [
      'redis:/me:s3cret@redis.lan',
      'redis://me:s3/c#r?et@redis.lan',
      'redis://me:s3c@ret@redis.lan',
    ];
    const mistakes = [
      ...urls.flatMap((url) => mistakesOf({ argv: ['--redis-url', url] })),
      ...mistakesOf({ environment: { DOCKERPROXY_REPLICAS: 'https://me:s3cret@one,https://me:s3cret@two' } }),
      ...mistakesOf({ argv: ['redis://me:s3cret@redis.lan'] }),
    ];
    assert.equal(mistakes.length, 6);
    for (const mistake of mistakes)
      assert.match(mistake, /"(?:redis|https):\/+\*\*\*@(?:redis\.lan|one|two)"/);
    assert.doesNotMatch(mistakes.join(), /me:|s3|ret@/);
  });

  test('credentials in a table of the file are not quoted', async () => {
    await using made = await fileWith(
      '[registries."docker.io"]\nmirrors = ["https://me:s3cret@mirror.lan"]\n',
    );
    const [mistake = ''] = mistakesOf({ argv: ['--config', made.file] });
    assert.match(mistake, /https:\/\/\*\*\*@mirror\.lan/);
  });

  test('the quoted value cannot control a terminal', () => {
    const [mistake = ''] = mistakesOf({ argv: ['--port', '\x1b[31m\n80'] });
    assert.match(mistake, /^[\x20-\x7e]*$/);
  });
});
