import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parseReference } from '../../src/oci/reference.ts';
import { fullName, parsePaste } from '../../web/paste.js';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

const pasted: [text: string, images: string[], platform?: string][] = [
  ['busybox', ['busybox']],
  ['  nginx:1.27\n', ['nginx:1.27']],
  ['Nginx:RC1', ['nginx:RC1']],
  ['docker pull nginx:1.27', ['nginx:1.27']],
  ['$ sudo docker pull ghcr.io/org/app:1.2', ['ghcr.io/org/app:1.2']],
  ['docker image pull --quiet nginx', ['nginx']],
  ['docker pull --platform linux/arm64 nginx', ['nginx'], 'linux/arm64'],
  ['docker pull --platform=linux/arm/v7 nginx', ['nginx'], 'linux/arm/v7'],
  ['docker run -it --rm --name web -p 80:80 -e A=b nginx:1.27 nginx -g daemon', ['nginx:1.27']],
  ['podman run --rm docker.io/library/busybox echo hi', ['docker.io/library/busybox']],
  ['ctr -n k8s.io images pull registry.k8s.io/pause:3.9', ['registry.k8s.io/pause:3.9']],
  ['skopeo copy docker://quay.io/org/app:2 oci:dir', ['quay.io/org/app:2']],
  ['FROM --platform=linux/amd64 node:24-slim AS build', ['node:24-slim'], 'linux/amd64'],
  ['    image: "redis:7"', ['redis:7']],
  ['busybox alpine:3.20', ['busybox', 'alpine:3.20']],
  ['docker pull busybox\ndocker pull alpine\ndocker pull busybox', ['busybox', 'alpine']],
  ['registry.lan:5000/a/b:1', ['registry.lan:5000/a/b:1']],
  [`busybox@${DIGEST}`, [`busybox@${DIGEST}`]],
  [`busybox:1.36 ${DIGEST}`, [`busybox@${DIGEST}`]],
  [`busybox ${DIGEST.slice(7)}`, [`busybox@${DIGEST}`]],
  ['https://hub.docker.com/_/nginx', ['nginx']],
  ['https://hub.docker.com/_/nginx/tags?name=alpine', ['nginx']],
  ['hub.docker.com/r/grafana/grafana/', ['grafana/grafana']],
  ['https://hub.docker.com/repository/docker/me/app/general', ['me/app']],
  [
    'https://hub.docker.com/layers/library/nginx/1.27/images/sha256-0?context=explore',
    ['library/nginx:1.27'],
  ],
  ['https://github.com/Org/Repo/pkgs/container/app', ['ghcr.io/org/app']],
  ['https://github.com/org/repo/pkgs/container/repo%2Fapp/123456?tag=1.2', ['ghcr.io/org/repo/app:1.2']],
  ['https://github.com/orgs/org/packages/container/package/app', ['ghcr.io/org/app']],
  ['https://quay.io/repository/org/app?tab=tags&tag=v1', ['quay.io/org/app:v1']],
  ['https://ghcr.io/org/app:1.2', ['ghcr.io/org/app:1.2']],
  [`https://quay.io/repository/org/app/manifest/${DIGEST}`, [`quay.io/org/app@${DIGEST}`]],
  ['https://hub.docker.com/r/grafana/grafana/tags', ['grafana/grafana']],
  ['docker.io/nginx', ['docker.io/nginx']],
  ['index.docker.io/nginx:1.27', ['index.docker.io/nginx:1.27']],
  ['registry-1.docker.io/org/app', ['registry-1.docker.io/org/app']],
  ['registry.hub.docker.com/library/nginx', ['registry.hub.docker.com/library/nginx']],
  ['docker push ghcr.io/org/app:1', ['ghcr.io/org/app:1']],
  ['docker tag busybox:1.36 registry.lan/busybox', ['busybox:1.36']],
  ['docker buildx imagetools inspect nginx:1.27', ['nginx:1.27']],
  ['crane digest ghcr.io/org/app', ['ghcr.io/org/app']],
  ['helm pull oci://ghcr.io/org/charts/app --version 1.2.3', ['ghcr.io/org/charts/app:1.2.3']],
  ['helm pull --version=1.2.3+b.1 oci://ghcr.io/org/charts/app', ['ghcr.io/org/charts/app:1.2.3_b.1']],
  ['helm pull oci://registry-1.docker.io/bitnamicharts/nginx', ['registry-1.docker.io/bitnamicharts/nginx']],
  ['helm show chart oci://ghcr.io/org/charts/app:1.2.3', ['ghcr.io/org/charts/app:1.2.3']],
  ['oras pull ghcr.io/org/files:v1', ['ghcr.io/org/files:v1']],
  ['oras pull -o out ghcr.io/org/files:v1', ['ghcr.io/org/files:v1']],
  ['docker model pull ai/smollm2', ['ai/smollm2']],
  ['docker model run ai/smollm2:360M-Q4_K_M hello', ['ai/smollm2:360M-Q4_K_M']],
  ['docker plugin pull vieux/sshfs:latest', ['vieux/sshfs:latest']],
  ['docker run --no-healthcheck nginx', ['nginx']],
  ['docker run --no-healthcheck nginx nginx -g daemon', ['nginx']],
  ['docker run --some-new-flag nginx', ['nginx']],
  ['docker pull nginx --platform linux/arm64', ['nginx'], 'linux/arm64'],
  ['docker run \\\n  -p 80:80 \\\n  nginx:1.27', ['nginx:1.27']],
  ['docker pull busybox && docker pull alpine; docker pull nginx | cat', ['busybox', 'alpine', 'nginx']],
  [
    '# a file\nFROM --platform=$BUILDPLATFORM node:24 AS build\nRUN npm ci\nFROM build AS test\nFROM scratch\nFROM nginx',
    ['node:24', 'nginx'],
  ],
  [
    'services:\n  web:\n    image: nginx:1.27\n    ports: ["80:80"]\n  db:\n    image: "redis:7"',
    ['nginx:1.27', 'redis:7'],
  ],
];

/** Texts that name no image, and must not be mistaken for one. */
const NO_IMAGES = [
  'docker compose up -d',
  'docker compose pull web',
  'docker build -t app .',
  'docker login ghcr.io',
  'https://hub.docker.com/u/grafana',
  'https://hub.docker.com/search?q=nginx',
  'https://hub.docker.com/constructor/a/b',
  'https://github.com/org/repo',
];

suite('pasted texts', () => {
  for (const [text, images, platform] of pasted) {
    test(JSON.stringify(text), () => {
      const found = parsePaste(text);
      assert.deepEqual(found.images, images);
      assert.equal(found.platform, platform);
      assert.equal(found.problem, undefined);
    });

    test(`${JSON.stringify(text)}: names in full are as the server reads them`, () => {
      for (const image of images) {
        const { name, tag, digest } = parseReference(image);
        assert.equal(fullName(image), name + (digest === undefined ? `:${tag}` : `@${digest}`));
      }
    });
  }

  for (const text of [DIGEST, DIGEST.slice(7)]) {
    test(`${text.slice(0, 12)}… alone has no repository`, () => {
      assert.deepEqual(parsePaste(text), { images: [], problem: 'digest' });
    });
  }

  for (const text of NO_IMAGES) {
    test(`${text} names no image`, () => {
      assert.deepEqual(parsePaste(text), { images: [], problem: 'unreadable' });
    });
  }

  for (const text of ['???', 'https://[', '<script>', 'nginx:', '/']) {
    test(`${text} is either a name or told to be none`, () => {
      const { images, problem } = parsePaste(text);
      if (problem === undefined) for (const image of images) parseReference(image);
      else assert.equal(problem, 'unreadable');
    });
  }

  test('an empty text has no images', () => assert.deepEqual(parsePaste(' \n '), { images: [] }));
});
