import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type ServerResponse } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { suite, test } from 'node:test';
import { entryPoint, startDockerProxy } from './support/dockerproxy.ts';
import { httpCall } from './support/http-request.ts';
import { listen } from './support/listen.ts';
import { skipUnless } from './support/packages.ts';
import { type RunResult, run, runOrThrow, spawnUntil } from './support/process.ts';
import { reservePort } from './support/reserve-port.ts';
import { temporaryFolder } from './support/temporary-folder.ts';
import { waitFor } from './support/wait-for.ts';

const FATAL = 60;
/** An address reserved for documentation, which is never assigned: https://www.rfc-editor.org/rfc/rfc5737 */
const FOREIGN_ADDRESS = '192.0.2.1';

/** Runs the program to its end in a separate environment. */
async function dockerproxy(args: string[], variables: Record<string, string> = {}): Promise<RunResult> {
  await using home = await temporaryFolder();
  const env = {
    PATH: process.env.PATH,
    HOME: home.path,
    DOCKER_CONFIG: home.path,
    DOCKERPROXY_CACHE_DIR: home.path,
    DOCKERPROXY_STATE_DIR: home.path,
    ...variables,
  };
  return await run(process.execPath, [entryPoint, ...args], { env, cwd: home.path, timeout: 20_000 });
}

/** A port that someone else listens on. */
function takenPort() {
  return listen(createServer());
}

async function accepts(url: string): Promise<boolean> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

suite('the program', { timeout: 600_000 }, () => {
  test('a command that never ends fails as soon as nothing is left to do', async () => {
    // The command reads its arguments from a file if they are not UTF-8.
    const stall = `import files from 'node:fs/promises';
      import { syncBuiltinESMExports } from 'node:module';
      files.readFile = () => new Promise(() => {});
      syncBuiltinESMExports();`;
    const options = `--import=data:text/javascript,${encodeURIComponent(stall)}`;
    const { code, stdout, stderr } = await dockerproxy(['cat', 'busybox', '/\ufffd'], {
      NODE_OPTIONS: options,
    });
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /^The command stopped before its end\./);
  });

  test('help ends well, whatever else is given', async () => {
    for (const [args, begin] of [
      [['--help'], 'DockerProxy: '],
      [['-h'], 'DockerProxy: '],
      [['help'], 'DockerProxy: '],
      [['--port', 'http', '--help'], 'DockerProxy: '],
      [['save', '--nope', '--help'], 'Usage: dockerproxy save '],
      [['save', '-h'], 'Usage: dockerproxy save '],
      [['help', 'save'], 'Usage: dockerproxy save '],
      [['help', 'port'], '  --port PORT\n'],
    ] as const) {
      const { code, stdout, stderr } = await dockerproxy([...args]);
      assert.deepEqual([code, stderr], [0, ''], args.join(' '));
      assert.ok(stdout.startsWith(begin), stdout);
    }
  });

  test('a mistake on the command line ends it with 64 and a suggestion', async () => {
    for (const [args, expected] of [
      [['sav', 'busybox'], '"sav" is not a command. Did you mean save?\nSee dockerproxy --help.\n'],
      [
        ['help', 'sav'],
        '"sav" is neither a command nor a setting. Did you mean save?\nSee dockerproxy --help.\n',
      ],
      [['--prot', '80'], '--prot: unknown flag. Did you mean --port?\nSee dockerproxy --help.\n'],
      [['serve', '--port'], '--port: a value is missing.\nSee dockerproxy serve --help.\n'],
      [
        ['check-config', '--port', 'x'],
        /^--port: "x" must be a port .*\nSee dockerproxy check-config --help\.\n$/,
      ],
      [['ls', 'BUSYBOX'], /^"BUSYBOX" is not an image reference: .*\nSee dockerproxy ls --help\.\n$/],
      [
        ['save', 'a', '--cach-dir', 'x'],
        '--cach-dir: unknown flag. Did you mean --cache-dir?\nSee dockerproxy save --help.\n',
      ],
    ] as const) {
      const { code, stdout, stderr } = await dockerproxy([...args]);
      assert.deepEqual([code, stdout], [64, ''], args.join(' '));
      if (typeof expected === 'string') assert.equal(stderr, expected);
      else assert.match(stderr, expected);
    }
  });

  test('--version is that of the package', async () => {
    const manifest = await readFile(join(import.meta.dirname, '..', 'package.json'), 'utf8');
    const { version } = JSON.parse(manifest) as { version: string };
    assert.deepEqual(await dockerproxy(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' });
  });

  test('bad settings end it with 78 and every mistake on stderr', async () => {
    const { code, stdout, stderr } = await dockerproxy(
      ['--prot', '80', '--config', 'nowhere.toml', '--max-image-size=much'],
      { DOCKERPROXY_PORT: 'http', DOCKERPROXY_PROT: '80' },
    );
    assert.equal(code, 78);
    assert.equal(stdout, '');
    const lines = stderr.trimEnd().split('\n');
    assert.equal(lines[0], 'DockerProxy cannot start:');
    for (const mistake of [
      '--prot:',
      'The file nowhere.toml does not exist.',
      '--max-image-size:',
      'DOCKERPROXY_PORT:',
      'DOCKERPROXY_PROT:',
    ]) {
      assert.ok(
        lines.some((line) => line.startsWith(`  ${mistake}`)),
        `${mistake} is not in ${stderr}`,
      );
    }
    assert.doesNotMatch(stderr, /\n {4}at /);
  });

  test('settings come from the file that DOCKERPROXY_CONFIG names', async () => {
    await using home = await temporaryFolder();
    await using taken = await takenPort();
    const folder = join(home.path, 'dockerproxy');
    await mkdir(folder);
    const file = join(folder, 'dockerproxy.toml');
    await writeFile(file, `port = ${taken.port}\n`);
    const { stdout } = await dockerproxy([], { DOCKERPROXY_CONFIG: file });
    assert.match(stdout, new RegExp(`Port ${taken.port} `));
  });

  test('a pattern with an invalid registry ends it like any bad setting', async () => {
    await using taken = await takenPort();
    const allow = { DOCKERPROXY_ALLOW: 'a b/**' };
    const { code, stderr } = await dockerproxy(['--port', `${taken.port}`], allow);
    assert.equal(code, 78, stderr);
  });

  test('a Redis secret that cannot be used ends the service and check-config with 78', async () => {
    await using folder = await temporaryFolder();
    const key = join(folder.path, 'key');
    await writeFile(key, 'short');
    const settings = ['--redis-url', 'redis://127.0.0.1:1', '--redis-key-file', key];
    const acme = ['--domains', 'dl.example.org', '--acme-email', 'ops@example.org', '--port', '0'];
    for (const args of [
      ['check-config', ...settings],
      ['--redis-url', 'redis://127.0.0.1:1', '--redis-password-file', join(folder.path, 'none')],
      [...settings, ...acme, '--https-port', '0', '--state-dir', folder.path, '--host', '127.0.0.1'],
    ]) {
      const { code, stderr } = await dockerproxy(args);
      assert.deepEqual(
        [code, /cannot start:\n {2}.*(?:at least 32 characters|does not exist)/.test(stderr)],
        [78, true],
        stderr,
      );
    }
  });

  test('it serves metrics only at their own port, and is ready while it can use its cache folder', async () => {
    await using folder = await temporaryFolder();
    const cache = join(folder.path, 'cache');
    await using proxy = await startDockerProxy({
      env: { DOCKERPROXY_CACHE_DIR: cache, DOCKERPROXY_METRICS_PORT: '0' },
    });
    const ready = await httpCall(`${proxy.url}/readyz`);
    assert.equal(ready.status, 200);
    const { checks } = JSON.parse(ready.body.toString());
    assert.equal(checks.source.kind, 'registry');
    assert.ok(checks.cache.freeBytes > 0);
    const listening = /^Metrics are at (http:\/\/127\.0\.0\.1:\d+\/metrics)$/;
    const addressOf = () => proxy.logs().flatMap(({ msg }) => listening.exec(msg) ?? [])[1];
    const url = await waitFor(addressOf, { what: 'the address of the metrics' });
    const { status, headers, body } = await httpCall(url);
    assert.equal(status, 200);
    assert.match(`${headers['content-type']}`, /^text\/plain; version=0\.0\.4/);
    assert.match(body.toString(), /^dockerproxy_build_info\{version="[\d.]+"\} 1$/m);
    assert.match(body.toString(), /^dockerproxy_cache_free_bytes [1-9]\d+$/m);
    assert.equal((await httpCall(`${proxy.url}/metrics`)).status, 404);
    await rm(cache, { recursive: true });
    // The state is polled once a second.
    const unready = await waitFor(async () => {
      const answer = await httpCall(`${proxy.url}/readyz`);
      return answer.status === 503 && answer;
    });
    assert.match(unready.body.toString(), /ENOENT/);
  });

  // close-with-grace takes the emptied event loop for a normal end and calls process.exit(0).
  test('an address at which it cannot listen ends it with 1 and advice', async () => {
    await using taken = await takenPort();
    const port = `${taken.port}`;
    const inUse = (host: string, flag: string) =>
      new RegExp(
        `"level":${FATAL}.*Port ${port} of ${host} is already in use; choose another one with ${flag}"`,
      );
    for (const [args, advice] of [
      [['--port', port], inUse('127\\.0\\.0\\.1', '--port')],
      [['--port', '0', '--metrics-port', port], inUse('127\\.0\\.0\\.1', '--metrics-port')],
      [['--tls', 'self-signed', '--port', port, '--https-port', '0'], inUse('.*', '--port')],
      [['--tls', 'self-signed', '--https-port', port], inUse('.*', '--https-port')],
      [
        ['--host', FOREIGN_ADDRESS, '--port', '0', '--tls', 'off'],
        /192\.0\.2\.1 is not an address of this machine; choose another one with --host/,
      ],
    ] as const) {
      const { code, stdout } = await dockerproxy([...args]);
      assert.match(stdout, advice);
      assert.equal(code, 1, args.join(' '));
    }
  });

  test('it logs its address, responds, and ends with 0 on SIGTERM despite a connection that is kept alive', async () => {
    await using proxy = await startDockerProxy();
    const { status, body } = await httpCall(`${proxy.url}/healthz`);
    assert.equal(status, 200);
    assert.equal(body.toString(), '{"status":"ok"}');
    const keptAlive = connect(Number(new URL(proxy.url).port), '127.0.0.1');
    keptAlive.on('error', () => {}).write('GET /healthz HTTP/1.1\r\nHost: dl.example\r\n\r\n');
    await once(keptAlive, 'data');
    assert.equal(await proxy.stop(), 0);
    keptAlive.destroy();
    assert.equal(proxy.stderr(), '');
    await assert.rejects(httpCall(`${proxy.url}/healthz`), { code: 'ECONNREFUSED' });
  });

  test('SIGABRT, by which a watchdog ends an unresponsive service, ends it without a wait', async () => {
    await using proxy = await startDockerProxy();
    process.kill(proxy.pid, 'SIGABRT');
    assert.deepEqual(await proxy.exited, { code: null, signal: 'SIGABRT' });
  });

  test('with a certificate it serves HTTPS', { skip: skipUnless('openssl', 'curl') }, async () => {
    await using folder = await temporaryFolder();
    const [cert, key] = [join(folder.path, 'cert.pem'), join(folder.path, 'key.pem')];
    await runOrThrow('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
      ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-out', cert, '-keyout', key],
    ]);
    await using proxy = await startDockerProxy({ args: ['--tls-cert-file', cert, '--tls-key-file', key] });
    assert.match(proxy.url, /^https:/);
    const { stdout } = await runOrThrow('curl', ['-sS', '--cacert', cert, `${proxy.url}/healthz`]);
    assert.equal(stdout, '{"status":"ok"}');
  });

  test('a certificate without its key, or an unreadable one, ends the service and check-config with 78', async () => {
    for (const [args, message] of [
      [['--tls-key-file', '/k.pem'], /belong together/],
      [
        ['--tls-key-file', '/no/k.pem', '--tls-cert-file', '/no/c.pem'],
        /The file \/no\/c\.pem does not exist\./,
      ],
    ] as const) {
      for (const command of [[], ['check-config']]) {
        const { code, stderr } = await dockerproxy([...command, ...args, '--port', '0']);
        assert.equal(code, 78);
        assert.match(stderr, message);
      }
    }
  });

  for (const workers of ['1', '2']) {
    test(`a request after SIGTERM on an earlier connection finds the service not ready; workers: ${workers}`, async () => {
      await using proxy = await startDockerProxy({ args: ['--workers', workers] });
      const sockets = Array.from({ length: 8 }, () => connect(Number(new URL(proxy.url).port), '127.0.0.1'));
      await Promise.all(sockets.map((socket) => once(socket, 'connect')));
      // Connections are accepted in order.
      await Promise.all(sockets.map(() => httpCall(`${proxy.url}/readyz`)));
      const ended = proxy.stop();
      await waitFor(async () => !(await accepts(proxy.url)), { what: 'no more connections' });
      const answers = sockets.map((socket) => {
        socket.write('GET /readyz HTTP/1.1\r\nHost: dl.example\r\n\r\n');
        return text(socket);
      });
      for (const answer of await Promise.all(answers)) {
        assert.match(answer, /^HTTP\/1\.1 503 .*"service":\{"ready":false,"state":"stopping"\}/s);
      }
      assert.equal(await ended, 0);
    });
  }

  test('a request under way on SIGTERM gets its answer, and the log says that it is waited for', async () => {
    const asked = Promise.withResolvers<ServerResponse>();
    await using registry = await listen(createHttpServer((_request, response) => asked.resolve(response)));
    const domain = `127.0.0.1:${registry.port}`;
    await using proxy = await startDockerProxy({ args: ['--insecure-registries', domain] });
    const answer = httpCall(`${proxy.url}/dl/${domain}/a.tar`);
    const upstream = await asked.promise;
    const ended = proxy.stop();
    await waitFor(async () => !(await accepts(proxy.url)), { what: 'no more connections' });
    const isTold = () =>
      proxy.logs().some(({ msg }) => msg === 'Stopping: waiting up to 30 s for downloads in flight: 1');
    await waitFor(isTold, { what: 'a line of the log about the download' });
    upstream.writeHead(404).end();
    assert.equal((await answer).status, 404);
    assert.equal(await ended, 0);
  });
});

suite('under systemd', { skip: skipUnless('systemd'), timeout: 600_000 }, () => {
  /** Listens like systemd, and starts the program on the first connection. */
  async function activate(name: string, args: string[], variables: Record<string, string> = {}) {
    const folder = await temporaryFolder();
    const port = await reservePort();
    const set = {
      DOCKERPROXY_CACHE_DIR: folder.path,
      DOCKERPROXY_STATE_DIR: folder.path,
      DOCKER_CONFIG: folder.path,
      ...variables,
    };
    const assignments = Object.entries(set).map(([variable, value]) => `--setenv=${variable}=${value}`);
    const listen = [`--listen=127.0.0.1:${port}`, `--fdname=${name}`, ...assignments];
    const running = await spawnUntil(
      'systemd-socket-activate',
      [...listen, '--', process.execPath, entryPoint, ...args],
      (process) => process.stderr().includes('Listening on'),
    );
    return {
      url: `http://127.0.0.1:${port}`,
      folder: folder.path,
      running,
      [Symbol.asyncDispose]: async () => {
        await running.stop();
        await folder[Symbol.asyncDispose]();
      },
    };
  }

  test('the socket that it passes on is listened on, not the one of the settings', async () => {
    await using taken = await takenPort();
    await using service = await activate('http', ['--port', `${taken.port}`]);
    assert.equal((await httpCall(`${service.url}/healthz`)).status, 200);
  });

  test('a socket for metrics is enough for them to be served', async () => {
    await using service = await activate('metrics', ['--port', '0']);
    assert.match((await httpCall(`${service.url}/metrics`)).body.toString(), /^dockerproxy_build_info/m);
  });

  test('several processes serve on the sockets that are passed on, and metrics are those of all', async () => {
    await using service = await activate('http', ['--workers', '2', '--port', '1']);
    const answers = Array.from({ length: 6 }, () => httpCall(`${service.url}/healthz`));
    assert.deepEqual(new Set((await Promise.all(answers)).map(({ status }) => status)), new Set([200]));
    await using metrics = await activate('metrics', ['--workers', '2', '--port', '0']);
    const { body } = await httpCall(`${metrics.url}/metrics`);
    assert.match(body.toString(), /^dockerproxy_workers \d$/m);
  });

  test('a socket for nothing ends it with 78', async () => {
    await using service = await activate('nothing', []);
    await assert.rejects(httpCall(`${service.url}/healthz`));
    assert.equal((await service.running.exited).code, 78);
    assert.match(service.running.stderr(), /LISTEN_FDNAMES: "nothing" must name each socket/);
  });

  test('programs that it starts hear nothing of it', async () => {
    await using registry = await listen(
      createHttpServer((_request, response) => {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
      }),
    );
    const domain = `127.0.0.1:${registry.port}`;
    await using tools = await temporaryFolder();
    const seen = join(tools.path, 'seen');
    const helper = `#!/bin/sh\nenv > ${seen}\necho credentials not found\nexit 1\n`;
    await writeFile(join(tools.path, 'docker-credential-spy'), helper, { mode: 0o755 });
    const variables = {
      PATH: `${tools.path}:${process.env.PATH}`,
      NOTIFY_SOCKET: join(tools.path, 'no-one'),
    };
    await using service = await activate('http', ['--insecure-registries', domain], variables);
    await writeFile(join(service.folder, 'config.json'), JSON.stringify({ credsStore: 'spy' }));
    await httpCall(`${service.url}/dl/${domain}/a.tar`);
    const variablesSeen = await readFile(seen, 'utf8');
    assert.match(variablesSeen, /^DOCKER_CONFIG=/m);
    assert.doesNotMatch(variablesSeen, /^(?:LISTEN_|NOTIFY_SOCKET)/m);
  });
});
