/** A request that the page of the API shows, and the answer to it. */
export interface Example {
  /** A line for a shell, in which `{origin}` stands for the address of the service. */
  readonly line: string;
  /** JSON, or a text: the headers of a file, or the events of a stream. */
  readonly answer: unknown;
}

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;
const ETAG = `"3-${'0123456789abcdef'.repeat(4)}"`;
const MANIFEST = `sha256:${'fedcba9876543210'.repeat(4)}`;
const DELTA = 'busybox_1.37_delta-from-1.36.tar';

/** Writes the headers of a file, as `curl -D -` shows them. */
function headers(type: string, name: string, length: number, etag: string): string {
  return `content-type: ${type}
content-disposition: attachment; filename="${name}"
accept-ranges: bytes
etag: ${etag}
docker-content-digest: ${MANIFEST}
content-length: ${length}`;
}

/** A command that prints the first digest of an image, which is that of its manifest, or the last, which is of a layer. */
function imageDetails(choose: string): string {
  return `curl -s '{origin}/api/v1/image?myimage=busybox' | grep -o 'sha256:[0-9a-f]*' | ${choose}`;
}

/** The example of each route, by its path in the OpenAPI document. */
export const EXAMPLES: Readonly<Record<string, Example>> = {
  '/dl': {
    line: "curl -fL -D - -o busybox.tar '{origin}/dl?myimage=busybox'",
    answer: headers('application/x-tar', 'busybox.tar', 2_150_400, ETAG),
  },
  '/dl/{image}.tar': {
    line: "curl -fL -D - -O '{origin}/dl/busybox:1.37.tar'",
    answer: headers('application/x-tar', 'busybox_1.37.tar', 2_150_400, ETAG),
  },
  '/dl/status': {
    line: "curl -N '{origin}/dl/status?myimage=busybox'",
    answer: `event: ready\ndata: {"filename":"busybox.tar","size":2150400,"digests":["${MANIFEST}"]}`,
  },
  '/file': {
    line: "curl -fL -D - -o passwd '{origin}/file?myimage=busybox&path=/etc/passwd'",
    answer: headers('application/octet-stream', 'passwd', 340, `"file1-${'0123456789abcdef'.repeat(4)}"`),
  },
  '/healthz': { line: "curl '{origin}/healthz'", answer: { status: 'ok' } },
  '/api/v1/image': {
    line: "curl '{origin}/api/v1/image?myimage=busybox'",
    answer: {
      reference: 'docker.io/library/busybox:latest',
      name: 'busybox',
      kind: 'image',
      format: 'docker',
      artifactType: null,
      files: null,
      digest: MANIFEST,
      indexDigest: DIGEST,
      pinned: `busybox:latest@${DIGEST}`,
      platform: 'linux/amd64',
      platforms: ['linux/amd64', 'linux/arm64'],
      filename: 'busybox.tar',
      size: 2_150_400,
      etag: ETAG,
      layers: [{ digest: DIGEST, size: 2_141_327 }],
      created: '2026-01-01T00:00:00.000Z',
      config: {
        entrypoint: null,
        command: ['sh'],
        workingDir: '/',
        user: null,
        exposedPorts: [],
        truncated: false,
      },
      zstd: false,
      signature: { state: 'not-checked', keys: [], isRequired: false, reason: null },
      staleSince: null,
      downloadUrl: '/dl?myimage=busybox',
    },
  },
  '/api/v1/tags': {
    line: "curl '{origin}/api/v1/tags?repository=busybox&filter=1.3'",
    answer: {
      repository: 'docker.io/library/busybox',
      tags: ['1.37', '1.36'],
      details: [
        {
          tag: '1.37',
          size: 2_141_327,
          pushed: '2026-01-01T00:00:00.000Z',
          platforms: ['linux/amd64', 'linux/arm64'],
        },
      ],
      next: null,
      total: 2,
      complete: true,
    },
  },
  '/api/v1/search': {
    line: "curl '{origin}/api/v1/search?q=nginx'",
    answer: {
      available: true,
      results: [
        {
          repository: 'docker.io/library/nginx',
          name: 'nginx',
          description: 'Official build of Nginx.',
          stars: 20_000,
          official: true,
        },
      ],
    },
  },
  '/api/v1/files': {
    line: "curl '{origin}/api/v1/files?myimage=busybox&path=/bin'",
    answer: {
      digest: MANIFEST,
      isRead: true,
      path: '/bin',
      files: [
        {
          path: '/bin/busybox',
          encodedPath: '/bin/busybox',
          type: 'file',
          size: 1_982_256,
          mode: 493,
          uid: 0,
          gid: 0,
          mtime: '2026-01-01T00:00:00.000Z',
          link: null,
          layer: 0,
        },
      ],
      next: null,
    },
  },
  '/api/v1/layers': {
    line: "curl '{origin}/api/v1/layers?myimage=busybox'",
    answer: {
      digest: MANIFEST,
      layers: [
        {
          digest: DIGEST,
          diffId: MANIFEST,
          command: 'BusyBox 1.37.0',
          size: 2_141_327,
          unpackedSize: 4_510_720,
          entries: 413,
          added: 413,
          changed: 0,
          removed: 0,
          visible: 413,
          hiddenBytes: 0,
        },
      ],
    },
  },
  '/api/v1/referrers': {
    line: "curl '{origin}/api/v1/referrers?myimage=busybox'",
    answer: {
      reference: 'docker.io/library/busybox:latest',
      referrers: [
        {
          kinds: ['provenance'],
          artifactType: null,
          digest: DIGEST,
          size: 465,
          subject: MANIFEST,
          annotations: {
            'vnd.docker.reference.type': 'attestation-manifest',
            'vnd.docker.reference.digest': MANIFEST,
          },
          downloadUrl: `/dl?myimage=busybox@${DIGEST}`,
        },
      ],
      complete: true,
    },
  },
  '/api/v1/delta': {
    line: "curl '{origin}/api/v1/delta?myimage=busybox:1.37&have=busybox:1.36'",
    answer: {
      filename: DELTA,
      size: 8704,
      fullSize: 2_150_400,
      saved: 2_141_696,
      etag: ETAG,
      omitted: [{ digest: DIGEST, size: 2_141_327 }],
      unknown: 0,
      untagged: [
        {
          image: 'busybox:1.37',
          loadedAs: `busybox@${MANIFEST}`,
          docker: `docker load --platform linux/amd64 --input ${DELTA} && …`,
          dockerBefore28: `docker load --input ${DELTA} && …`,
          podman: `podman load --input ${DELTA} && …`,
          ctr: `ctr images import ${DELTA} && …`,
        },
      ],
      downloadUrl: '/dl?myimage=busybox:1.37&have=busybox:1.36',
    },
  },
  '/api/v1/info': {
    line: "curl '{origin}/api/v1/info'",
    answer: {
      version: '1.0.0',
      operator: { name: 'Example Labs', contact: 'mailto:images@example.org' },
      source: 'registry',
      defaultPlatform: 'linux/amd64',
      allowed: ['docker.io/**', 'ghcr.io/**'],
      denied: [],
      policy: [],
      maxImageSize: null,
      maxImages: 10,
      clientCredentials: false,
      registryApi: true,
      search: true,
    },
  },
  '/api/v1/limits': {
    line: "curl '{origin}/api/v1/limits'",
    answer: {
      client: '192.0.2.1',
      requests: { limit: 60, remaining: 59, resetsInSeconds: 60, windowSeconds: 60 },
      pages: null,
      downloads: null,
      connections: null,
      bytes: null,
      bandwidth: null,
      service: null,
    },
  },
  '/v2/': { line: "curl '{origin}/v2/'", answer: {} },
  '/v2/{name}/manifests/{reference}': {
    line: "curl -fL -D - -o manifest.json '{origin}/v2/library/busybox/manifests/latest'",
    answer: `content-type: application/vnd.oci.image.index.v1+json\ndocker-content-digest: ${DIGEST}\ncontent-length: 6145`,
  },
  '/v2/{name}/blobs/{digest}': {
    line: `curl -fL -D - -O '{origin}/v2/library/busybox/blobs/'$(${imageDetails('tail -n 1')})`,
    answer: `content-type: application/octet-stream\ndocker-content-digest: ${DIGEST}\ncontent-length: 2141327`,
  },
  '/v2/{name}/tags/list': {
    line: "curl '{origin}/v2/library/busybox/tags/list?n=2'",
    answer: { name: 'library/busybox', tags: ['1.36', '1.37'] },
  },
  '/v2/{name}/referrers/{digest}': {
    line: `curl '{origin}/v2/library/busybox/referrers/'$(${imageDetails('head -n 1')})`,
    answer: { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] },
  },
};
