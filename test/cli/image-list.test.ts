import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { suite, test } from 'node:test';
import { CommandError } from '../../src/cli/command-error.ts';
import { imagesIn, readImageList } from '../../src/cli/image-list.ts';
import { UsageError } from '../../src/config/loader.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const COMPOSE = `services:
  web:
    image: "nginx:1.27"
    environment: [MODE=production]
  app:
    image: ghcr.io/org/app:\${TAG:-2.1}
    build: .
`;
const MANIFESTS = `# Source: app/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata: { name: app, labels: { image: not-an-image } }
spec:
  template:
    spec:
      initContainers:
        - { name: wait, image: busybox:1.36 }
      containers:
        - name: app
          image: ghcr.io/org/app:1.2
---
apiVersion: batch/v1
kind: CronJob
spec: { jobTemplate: { spec: { template: { spec: { containers: [{ name: job, image: "alpine:3.20" }] } } } } }
`;

suite('the images in a file', () => {
  for (const [what, text, images] of [
    ['a list', `# base\nbusybox\n\nalpine:3.20  # small\r\nghcr.io/org/app@sha256:${'a'.repeat(64)}`, 3],
    ['a compose file', COMPOSE, ['nginx:1.27', 'ghcr.io/org/app:2.1']],
    ['Kubernetes manifests', MANIFESTS, ['busybox:1.36', 'ghcr.io/org/app:1.2', 'alpine:3.20']],
    ['a Dockerfile', 'FROM node:24 AS build\nFROM scratch\nCOPY --from=build /a /a\n', ['node:24']],
  ] as const)
    test(`are read from ${what}`, async () => {
      const found = (await imagesIn(text, 'file')).map(({ name }) => name);
      if (typeof images === 'number') assert.equal(found.length, images);
      else assert.deepEqual(found, images);
    });

  for (const [what, text, platforms] of [
    [
      'each service of a compose file',
      `services:
  web: { image: nginx:1.27, platform: linux/arm64 }
  app:
    platform: "\${PLATFORM:-linux/arm/v7}"
    image: org/app:2
  old:
    image: nginx:1.27
    platform: linux/amd64
  db:
    image: postgres:17
`,
      {
        'nginx:1.27': ['linux/arm64', 'linux/amd64'],
        'org/app:2': ['linux/arm/v7'],
        'postgres:17': undefined,
      },
    ],
    [
      'a compose file as JSON',
      '{"services":{"web":{"image":"nginx:1.27","platform":"windows/amd64"},"db":{"image":"postgres:17"}}}',
      { 'nginx:1.27': ['windows/amd64'], 'postgres:17': undefined },
    ],
    [
      'a Dockerfile, except for variables of the builder',
      'FROM --platform=$BUILDPLATFORM golang:1.25 AS build\nFROM --platform=linux/arm64 alpine:3.20\n',
      { 'golang:1.25': undefined, 'alpine:3.20': ['linux/arm64'] },
    ],
  ] as const)
    test(`have the platforms of ${what}`, async () => {
      const found = await imagesIn(text, 'file');
      assert.deepEqual(Object.fromEntries(found.map((image) => [image.name, image.platforms])), platforms);
    });

  test('have the values of variables from the environment, then from .env in the folder of the file', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'compose.yaml');
    await writeFile(join(folder.path, '.env'), 'REG="r.example.org"\nTAG=1 # old\nARCH=arm64\nEMPTY=\n');
    await writeFile(
      file,
      `services:
  a: { image: "\${REG}/a:\${TAG:-9}", platform: "linux/$ARCH" }
  b: { image: "$REG/b:\${EMPTY:-2}" }
  c:
    image: \${REG:?missing}/c:\${NONE-3}
    environment: { TAG: $NONE }
`,
    );
    const sources = { stdin: Readable.from([]), environment: { TAG: '7' } };
    assert.deepEqual(await readImageList(file, sources), [
      { name: 'r.example.org/a:7', platforms: ['linux/arm64'] },
      { name: 'r.example.org/b:2', platforms: undefined },
      { name: 'r.example.org/c:3', platforms: undefined },
    ]);
  });

  for (const [written, name] of [
    [`a:\${A:-\${B}}`, 'a:1'],
    [`a:\${NONE:-\${B:-3}}`, 'a:2'],
    [`a:\${NONE:-\${NOT:-\${B}}}`, 'a:2'],
    [`a:\${A:-\${NONE}}`, 'a:1'],
    [`a:\${NONE:-\${NOT:-3}}`, 'a:3'],
    [`a:1\${A:+-\${B}}\${NONE:+-\${B}}`, 'a:1-2'],
    [`a\${EMPTY--x}\${NONE--y}:\${EMPTY:-4}`, 'a-y:4'],
    [`a:\${OWN:-5}`, 'a:5'],
    [`a:\${constructor:-6}`, 'a:6'],
    [`a:\${SECRETS_OPERATOR_TAG}`, 'a:7'],
  ] as const)
    test(`have the name that Docker Compose computes from ${written}`, async () => {
      const variables = { A: '1', B: '2', EMPTY: '', SECRETS_OPERATOR_TAG: '7' };
      const text = `services:\n  a:\n    image: ${written}\n    environment: { OWN: 9 }\n`;
      assert.deepEqual(await imagesIn(text, 'file', variables), [{ name, platforms: undefined }]);
    });

  test('do not contain values of variables named like secrets, nor of any variable outside a compose file', async () => {
    const secrets = [
      ...['DOCKERPROXY_PASSWORD', 'GITHUB_TOKEN', 'AWS_SECRET_ACCESS_KEY', 'MYSQL_PWD', 'sshpass'],
      ...['SECRET_KEY_BASE', 'OPENAI_APIKEY', 'GITLAB_PAT'],
    ];
    const variables = { A: 'x', ...Object.fromEntries(secrets.map((name) => [name, 'x'])) };
    for (const text of [
      ...secrets.map((name) => `services: { a: { image: evil.example.org/$${name} } }`),
      'containers: [{ image: evil.example.org/$A }]',
      'evil.example.org/$A',
    ])
      await assert.rejects(
        imagesIn(text, 'file', variables),
        /variables that have no value: evil\.example\.org\/\$/,
      );
  });

  test('are refused if a variable in one of their names has no value', async () => {
    for (const name of ['$REG/app', `\${IMAGE}`, `org/app:\${TAG}`])
      for (const text of [
        `services:\n  a: { image: busybox }\n  b:\n    image: ${name}\n`,
        `FROM busybox\nFROM ${name}\n`,
        `ghcr.io/org/app\n${name}\n`,
      ])
        await assert.rejects(imagesIn(text, 'c.yaml'), (error) => {
          assert.ok(error instanceof UsageError, text);
          assert.match(error.message, /^c\.yaml contains image names with variables that have no value: /);
          return true;
        });
  });

  test('are refused if the text leaves a tag open, or names no image', async () => {
    await assert.rejects(imagesIn('repository: org/app\ntag: ""\n', 'values.yaml'), (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, /^values\.yaml is ambiguous\. It may mean: org\/app:/);
      return true;
    });
    for (const text of ['', '# nothing\n', '{}'])
      await assert.rejects(
        imagesIn(text, 'list'),
        new UsageError(['No image found in list. Write image names, one on a line.']),
      );
  });

  test('come from stdin or a file', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'images.txt');
    await writeFile(file, 'busybox\nalpine\n');
    const nothing = { stdin: Readable.from([]), environment: {} };
    const input = { stdin: Readable.from([Buffer.from('a:1\n')]), environment: {} };
    assert.deepEqual(await readImageList(file, nothing), [{ name: 'busybox' }, { name: 'alpine' }]);
    assert.deepEqual(await readImageList('-', input), [{ name: 'a:1' }]);
    await assert.rejects(readImageList(`${file}.none`, nothing), (error) => {
      assert.ok(error instanceof CommandError);
      assert.match(error.message, /^The file .*images\.txt\.none does not exist\.$/);
      return true;
    });
  });
});
