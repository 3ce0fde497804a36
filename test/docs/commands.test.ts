import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { helmChart } from '../support/artifacts.ts';
import { type DockerProxy, startDockerProxy } from '../support/dockerproxy.ts';
import { type Dockerd, type Podman, startDockerd, startPodman } from '../support/engines.ts';
import { httpCall } from '../support/http-request.ts';
import { index, layer } from '../support/images.ts';
import { skipUnless } from '../support/packages.ts';
import { findCommand, run, runOrThrow } from '../support/process.ts';
import { push } from '../support/push.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { busyboxImage } from '../support/standard-images.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '..', '..');
const pages = ['README.md', ...globSync('docs/*.md', { cwd: root }).sort()];
const read = (page: string): string => readFileSync(join(root, page), 'utf8');

/** Patterns of commands that do not run here, with the reason. */
const NOT_RUN: readonly (readonly [RegExp, string])[] = [
  [/…|\b(?:IMAGE_ID|REGISTRY)\b/, 'has a placeholder; test/e2e/delta.test.ts runs the commands of the API'],
  [/^(?:sha256sum -c|cat) \S*(?:5-parts|of05)/, 'needs five parts; see test/e2e/air-gap.test.ts'],
  [/^(?:nerdctl|k3s|kind|apptainer|udocker) /, 'is not a package of Debian'],
  [/\b(?:pull|copy) \S*dl\.example\.org\//, 'needs a domain; see test/e2e/registry-clients.test.ts'],
  [/--ask-password|-OJu |--user |^docker login /, 'asks for a password; see test/e2e/private-images.test.ts'],
  [/\bssh HOST\b/, 'needs another machine'],
  [/\bsave --from\b/, 'needs files of the reader; see test/cli/save.test.ts'],
  [/^docker compose /, 'needs Docker Hub; see test/deploy/container.deploy.ts'],
  [/deploy\/install\.sh/, 'changes the machine; see test/deploy/machine.deploy.ts'],
  [
    /^tar -xzf dockerproxy-|^node_modules\/\.bin\/node|^sudo apt install/,
    'needs a release; see test/deploy/package.deploy.ts',
  ],
  [/^npm pack/, 'changes the machine; see test/e2e/package.test.ts'],
  [/^npm run bench/, 'measures for minutes'],
  [/^npm run demo/, 'serves until Ctrl-C'],
  [/^docker save --platform/, 'needs Docker 28'],
];
const whyNotRun = (command: string): string | undefined =>
  NOT_RUN.find(([pattern]) => pattern.test(command))?.[1];

/** `npm start` with variables starts a service. The test only checks its settings. */
const SERVICE = /^(?:sudo )?((?:\w+=\S+ +)*)npm start(?: --(?= ))?/;

/** Returns the commands of each code block for a shell or Windows. A command may have several lines. */
function blocksOf(page: string): string[][] {
  return [...read(page).matchAll(/^```(?:sh|bat)\n([\s\S]*?)^```$/gm)].map(([, block = '']) =>
    block
      .replace(/\\\n\s*/g, '')
      .split('\n')
      .map((line) => line.replace(/\s+#\s.*$/, '').trim())
      .filter(Boolean),
  );
}

/** Adds a command that truncates the file, if a command resumes a download. */
function interrupted(command: string): string[] {
  return /^(?:wget -c|curl -C -) /.test(command) ? ['truncate --size=5000 busybox.tar', command] : [command];
}

const commands = pages.flatMap((page) => blocksOf(page).flat());

/** Returns the paths between backticks in the tables of a page. */
function pathsOf(page: string): string[] {
  const rows = read(page).match(/^\|.*\|$/gm) ?? [];
  return rows
    .flatMap((row) => [...row.matchAll(/`(?:GET )?(\/[^`]*)`/g)].map(([, path = '']) => path))
    .filter((path) => !path.includes('…'));
}

suite('the commands of README and docs', () => {
  test('the list of commands that do not run is current', () => {
    for (const [pattern, reason] of NOT_RUN)
      assert.ok(
        commands.some((command) => pattern.test(command)),
        `${pattern}: ${reason}`,
      );
  });

  test('docs/loading.md has the loaders of README', () => {
    const [, table = ''] = /^## Load the file$([\s\S]*?)^## /m.exec(read('README.md')) ?? [];
    const rows = [...table.matchAll(/^\| [^|]+ \| `([^`]+)`/gm)].map(([, command = '']) => command);
    assert.ok(rows.length >= 10);
    const page = read('docs/loading.md');
    for (const command of rows) assert.ok(page.includes(command), command);
  });

  const services = commands.filter((command) => SERVICE.test(command) && !/\bsave\b/.test(command));
  for (const command of services) {
    test(command, async () => {
      await using folder = await temporaryFolder();
      const checked = command.replace(SERVICE, '$1node src/main.ts check-config');
      const { PATH = '' } = process.env;
      await runOrThrow('sh', ['-c', checked], { cwd: root, env: { PATH, HOME: folder.path } });
    });
  }
});

const skip = skipUnless(
  ...(['docker-registry', 'busybox-amd64', 'busybox-arm64', 'wget', 'curl', 'aria2c', 'tar'] as const),
  ...(['dockerd', 'docker', 'ctr', 'podman', 'crun', 'skopeo'] as const),
);

suite('the commands of README and docs, with engines', { skip, timeout: 900_000 }, () => {
  const stack = new AsyncDisposableStack();
  let home: TemporaryFolder;
  let registry: Registry;
  let proxy: DockerProxy;
  let engine: Dockerd;
  let podman: Podman;
  let variables: Record<string, string>;

  before(async () => {
    home = stack.use(await temporaryFolder());
    registry = stack.use(await startRegistry());
    await pushImages(registry);
    const upstream = ['docker.io', 'ghcr.io'].map((name) => `${name}=${registry.url}`).join();
    variables = {
      DOCKERPROXY_REGISTRIES: upstream,
      DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
      DOCKERPROXY_SEARCH_URL: 'off',
    };
    proxy = stack.use(await startDockerProxy({ env: variables }));
    engine = stack.use(await startDockerd());
    podman = stack.use(await startPodman());
    await mkdir(join(home.path, 'bin'));
    await symlink(join(root, 'bin', 'dockerproxy.js'), join(home.path, 'bin', 'dockerproxy'));
    await symlink(findCommand('curl') ?? '', join(home.path, 'bin', 'curl.exe'));
    // Otherwise, curl succeeds with a page that describes an error.
    await writeFile(join(home.path, '.curlrc'), 'fail-with-body\n');
    // skopeo finds the settings by HOME, not by podman's variable.
    const containers = join(home.path, '.config', 'containers');
    await mkdir(containers, { recursive: true });
    const insecure = `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n`;
    await writeFile(join(containers, 'registries.conf'), insecure);
    await writeFile(join(containers, 'policy.json'), '{"default": [{"type": "insecureAcceptAnything"}]}');
  });
  after(() => stack.disposeAsync());

  const here = (text: string): string =>
    text
      .replaceAll('http://HOST', proxy.url)
      .replaceAll('http://127.0.0.1:8080', proxy.url)
      .replaceAll('registry.lan', registry.host);

  /** Prepares the state that a page expects on the reader's machine. */
  async function prepare(page: string, folder: string): Promise<void> {
    if (page !== 'docs/deltas.md') return;
    const older = join(folder, 'app_2.0.tar');
    await writeFile(older, (await httpCall(`${proxy.url}/dl/app:2.0.tar`)).body);
    await engine.docker('load', '--input', older);
  }

  for (const page of pages) {
    const blocks = blocksOf(page).map((block) =>
      block.filter((command) => whyNotRun(command) === undefined && !SERVICE.test(command)),
    );
    if (blocks.flat().length === 0) continue;
    test(page, async () => {
      const folder = join(home.path, page.replaceAll('/', '-'));
      await mkdir(folder);
      await prepare(page, folder);
      const { port } = new URL(proxy.url);
      const env = {
        ...process.env,
        ...podman.env,
        ...engine.env,
        ...variables,
        DOCKERPROXY_PORT: port,
        HOME: home.path,
        PATH: `${join(home.path, 'bin')}${delimiter}${process.env.PATH}`,
      };
      for (const block of blocks) {
        const script = here(['set -e', ...block.flatMap(interrupted)].join('\n'));
        const { code, stdout, stderr } = await run('sh', ['-xc', script], {
          ...{ cwd: folder, env, timeout: 300_000 },
        });
        assert.equal(code, 0, `${stderr}\n${stdout}`);
      }
    });
  }

  for (const page of ['README.md', 'docs/api-and-errors.md']) {
    test(`the paths in the tables of ${page}`, async () => {
      const paths = pathsOf(page).filter((path) => path !== '/');
      assert.ok(paths.length >= 7);
      for (const path of paths) {
        const { status, body } = await httpCall(here(`http://HOST${path}`));
        assert.ok(status < 400, `${path}: ${status} ${status < 400 ? '' : body}`);
      }
    });
  }
});

/** Pushes every image that the pages name. */
async function pushImages(registry: Registry): Promise<void> {
  const busybox = index([await busyboxImage('amd64'), await busyboxImage('arm64')], { attestations: true });
  const added = await layer({ files: { 'etc/app': 'new\n' } });
  const newer = index([
    await busyboxImage('amd64', { layers: [added] }),
    await busyboxImage('arm64', { layers: [added] }),
  ]);
  for (const [repository, tag, manifest] of [
    ['library/busybox', 'latest', busybox],
    ['library/busybox', '1.36', busybox],
    ['library/alpine', '3.20', newer],
    ['library/nginx', '1.27', newer],
    ['library/app', '2.0', busybox],
    ['library/app', '2.1', newer],
    ['org/app', '1.2', newer],
    ['org/charts/app', '1.2.3', await helmChart('app', '1.2.3')],
    ['my-org/app', 'latest', newer],
    ['team/app', 'latest', newer],
  ] as const)
    await push(registry.url, repository, tag, manifest);
}
