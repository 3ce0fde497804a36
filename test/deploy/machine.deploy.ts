import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, chown, copyFile, readFile } from 'node:fs/promises';
import { createServer, type LookupFunction } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { makeDebian, makeRelease } from '../support/debian.ts';
import { type Download, download, startDownload } from '../support/download.ts';
import { type Dockerd, startDockerd } from '../support/engines.ts';
import { httpCall } from '../support/http-request.ts';
import { type Machine, startMachine } from '../support/machine.ts';
import { makeOfflineNpm } from '../support/offline-npm.ts';
import { skipUnless } from '../support/packages.ts';
import { type Pebble, startPebble } from '../support/pebble.ts';
import { runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { randomLayer } from '../support/random-layer.ts';
import { basicCredentials, type Registry, startRegistry } from '../support/registry.ts';
import { busyboxImage } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';
import { waitFor } from '../support/wait-for.ts';

/**
 * Tests an operator's setup: a Debian that boots, install.sh, ports 80 and 443, and an authority's certificate. All of
 * it runs in its own network, without other listeners. The test starts the external parts first.
 */
const { DOCKERPROXY_TEST_RELEASE: release, DOCKERPROXY_TEST_NPM: npm = '' } = process.env;
const DOMAIN = 'dl.dockerproxy.test';
const IMAGE_BYTES = 64 * 1024 * 1024;
const repository = join(import.meta.dirname, '..', '..');
const guide = readFileSync(join(repository, 'deploy', 'README.md'), 'utf8');

if (release !== undefined) inside(release);
else {
  const skip = skipUnless(
    'systemd-nspawn',
    'debootstrap',
    'pebble',
    'docker-registry',
    'ip',
    'busybox-amd64',
  );
  test('on a machine of its own', { skip, timeout: 900_000 }, async (context) => {
    await using folder = await temporaryFolder();
    await makeDebian();
    const archive = await makeRelease(folder.path);
    await using offline = await temporaryFolder();
    await makeOfflineNpm(offline.path);
    const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
    const isolate = 'ip link set lo up && exec "$@"';
    const { stdout } = await runOrThrow(
      'unshare',
      ['--net', 'sh', '-c', isolate, 'sh', process.execPath, import.meta.filename],
      {
        env: { ...env, DOCKERPROXY_TEST_RELEASE: archive, DOCKERPROXY_TEST_NPM: offline.path },
        timeout: 600_000,
      },
    );
    for (const line of stdout.split('\n')) context.diagnostic(line);
  });
}

function inside(archive: string): void {
  suite('on a machine of its own, inside', { timeout: 580_000 }, () => {
    let stack: AsyncDisposableStack;
    let folder: TemporaryFolder;
    let pebble: Pebble;
    let registry: Registry;
    let engine: Dockerd;
    let machine: Machine;
    let filesBefore: string;

    const url = (query: string) => `https://${DOMAIN}/${query}`;
    const image = (name: string) => url(`dl?myimage=${registry.host}/${name}`);
    const tls = async () => {
      const lookup: LookupFunction = (_host, _options, found) =>
        found(null, [{ address: '127.0.0.1', family: 4 }]);
      return { tls: { ca: await readFile(pebble.rootFile), lookup } };
    };
    const install = (...args: string[]) =>
      machine.sh(`/srv/release/deploy/install.sh ${args.join(' ')}`, SLOW);
    /** The first request may fail during a restart, but another attempt must succeed. */
    const underLoad = async (work: (served: () => number) => Promise<void>): Promise<void> => {
      const [options, done] = [await tls(), new AbortController()];
      const results: Download[] = [];
      const client = async (): Promise<void> => {
        while (!done.signal.aborted && results.length < 5000) {
          results.push(await download(image('library/busybox'), options));
        }
      };
      const clients = Promise.all(Array.from({ length: 8 }, client));
      await Promise.race([clients, work(() => results.length)]);
      done.abort();
      await clients;
      assert.deepEqual([...new Set(results.map(({ status }) => status))], [200]);
      assert.equal(new Set(results.map(({ sha256 }) => sha256)).size, 1);
    };
    const hasMetrics = async () => {
      const { body } = await httpCall('http://127.0.0.1:9464/metrics');
      assert.match(body.toString(), /^dockerproxy_build_info/m);
    };
    const certificateState = async () => {
      const { body } = await httpCall('https://127.0.0.1/readyz');
      return JSON.parse(body.toString()).checks.certificate.state;
    };

    before(async () => {
      stack = new AsyncDisposableStack();
      folder = stack.use(await temporaryFolder());
      pebble = stack.use(await startPebble({ httpPort: 80 }));
      registry = stack.use(await startRegistry());
      await push(registry.url, 'library/busybox', 'latest', await busyboxImage('amd64'));
      await using random = await randomLayer(IMAGE_BYTES, 'machine');
      await push(registry.url, 'big', 'latest', await busyboxImage('amd64', { layers: [random] }));
      await copyFile(pebble.caFile, join(folder.path, 'authority.pem'));
      await copyFile(pebble.rootFile, join(folder.path, 'root.pem'));
      await copyFile(archive, join(folder.path, basename(archive)));
      engine = stack.use(await startDockerd());
      const shared = {
        '/mnt': folder.path,
        '/clone': repository,
        '/npm': npm,
        '/engine': dirname(engine.socket),
      };
      machine = stack.use(await startMachine(shared));
      await machine.write('/etc/hosts', `127.0.0.1 localhost ${DOMAIN}\n`);
      await machine.sh('mkdir /srv/release && tar -xzf /mnt/*.tar.gz -C /srv/release --strip-components=1');
      await machine.sh('cd /usr/local/bin && ln -s /npm/node . && ln -s /npm/npm/bin/npm-cli.js npm');
      filesBefore = await filesOf(machine);
    });
    after(() => stack[Symbol.asyncDispose]());

    test('the unpacked release runs as it is', async () => {
      const version = await machine.sh(
        'cd /srv/release && node_modules/.bin/node bin/dockerproxy.js --version',
      );
      assert.match(version, /^\d+\.\d+\.\d+\s*$/);
    });

    test('a dry run tells what would be done, and does nothing', async () => {
      const told = await install('--dry-run', '--domain', DOMAIN, '--email', 'ops@example.org');
      assert.match(told, /mv \/opt\/dockerproxy\.new \/opt\/dockerproxy\n/);
      assert.equal(await filesOf(machine), filesBefore);
    });

    test('without a domain it serves this machine, and says how to go on', async () => {
      const told = await install();
      assert.match(told, /put domains and\n? +acme_email|set domains and/);
      await machine.sh('dockerproxy healthcheck && systemctl is-active dockerproxy');
      assert.equal((await httpCall('http://127.0.0.1:8080/healthz')).status, 200);
    });

    test('with a domain it has the ports of HTTP and HTTPS, and a certificate', async () => {
      const settings = [
        `domains = ["${DOMAIN}"]`,
        'acme_email = "ops@example.org"',
        `acme_directory = "${pebble.directory}"`,
        `insecure_registries = ["${registry.host}"]`,
        'deny_file = "/etc/dockerproxy/deny"',
        ...['rate_limit = 0', 'downloads_per_ip = 0', 'daily_bytes = 0', ''],
      ];
      await machine.write('/etc/dockerproxy/dockerproxy.toml', settings.join('\n'));
      await machine.write('/etc/dockerproxy/deny', '# nothing yet\n');
      await machine.sh('cp /mnt/authority.pem /etc/dockerproxy/authority.pem');
      await machine.write(
        '/etc/systemd/system/dockerproxy.service.d/authority.conf',
        '[Service]\nEnvironment=NODE_EXTRA_CA_CERTS=/etc/dockerproxy/authority.pem\n',
      );
      // If another program has the ports, the error says so, and the running service continues.
      {
        await using taken = createServer();
        await once(taken.listen(443, '127.0.0.1'), 'listening');
        const refused = await machine.run('/opt/dockerproxy/deploy/install.sh', [], SLOW);
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /port 443 is taken: run ss -ltnp 'sport = :443' to find the server/);
        assert.equal((await httpCall('http://127.0.0.1:8080/healthz')).status, 200);
        assert.equal((await machine.run('ls', ['/opt/dockerproxy.new'])).code, 2);
        // The guide explains systemd's messages about them.
        await machine.sh('systemctl stop dockerproxy.service', SLOW);
        assert.notEqual((await machine.run('systemctl', ['start', 'dockerproxy.socket'])).code, 0);
        assert.match(await log(machine, 'dockerproxy.socket'), /Failed to create listening socket/);
      }

      // Run it again, as the message advises. The installed copy can do that, too.
      const told = await machine.sh('/opt/dockerproxy/deploy/install.sh', SLOW);
      assert.match(told, new RegExp(`${DOMAIN} resolves to 127\\.0\\.0\\.1`));
      assert.match(told, /ports 80 and 443/);
      assert.equal(await machine.sh('head -c 7 /etc/dockerproxy/dockerproxy.toml'), 'domains');
      await waitFor(async () => (await certificateState()) === 'valid', {
        timeout: 90_000,
        what: 'a certificate',
      });
    });

    test('check-config reads the settings of the service', async () => {
      const told = await machine.sh('runuser -u nobody -- dockerproxy check-config');
      assert.match(
        told,
        new RegExp(`^domains = \\[ "${DOMAIN}" \\]  # /etc/dockerproxy/dockerproxy\\.toml`, 'm'),
      );
      assert.match(told, /^cache_dir = "\/var\/cache\/dockerproxy"/m);
      await machine.sh('runuser -u nobody -- dockerproxy healthcheck');
    });

    test('wget gets an image over TLS', async () => {
      await machine.sh(
        `cd /root && wget -q --ca-certificate=/mnt/root.pem --content-disposition '${image('library/busybox')}'`,
      );
      const sum = (await machine.sh('sha256sum /root/busybox.tar')).split(' ')[0];
      assert.equal(sum, (await download(image('library/busybox'), await tls())).sha256);
    });

    test('it has no privilege, and what it writes is its own', async () => {
      const status = await machine.sh('cat /proc/$(systemctl show --value -p MainPID dockerproxy)/status');
      assert.match(status, /^CapBnd:\t0{16}$/m);
      assert.match(status, /^NoNewPrivs:\t1$/m);
      assert.match(status, /^Seccomp:\t2$/m);
      assert.doesNotMatch(status, /^Uid:.*\b0\b/m);
      const modes = await machine.sh(
        'stat -c %a /var/lib/private/dockerproxy /var/cache/private/dockerproxy',
      );
      assert.equal(modes, '700\n700\n');
    });

    test('a restart under load fails no connection', () =>
      underLoad(async (served) => {
        for (let round = 1; round <= 3; round++) {
          const soFar = served();
          await machine.sh('systemctl restart dockerproxy', SLOW);
          await waitFor(() => served() > soFar + 20, { timeout: 30_000 });
        }
      }));

    test('a reload takes lists, and refuses those with a mistake', async () => {
      await machine.write('/etc/dockerproxy/deny', 'not a pattern\n');
      const refused = await machine.run('systemctl', ['reload', 'dockerproxy']);
      assert.notEqual(refused.code, 0);
      assert.match(await log(machine), /deny: line 1: "not a pattern"/);
      assert.equal((await download(image('library/busybox'), await tls())).status, 200);
      await machine.write('/etc/dockerproxy/deny', `${registry.host}/big\n`);
      await machine.sh('systemctl reload dockerproxy');
      await waitFor(async () => (await download(image('big'), await tls())).status === 403);
      await machine.write('/etc/dockerproxy/deny', '');
      await machine.sh('systemctl reload dockerproxy');
      await waitFor(async () => (await download(image('big'), await tls())).status === 200);
    });

    test('a stop lets a download under way end', async () => {
      const ongoing = startDownload(image('big'), { ...(await tls()), pauseAt: 1 });
      await waitFor(() => ongoing.received() > 0);
      // Not both at once: systemd might end the service before its ports.
      await machine.sh('systemctl stop dockerproxy.socket');
      const stopped = machine.sh('systemctl stop dockerproxy.service', SLOW);
      await waitFor(async () =>
        /deactivating/.test((await machine.run('systemctl', ['is-active', 'dockerproxy'])).stdout),
      );
      await waitFor(
        async () => (await httpCall('https://127.0.0.1/healthz').catch(() => undefined)) === undefined,
      );
      ongoing.resume();
      const { size } = await ongoing.done;
      assert.ok(size > IMAGE_BYTES);
      await stopped;
      assert.equal((await machine.sh('systemctl show --value -p Result dockerproxy')).trim(), 'success');
    });

    test('secrets are handed over by systemd', async () => {
      await using closed = await startRegistry({ auth: 'htpasswd' });
      await push(closed.url, 'private', 'latest', await busyboxImage('amd64'), { headers: closed.headers });
      const auth = basicCredentials().replace('Basic ', '');
      const config = JSON.stringify({ auths: { [closed.host]: { auth } } });
      await machine.write('/etc/credstore/dockerproxy.config.json', config);
      await machine.sh(
        `chmod 600 /etc/credstore/* && sed -i 's/^insecure_registries = ./&"${closed.host}", /' /etc/dockerproxy/dockerproxy.toml`,
      );
      await machine.sh('systemctl start dockerproxy.socket dockerproxy.service', SLOW);
      const status = async () =>
        (await download(url(`dl?myimage=${closed.host}/private`), await tls())).status;
      assert.equal(await status(), 200);

      await machine.sh(
        'mkdir -p /etc/credstore.encrypted && cd /etc/credstore && systemd-creds encrypt --name=config.json dockerproxy.config.json /etc/credstore.encrypted/dockerproxy.config.json && rm dockerproxy.config.json',
      );
      await machine.sh('systemctl restart dockerproxy', SLOW);
      assert.notEqual(await status(), 200);
      await machine.write(
        '/etc/systemd/system/dockerproxy.service.d/encrypted.conf',
        example('ini', 'LoadCredentialEncrypted='),
      );
      for (const name of ['redis-password', 'redis-key']) {
        await machine.write(`/etc/credstore/dockerproxy.${name}`, name);
      }
      await machine.sh('systemctl daemon-reload && systemctl restart dockerproxy', SLOW);
      assert.equal(await status(), 200);
      const folder = '/run/credentials/dockerproxy.service';
      assert.equal(
        await machine.sh(`cat ${folder}/redis-password ${folder}/redis-key`),
        'redis-passwordredis-key',
      );
    });

    test('an unresponsive service is restarted', async () => {
      await machine.write(
        '/etc/systemd/system/dockerproxy.service.d/watchdog.conf',
        '[Service]\nWatchdogSec=3s\nRestartSec=0\n',
      );
      await machine.sh('systemctl daemon-reload && systemctl restart dockerproxy', SLOW);
      const pid = await machine.sh('systemctl show --value -p MainPID dockerproxy');
      await machine.sh(`kill -STOP ${pid}`);
      await waitFor(async () => /Watchdog timeout/.test(await log(machine)), { timeout: 30_000 });
      // Workers of the unresponsive process can still accept a connection, and end with it.
      const isServed = (): Promise<boolean> =>
        httpCall('https://127.0.0.1/healthz').then(
          ({ status }) => status === 200,
          () => false,
        );
      await waitFor(isServed, { timeout: 30_000 });
      assert.notEqual(await machine.sh('systemctl show --value -p MainPID dockerproxy'), pid);
    });

    test('metrics have a socket of their own, which is opened while others wait', async () => {
      const [, recipe = ''] = /\*\*Metrics:\*\* `([^`]+)`/.exec(guide) ?? [];
      await underLoad(async () => void (await machine.sh(recipe, SLOW)));
      await hasMetrics();
    });

    test('after the machine was off, all is back by itself', async () => {
      const units = 'dockerproxy.service dockerproxy.socket dockerproxy-metrics.socket';
      assert.equal(await machine.sh(`systemctl is-enabled ${units}`), 'enabled\n'.repeat(3));
      const issued = pebble.issued();
      await machine.restart();
      assert.equal((await download(image('library/busybox'), await tls())).status, 200);
      assert.equal(pebble.issued(), issued);
      await hasMetrics();
    });

    test('images of an engine, with access to its socket', async () => {
      await machine.sh('groupadd docker');
      await chown(engine.socket, 0, Number(await machine.sh('getent group docker | cut -d: -f3')));
      await chmod(dirname(engine.socket), 0o755);
      const folder = '/etc/systemd/system/dockerproxy.service.d';
      await machine.write(
        `${folder}/host.conf`,
        '[Service]\nEnvironment=DOCKER_HOST=unix:///engine/docker.sock\n',
      );
      await machine.sh(
        'sed -i \'1i source = "engine"\' /etc/dockerproxy/dockerproxy.toml && systemctl daemon-reload',
      );
      const refused = await machine.run('systemctl', ['restart', 'dockerproxy'], SLOW);
      assert.notEqual(refused.code, 0);
      assert.match(
        await log(machine),
        /No Docker engine answers at unix:\/\/\/engine\/docker\.sock .*EACCES/,
      );
      await machine.sh(`cp /clone/deploy/systemd/engine.conf ${folder} && systemctl daemon-reload`);
      await machine.sh(
        "systemctl reset-failed 'dockerproxy*' && systemctl restart dockerproxy.socket dockerproxy",
        SLOW,
      );
      assert.equal((await download(image('library/busybox'), await tls())).status, 200);
      assert.match((await engine.docker('images')).stdout, /library\/busybox/);
      await machine.sh(
        `rm ${folder}/engine.conf ${folder}/host.conf && sed -i 1d /etc/dockerproxy/dockerproxy.toml`,
      );
    });

    test('an upgrade, from a clone, keeps settings and certificate and leaves what is for development', async () => {
      const issued = pebble.issued();
      await machine.sh('/clone/deploy/install.sh', SLOW);
      assert.equal(await certificateState(), 'valid');
      assert.equal(pebble.issued(), issued);
      assert.equal(await machine.sh('head -c 7 /etc/dockerproxy/dockerproxy.toml'), 'domains');
      const packages = await machine.sh(
        'ls /opt/dockerproxy/node_modules /opt/dockerproxy/node_modules/.bin',
      );
      assert.match(packages, /^fastify$/m);
      assert.doesNotMatch(packages, /typescript|biome|^tsc$/m);
    });

    test('the operator’s files can stay for a new installation: here by npm, from a clone alone', async () => {
      await install('--uninstall', '--keep-data');
      const kept = [
        ...['/etc/dockerproxy/dockerproxy.toml', '/etc/credstore/dockerproxy.redis-key'],
        ...['/etc/credstore.encrypted/dockerproxy.config.json', '/var/lib/private/dockerproxy/tls'],
        ...[
          '/var/cache/private/dockerproxy/blobs',
          '/etc/systemd/system/dockerproxy.service.d/authority.conf',
        ],
      ];
      const left = added(filesBefore, await filesOf(machine));
      for (const path of kept) assert.ok(left.includes(path), path);
      const own = /^\/(?:etc\/(?:dockerproxy|credstore|systemd\/system\/dockerproxy)|var\/(?:lib|cache)\/)/;
      assert.deepEqual(
        left.filter((path) => !own.test(path)),
        [],
      );
      const issued = pebble.issued();
      await machine.sh(
        'mkdir /root/clone && tar -C /clone --exclude=./node_modules --exclude=./.git -c . | tar -C /root/clone -x && cp -R /npm/cache /root/.npm',
      );
      await machine.sh('npm_config_offline=true /root/clone/deploy/install.sh', SLOW);
      assert.equal((await download(image('library/busybox'), await tls())).status, 200);
      assert.equal(await certificateState(), 'valid');
      assert.equal(pebble.issued(), issued);
    });

    test('after it is uninstalled nothing is left', async () => {
      await install('--uninstall');
      assert.deepEqual(added(filesBefore, await filesOf(machine)), []);
      const { stdout } = await machine.run('systemctl', [
        'list-units',
        '--all',
        '--plain',
        '--no-legend',
        'dockerproxy*',
      ]);
      assert.equal(stdout, '');
      await assert.rejects(httpCall('https://127.0.0.1/healthz'));
    });
  });
}

const SLOW = { timeout: 120_000 };

function log(machine: Machine, unit = 'dockerproxy.service'): Promise<string> {
  return machine.sh(`journalctl --unit=${unit} --no-pager --output=cat`);
}

/** Writes the example of the guide that begins like this to a file. */
function example(language: string, line: string): string {
  const found = [...guide.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].filter(
    ([, name, text = '']) => name === language && text.includes(line),
  );
  assert.equal(found.length, 1);
  return found[0]?.[2] ?? '';
}

/** Lists all files of the machine, except for logs, caches, and systemd's records of services. */
function filesOf(machine: Machine): Promise<string> {
  const others = [
    '/proc',
    '/sys',
    '/dev',
    '/run',
    '/tmp',
    '/var/tmp',
    '/var/log',
    '/root',
    '/var/lib/systemd',
  ];
  const shared = ['/mnt', '/clone', '/npm', '/engine'];
  // Other programs can create these folders, but their contents are checked.
  const folders = ['/var/lib/private', '/var/cache/private', '/etc/credstore', '/etc/credstore.encrypted'];
  const any = (paths: readonly string[]) => paths.map((path) => `-path ${path}`).join(' -o ');
  return machine.sh(
    `find / \\( ${any([...others, ...shared])} \\) -prune -o ! \\( ${any([...folders, '/etc/hosts'])} \\) -print | sort`,
  );
}

function added(before: string, after: string): string[] {
  const known = new Set(before.split('\n'));
  return after.split('\n').filter((path) => !known.has(path));
}
