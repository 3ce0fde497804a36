// biome-ignore-all lint/suspicious/noTemplateCurlyInString: These are variables of shells and of compose files.
/** Texts that people paste, with the images that each one means. */
export interface Paste {
  readonly text: string;
  readonly images: readonly string[];
  readonly platform?: string | undefined;
}

/** The host of the service in the pasted texts. */
export const HOST = 'dl.example.org';
export const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;

type Row = readonly [text: string, images: string | readonly string[], platform?: string];

const NAMES: Row[] = [
  ['busybox', 'busybox'],
  ['  nginx:1.27\n', 'nginx:1.27'],
  ['Nginx:RC1', 'nginx:RC1'],
  ['NGINX:1.27-ALPINE', 'nginx:1.27-ALPINE'],
  ['busybox alpine:3.20', ['busybox', 'alpine:3.20']],
  ['busybox, alpine and redis', []],
  ['busybox,alpine;redis:7', ['busybox', 'alpine', 'redis:7']],
  ['- nginx:1.27\n- redis:7', ['nginx:1.27', 'redis:7']],
  ['1. nginx:1.27\r\n2. redis:7\r\n', ['nginx:1.27', 'redis:7']],
  ['registry.lan:5000/a/b:1', 'registry.lan:5000/a/b:1'],
  ['[::1]:5000/app:1', '[::1]:5000/app:1'],
  ['GHCR.io/Org/App:V1', 'ghcr.io/org/app:V1'],
  [`busybox@${DIGEST}`, `busybox@${DIGEST}`],
  [`busybox:1.36@${DIGEST.toUpperCase().replace('SHA', 'sha')}`, `busybox:1.36@${DIGEST}`],
  [`busybox:1.36 ${DIGEST}`, `busybox:1.36@${DIGEST}`],
  [`busybox ${DIGEST.slice(7)}`, `busybox@${DIGEST}`],
  ['docker.io/nginx', 'docker.io/nginx'],
  ['index.docker.io/nginx:1.27', 'index.docker.io/nginx:1.27'],
  ['registry-1.docker.io/org/app', 'registry-1.docker.io/org/app'],
  ['registry.hub.docker.com/library/nginx', 'registry.hub.docker.com/library/nginx'],
  ['“nginx:1.27”', 'nginx:1.27'],
  ['‘ghcr.io/org/app:1.2’.', 'ghcr.io/org/app:1.2'],
  ['`nginx:1.27`', 'nginx:1.27'],
  ['(nginx:1.27)', 'nginx:1.27'],
  ['<nginx:1.27>', 'nginx:1.27'],
  ['nginx:1.27,', 'nginx:1.27'],
  ['**nginx:1.27**', 'nginx:1.27'],
  ['nginx 1.27', 'nginx:1.27'],
  ['postgres version 16', 'postgres:16'],
  ['nginx nginx:latest docker.io/library/nginx', 'nginx'],
  ['Please use nginx:1.27 for the web server.', 'nginx:1.27'],
  ['Скачайте ghcr.io/org/app:1.2, пожалуйста', 'ghcr.io/org/app:1.2'],
  [`${HOST}/docker.io/library/busybox:1.36`, 'docker.io/library/busybox:1.36'],
];

const COMMANDS: Row[] = [
  ['docker pull nginx:1.27', 'nginx:1.27'],
  ['$ sudo docker pull ghcr.io/org/app:1.2', 'ghcr.io/org/app:1.2'],
  ['# docker pull nginx', 'nginx'],
  ['root@host:/# docker pull nginx:1.27', 'nginx:1.27'],
  ['PS C:\\Users\\me> docker.exe pull nginx:1.27', 'nginx:1.27'],
  ['C:\\>docker pull nginx:1.27', 'nginx:1.27'],
  ['DOCKER PULL NGINX:LATEST', 'nginx:latest'],
  ['docker image pull --quiet nginx', 'nginx'],
  ['docker pull -q --disable-content-trust nginx', 'nginx'],
  ['docker pull --platform linux/arm64 nginx', 'nginx', 'linux/arm64'],
  ['docker pull --platform=linux/arm/v7 nginx', 'nginx', 'linux/arm/v7'],
  ['docker pull nginx --platform linux/arm64', 'nginx', 'linux/arm64'],
  ['docker pull nginx:1.27 # the web server', 'nginx:1.27'],
  ['docker pull nginx.', 'nginx'],
  ['docker --context prod pull nginx', 'nginx'],
  ['docker -H ssh://me@host pull nginx', 'nginx'],
  ['docker run -it --rm --name web -p 80:80 -e A=b nginx:1.27 nginx -g daemon', 'nginx:1.27'],
  ['docker run -d -v x:y --network host nginx:1.27 cmd', 'nginx:1.27'],
  ['docker run -dp 80:80 -e"A=b; c" nginx', 'nginx'],
  ['docker run --rm -e \'GREETING=hello world\' -u 1000:1000 busybox echo "it works"', 'busybox'],
  ['docker run --entrypoint sh --gpus all -h box --memory 1g nginx:1.27 -c ls', 'nginx:1.27'],
  ['docker run –rm –it –p 80:80 nginx', 'nginx'],
  ['docker run --no-healthcheck nginx nginx -g daemon', 'nginx'],
  ['docker run --some-new-flag nginx', 'nginx'],
  ['docker run [OPTIONS] nginx:1.27', 'nginx:1.27'],
  ['docker run \\\n  -p 80:80 \\\n  nginx:1.27', 'nginx:1.27'],
  ['docker run ^\r\n  -p 80:80 ^\r\n  nginx:1.27', 'nginx:1.27'],
  ['docker run `\n  -p 80:80 `\n  nginx:1.27', 'nginx:1.27'],
  ['docker create --name web nginx:1.27', 'nginx:1.27'],
  ['docker container run -d nginx:1.27', 'nginx:1.27'],
  ['docker pull busybox && docker pull alpine; docker pull nginx | cat', ['busybox', 'alpine', 'nginx']],
  ['docker pull busybox\ndocker pull alpine\ndocker pull busybox', ['busybox', 'alpine']],
  ['docker save -o all.tar nginx:1.27 redis:7', ['nginx:1.27', 'redis:7']],
  ['docker save nginx:1.27 | gzip > nginx.tar.gz', 'nginx:1.27'],
  ['docker push ghcr.io/org/app:1', 'ghcr.io/org/app:1'],
  ['docker tag busybox:1.36 registry.lan/busybox', 'busybox:1.36'],
  ['docker buildx imagetools inspect nginx:1.27', 'nginx:1.27'],
  ['docker manifest inspect nginx:1.27', 'nginx:1.27'],
  ["docker inspect --format '{{.Id}}' nginx:1.27", 'nginx:1.27'],
  ['docker service create --name web --replicas 3 nginx:1.27', 'nginx:1.27'],
  ['docker model pull ai/smollm2', 'ai/smollm2'],
  ['docker model run ai/smollm2:360M-Q4_K_M hello', 'ai/smollm2:360M-Q4_K_M'],
  ['docker plugin install vieux/sshfs:latest', 'vieux/sshfs:latest'],
  ['docker buildx build --build-context base=docker-image://alpine:3.20 .', 'alpine:3.20'],
  ['podman run --rm docker.io/library/busybox echo hi', 'docker.io/library/busybox'],
  ['podman pull --arch arm64 docker://quay.io/org/app:2', 'quay.io/org/app:2', 'linux/arm64'],
  ['podman pull busybox alpine', ['busybox', 'alpine']],
  ['nerdctl -n k8s.io pull nginx:1.27', 'nginx:1.27'],
  ['buildah from --name work docker.io/library/alpine:3.20', 'docker.io/library/alpine:3.20'],
  ['ctr -n k8s.io images pull registry.k8s.io/pause:3.9', 'registry.k8s.io/pause:3.9'],
  [
    'ctr image export --platform linux/arm64 out.tar docker.io/library/nginx:1.27',
    'docker.io/library/nginx:1.27',
    'linux/arm64',
  ],
  ['ctr run --rm -t --net-host docker.io/library/busybox:1.36 shell sh', 'docker.io/library/busybox:1.36'],
  ['sudo k3s ctr images pull docker.io/library/nginx:1.27', 'docker.io/library/nginx:1.27'],
  ['k3s crictl pull nginx:1.27', 'nginx:1.27'],
  ['crictl pull --creds a:b registry.lan/app:1', 'registry.lan/app:1'],
  ['kind load docker-image nginx:1.27 redis:7 --name dev', ['nginx:1.27', 'redis:7']],
  ['minikube image load nginx:1.27', 'nginx:1.27'],
  ['kubectl run web --image=nginx:1.27 --port=80 -- sh', 'nginx:1.27'],
  ['kubectl create deployment web --image nginx:1.27', 'nginx:1.27'],
  ['kubectl set image deployment/web web=nginx:1.27 log=busybox:1.36', ['nginx:1.27', 'busybox:1.36']],
  ['kubectl debug -it web-0 --image=busybox:1.36 --target=web', 'busybox:1.36'],
  ['helm pull oci://ghcr.io/org/charts/app --version 1.2.3', 'ghcr.io/org/charts/app:1.2.3'],
  ['helm pull --version=1.2.3+b.1 oci://ghcr.io/org/charts/app', 'ghcr.io/org/charts/app:1.2.3_b.1'],
  [
    'helm install web oci://registry-1.docker.io/bitnamicharts/nginx',
    'registry-1.docker.io/bitnamicharts/nginx',
  ],
  [
    'helm upgrade --install web oci://ghcr.io/org/charts/app --version "1.2.3" -n prod',
    'ghcr.io/org/charts/app:1.2.3',
  ],
  ['helm show chart oci://ghcr.io/org/charts/app:1.2.3', 'ghcr.io/org/charts/app:1.2.3'],
  ['oras pull -o out ghcr.io/org/files:v1', 'ghcr.io/org/files:v1'],
  ['oras copy ghcr.io/org/files:v1 registry.lan/files:v1', 'ghcr.io/org/files:v1'],
  ['crane digest ghcr.io/org/app', 'ghcr.io/org/app'],
  ['crane pull --platform linux/arm64 nginx:1.27 nginx.tar', 'nginx:1.27', 'linux/arm64'],
  ['crane copy nginx:1.27 registry.lan/nginx:1.27', 'nginx:1.27'],
  ['skopeo copy docker://quay.io/org/app:2 oci:dir', 'quay.io/org/app:2'],
  [
    'skopeo copy --override-arch arm64 docker://nginx:1.27 docker://registry.lan/nginx:1.27',
    'nginx:1.27',
    'linux/arm64',
  ],
  ['skopeo inspect --raw docker://docker.io/nginx', 'docker.io/nginx'],
  ['regctl image copy nginx:1.27 ocidir://nginx', 'nginx:1.27'],
  ['apptainer pull python.sif docker://python:3.12-slim', 'python:3.12-slim'],
  [
    'apptainer exec --nv -B /data docker://nvcr.io/nvidia/pytorch:24.10-py3 python',
    'nvcr.io/nvidia/pytorch:24.10-py3',
  ],
  ['singularity build app.sif docker://ghcr.io/org/app:1', 'ghcr.io/org/app:1'],
  ['udocker run -v /tmp:/tmp alpine:3.20 ls', 'alpine:3.20'],
  ['udocker pull --platform=linux/arm64 alpine:3.20', 'alpine:3.20', 'linux/arm64'],
  ['enroot import docker://nvcr.io#nvidia/pytorch:24.10-py3', 'nvcr.io/nvidia/pytorch:24.10-py3'],
  ['srun --container-image=nvcr.io#nvidia/pytorch:24.10-py3 python', 'nvcr.io/nvidia/pytorch:24.10-py3'],
  ['trivy image --severity HIGH nginx:1.27', 'nginx:1.27'],
  ['dockerproxy save nginx:1.27 -o nginx.tar', 'nginx:1.27'],
  [`docker pull ${HOST}/docker.io/library/busybox:1.36`, 'docker.io/library/busybox:1.36'],
  ['TAG=1.27\ndocker pull nginx:$TAG', 'nginx:1.27'],
  ['docker pull nginx:${TAG:-1.27}', 'nginx:1.27'],
  ['IMAGE=redis:7\ndocker run -d $IMAGE\ndocker pull nginx', ['redis:7', 'nginx']],
  ['sh -c "docker pull nginx:1.27"', 'nginx:1.27'],
  ['First, run `docker pull nginx:1.27`, then start it.', 'nginx:1.27'],
  ['Run docker pull nginx:1.27 to download the image', 'nginx:1.27'],
  ['```sh\n$ docker pull nginx:1.27\n```', 'nginx:1.27'],
  ['<pre><code>docker pull nginx:1.27</code></pre>', 'nginx:1.27'],
  [
    'ExecStart=/usr/bin/podman run --rm --name web docker.io/library/nginx:1.27',
    'docker.io/library/nginx:1.27',
  ],
];

const ADDRESSES: Row[] = [
  ['https://hub.docker.com/_/nginx', 'nginx'],
  ['https://hub.docker.com/_/nginx/tags?name=alpine', 'nginx'],
  ['hub.docker.com/r/grafana/grafana/', 'grafana/grafana'],
  ['https://hub.docker.com/r/grafana/grafana/tags', 'grafana/grafana'],
  ['https://registry.hub.docker.com/r/grafana/grafana', 'grafana/grafana'],
  ['https://hub.docker.com/repository/docker/me/app/general', 'me/app'],
  ['https://hub.docker.com/layers/library/nginx/1.27/images/sha256-0?context=explore', 'library/nginx:1.27'],
  ['https://hub.docker.com/layers/grafana/grafana/grafana/11.2.0/images/sha256-0', 'grafana/grafana:11.2.0'],
  ['https://hub.docker.com/v2/repositories/library/nginx/tags/1.27', 'library/nginx:1.27'],
  ['See https://hub.docker.com/_/nginx for details.', 'nginx'],
  ['[nginx](https://hub.docker.com/_/nginx)', 'nginx'],
  ['https://catalog.ngc.nvidia.com/orgs/nvidia/containers/pytorch', 'nvcr.io/nvidia/pytorch'],
  [
    'https://catalog.ngc.nvidia.com/orgs/nvidia/teams/k8s/containers/dcgm-exporter/tags',
    'nvcr.io/nvidia/k8s/dcgm-exporter',
  ],
  [
    'https://catalog.ngc.nvidia.com/orgs/nvidia/containers/tensorrt?version=24.10-py3',
    'nvcr.io/nvidia/tensorrt:24.10-py3',
  ],
  ['https://ngc.nvidia.com/catalog/containers/nvidia:k8s:dcgm-exporter', 'nvcr.io/nvidia/k8s/dcgm-exporter'],
  ['https://gallery.ecr.aws/nginx/nginx', 'public.ecr.aws/nginx/nginx'],
  ['https://gallery.ecr.aws/docker/library/nginx', 'public.ecr.aws/docker/library/nginx'],
  [
    'https://us-east-1.console.aws.amazon.com/ecr/repositories/private/123456789012/team/app?region=us-east-1',
    '123456789012.dkr.ecr.us-east-1.amazonaws.com/team/app',
  ],
  ['https://mcr.microsoft.com/en-us/artifact/mar/dotnet/runtime/about', 'mcr.microsoft.com/dotnet/runtime'],
  ['https://mcr.microsoft.com/artifact/mar/dotnet/runtime/tag/8.0', 'mcr.microsoft.com/dotnet/runtime:8.0'],
  ['https://mcr.microsoft.com/en-us/product/azure-cli/tags', 'mcr.microsoft.com/azure-cli'],
  ['https://gitlab.com/group/sub/project/container_registry', 'registry.gitlab.com/group/sub/project'],
  ['https://gitlab.com/group/project/container_registry/123456', 'registry.gitlab.com/group/project'],
  ['https://quay.io/repository/org/app?tab=tags&tag=v1', 'quay.io/org/app:v1'],
  [`https://quay.io/repository/org/app/manifest/${DIGEST}`, `quay.io/org/app@${DIGEST}`],
  ['https://quay.io/org/app:v1', 'quay.io/org/app:v1'],
  ['https://github.com/Org/Repo/pkgs/container/app', 'ghcr.io/org/app'],
  ['https://github.com/org/repo/pkgs/container/repo%2Fapp/123456?tag=1.2', 'ghcr.io/org/repo/app:1.2'],
  ['https://github.com/orgs/org/packages/container/package/app', 'ghcr.io/org/app'],
  ['https://github.com/orgs/org/packages/container/app/versions', 'ghcr.io/org/app'],
  ['https://ghcr.io/org/app:1.2', 'ghcr.io/org/app:1.2'],
  [
    'https://console.cloud.google.com/artifacts/docker/my-project/us-central1/my-repo/my-image?project=my-project',
    'us-central1-docker.pkg.dev/my-project/my-repo/my-image',
  ],
  [
    `https://console.cloud.google.com/artifacts/docker/p/europe/r/i/${DIGEST};tab=manifest`,
    `europe-docker.pkg.dev/p/r/i@${DIGEST}`,
  ],
  [
    'https://console.cloud.google.com/gcr/images/google-containers/GLOBAL/pause',
    'gcr.io/google-containers/pause',
  ],
  ['https://us-docker.pkg.dev/p/r/i:1', 'us-docker.pkg.dev/p/r/i:1'],
  ['https://codeberg.org/forgejo/-/packages/container/forgejo/7.0', 'codeberg.org/forgejo/forgejo:7.0'],
  ['https://registry-1.docker.io/v2/library/nginx/manifests/1.27', 'registry-1.docker.io/library/nginx:1.27'],
  [`https://ghcr.io/v2/org/app/manifests/${DIGEST}`, `ghcr.io/org/app@${DIGEST}`],
  [`https://${HOST}/dl?myimage=busybox:1.36&platform=linux/arm64`, 'busybox:1.36', 'linux/arm64'],
  [`wget --content-disposition 'https://${HOST}/dl?myimage=busybox&myimage=alpine'`, ['busybox', 'alpine']],
  [`https://${HOST}/dl/ghcr.io/org/app:1.2.tar.sha256`, 'ghcr.io/org/app:1.2'],
  [`https://${HOST}/v2/docker.io/library/busybox/manifests/1.36`, 'docker.io/library/busybox:1.36'],
  [`https://${HOST}/python:3.12-slim`, 'python:3.12-slim'],
  [`https://${HOST}/?image=nginx:1.27&lang=fa`, 'nginx:1.27'],
  [`curl -fL 'https://${HOST}/file?myimage=busybox&path=/etc/passwd'`, 'busybox'],
];

const FILES: Row[] = [
  ['FROM nginx:1.27', 'nginx:1.27'],
  ['FROM --platform=linux/amd64 node:24-slim AS build', 'node:24-slim', 'linux/amd64'],
  [
    '# a file\nFROM --platform=$BUILDPLATFORM node:24 AS build\nRUN npm ci\nFROM build AS test\nFROM scratch\nFROM nginx',
    ['node:24', 'nginx'],
  ],
  ['ARG TAG=1.27\nFROM nginx:${TAG}', 'nginx:1.27'],
  [
    'ARG BASE=python:3.12\nARG SUFFIX\nFROM ${BASE}${SUFFIX:--slim} as base\nCOPY --from=ghcr.io/astral-sh/uv:0.5 /uv /bin/',
    ['python:3.12-slim', 'ghcr.io/astral-sh/uv:0.5'],
  ],
  [
    'FROM golang:1.23 AS build\r\nCOPY . .\r\nFROM alpine:3.20\r\nCOPY --from=build /a /a\r\nCOPY --from=0 /b /b',
    ['golang:1.23', 'alpine:3.20'],
  ],
  [
    'FROM alpine:3.20\nRUN --mount=type=bind,from=golang:1.23,target=/go go build',
    ['alpine:3.20', 'golang:1.23'],
  ],
  ['    image: "redis:7"', 'redis:7'],
  ['image: nginx:1.27 # the web server', 'nginx:1.27'],
  [
    'services:\n  web:\n    image: nginx:1.27\n    platform: linux/arm64\n    ports: ["80:80"]\n  db:\n    image: "redis:${REDIS:-7}"\n  own:\n    build: .',
    ['nginx:1.27', 'redis:7'],
    'linux/arm64',
  ],
  [
    'x-image: &image nginx:1.27\nservices:\n  a:\n    image: *image\n  b:\n    image: redis:7',
    ['nginx:1.27', 'redis:7'],
  ],
  ['image:\n  repository: bitnami/nginx\n  tag: 1.27.0-debian', 'bitnami/nginx:1.27.0-debian'],
  [
    'image:\n  registry: docker.io\n  repository: bitnami/nginx\n  tag: "1.27"\n  pullPolicy: Always',
    'docker.io/bitnami/nginx:1.27',
  ],
  [
    `image:\n  registry: quay.io\n  repository: org/app\n  tag: v1\n  digest: ${DIGEST}`,
    `quay.io/org/app:v1@${DIGEST}`,
  ],
  ['image: { repository: ghcr.io/org/app, tag: "1.2" }', 'ghcr.io/org/app:1.2'],
  ['image: nginx\ntag: 1.27', 'nginx:1.27'],
  [
    'apiVersion: v1\nkind: Pod\nspec:\n  initContainers:\n  - name: init\n    image: busybox:1.36\n  containers:\n  - image: nginx:1.27\n    name: web\nstatus:\n  containerStatuses:\n  - image: docker.io/library/nginx:1.27\n    imageID: docker.io/library/nginx@sha256:0',
    ['busybox:1.36', 'nginx:1.27'],
  ],
  [
    '{"apiVersion":"v1","kind":"List","items":[{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"nginx:1.27"}]}}}},{"spec":{"containers":[{"image":"redis:7"}]}}]}',
    ['nginx:1.27', 'redis:7'],
  ],
  ['        "image": "nginx:1.27",\n        "name": "web",', 'nginx:1.27'],
  [
    '---\nkind: Pod\nspec:\n  containers:\n    - image: nginx:1.27\n---\nkind: Pod\nspec:\n  containers:\n    - image: redis:7',
    ['nginx:1.27', 'redis:7'],
  ],
  [
    'images:\n  - name: nginx\n    newName: registry.lan/nginx\n    newTag: "1.27"',
    'registry.lan/nginx:1.27',
  ],
  [
    'jobs:\n  test:\n    runs-on: ubuntu-latest\n    container: node:20-slim\n    services:\n      db:\n        image: postgres:16\n    steps:\n      - uses: actions/checkout@v4\n      - uses: docker://alpine:3.20',
    ['node:20-slim', 'postgres:16', 'alpine:3.20'],
  ],
  ['jobs:\n  a:\n    container:\n      image: ghcr.io/org/ci:1\n      options: --cpus 1', 'ghcr.io/org/ci:1'],
  [
    'test:\n  image:\n    name: python:3.12\n    entrypoint: [""]\n  services:\n    - docker:27-dind\n    - name: redis:7\n      alias: cache',
    ['python:3.12', 'docker:27-dind', 'redis:7'],
  ],
  ['[Container]\nImage=docker.io/library/nginx:1.27\nPublishPort=80:80', 'docker.io/library/nginx:1.27'],
  ['config {\n  image = "redis:7"\n  ports = ["db"]\n}', 'redis:7'],
  [
    '[{"Id":"sha256:0","RepoTags":["nginx:1.27"],"RepoDigests":["nginx@sha256:0"],"Config":{"Image":""}}]',
    'nginx:1.27',
  ],
  [
    '{"name":"dev","image":"mcr.microsoft.com/devcontainers/base:ubuntu"}',
    'mcr.microsoft.com/devcontainers/base:ubuntu',
  ],
  [
    'dependencies:\n  - name: app\n    version: 1.2.3\n    repository: oci://ghcr.io/org/charts',
    'ghcr.io/org/charts/app:1.2.3',
  ],
];

const TABLES: Row[] = [
  [
    'REPOSITORY   TAG       IMAGE ID       CREATED       SIZE\nnginx        1.27      a8758716bb6a   2 weeks ago   192MB\nredis        <none>    b8758716bb6a   2 weeks ago   117MB\n<none>       <none>    c8758716bb6a   2 weeks ago   1MB\nghcr.io/a/b  v1        d8758716bb6a   2 weeks ago   1MB',
    ['nginx:1.27', 'ghcr.io/a/b:v1'],
  ],
  ['nginx        1.27      a8758716bb6a   2 weeks ago   192MB', 'nginx:1.27'],
  [
    'CONTAINER ID   IMAGE        COMMAND                  CREATED      STATUS      PORTS     NAMES\n1f2e3d4c5b6a   nginx:1.27   "/docker-entrypoint.…"   2 days ago   Up 2 days   80/tcp    web\n2f2e3d4c5b6a   a8758716bb6a "sh"  2 days ago   Up 2 days             x',
    'nginx:1.27',
  ],
  [
    'IMAGE                       TAG      IMAGE ID        SIZE\nregistry.k8s.io/pause       3.9      e6f1816883972   322kB\ndocker.io/library/busybox   latest   3f57d9401f8d4   2MB',
    ['registry.k8s.io/pause:3.9', 'docker.io/library/busybox:latest'],
  ],
  [
    'NAME   READY   UP-TO-DATE   AVAILABLE   AGE   CONTAINERS   IMAGES               SELECTOR\nweb    1/1     1            1           2d    web,log      nginx:1.27,busybox   app=web',
    ['nginx:1.27', 'busybox'],
  ],
  [
    'IMAGE        ID             DISK USAGE   CONTENT SIZE   EXTRA\nnginx:1.27   a8758716bb6a   192MB        69MB           U',
    'nginx:1.27',
  ],
];

const MESSAGES: Row[] = [
  ["Unable to find image 'nginx:1.27' locally", 'nginx:1.27'],
  [
    'Failed to pull image "ghcr.io/org/app:1": rpc error: code = NotFound desc = failed to resolve https://ghcr.io/v2/x',
    'ghcr.io/org/app:1',
  ],
  [
    `1.27: Pulling from library/nginx\nDigest: ${DIGEST}\nStatus: Downloaded newer image for nginx:1.27\ndocker.io/library/nginx:1.27`,
    'nginx:1.27',
  ],
];

/** Pastes that have one meaning. */
export const PASTES: readonly Paste[] = [NAMES, COMMANDS, ADDRESSES, FILES, TABLES, MESSAGES]
  .flat()
  .filter(([, images]) => images.length > 0)
  .map(([text, images, platform]) => ({ text, images: [images].flat(), platform }));

/** Pastes that may mean several images, or one with an unknown tag. A colon at the end stands for the tag. */
export const QUESTIONS: readonly (readonly [text: string, candidates: readonly string[]])[] = [
  ['I want to run nginx on my laptop', ['nginx']],
  ['busybox, alpine and redis', ['busybox', 'alpine', 'redis']],
  ['Use nginx:1.27 or nginx:1.26?', ['nginx:1.27', 'nginx:1.26']],
  ['image: nginx:${TAG}', ['nginx:']],
  ['docker pull nginx:<tag>', ['nginx:']],
  ['image: "nginx:{{ .Values.tag }}"', ['nginx:']],
  ['image:\n  repository: bitnami/nginx\n  tag: ""', ['bitnami/nginx:']],
  ['docker build -t ghcr.io/org/app:1 .', ['ghcr.io/org/app:1']],
  ['https://github.com/org/repo', ['ghcr.io/org/repo']],
  [
    'https://gitlab.example.org/group/app/container_registry/5',
    [
      'registry.gitlab.example.org/group/app',
      'registry.example.org/group/app',
      'gitlab.example.org:5050/group/app',
    ],
  ],
  [
    'https://catalog.redhat.com/software/containers/ubi9/ubi/615bcf606feffc5384e8452e',
    ['registry.access.redhat.com/ubi9/ubi', 'registry.redhat.io/ubi9/ubi'],
  ],
  ['helm pull oci://ghcr.io/org/app --version ^1.2', ['ghcr.io/org/app:']],
];

/** Texts that name no image, and must not be mistaken for one. */
export const NO_IMAGES = [
  'docker compose up -d',
  'docker compose pull web',
  'docker login ghcr.io',
  'docker exec -it web sh',
  'kubectl get pods',
  'https://hub.docker.com/u/grafana',
  'https://hub.docker.com/search?q=nginx',
  'https://hub.docker.com/constructor/a/b',
  'https://www.example.com/',
  'FROM scratch',
  'image: logo.png',
  '???',
  'https://[',
  '<script>',
  '/',
];
