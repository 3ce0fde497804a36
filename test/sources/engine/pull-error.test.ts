import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { parsePlatform } from '../../../src/oci/platform.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { UnknownTagError } from '../../../src/registry/status-error.ts';
import { pullError } from '../../../src/sources/engine/pull-error.ts';

const DIGEST = 'sha256:fcbdff2ea5596021e2da8367acf7a761eefdab41fb61d1ac6c52c8a77c47a5d0';
const OTHER = 'sha256:0ce1a2023c63f2e9b965462ad359a702e2569ed6ecebe5477d9a55d24a928114';

/**
 * Recorded messages, or messages from the engine's source, by the engine and the resulting code. Each one begins with the
 * reference to pull.
 */
const messages: Record<string, Record<string, readonly string[]>> = {
  'dockerd 20.10': {
    'image-not-found': [
      'busybox:none: manifest for busybox:none not found: manifest unknown: manifest unknown',
      "nothing: pull access denied for nothing, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
      'r.lan/a: error parsing HTTP 403 response body: unexpected end of JSON input: ""',
    ],
    'registry-refused': ['r.lan/a: error parsing HTTP 400 response body: unexpected end of JSON input: ""'],
    'registry-failed': [
      'r.lan/a: received unexpected HTTP status: 500 Internal Server Error',
      'r.lan/a: error pulling image configuration: download failed after attempts=6: unexpected EOF',
      'r.lan/a: EOF',
      'r.lan/a: missing or empty Content-Length header',
      "r.lan/a: error unmarshalling content: invalid character '<' looking for beginning of value",
      'r.lan/a: Get "https://r.lan/v2/": dial tcp 10.0.0.1:443: connect: connection refused',
      'r.lan/a: Get "https://r.lan/v2/": x509: certificate signed by unknown authority',
    ],
    'registry-unavailable': ['r.lan/a: received unexpected HTTP status: 503 Service Unavailable'],
    'registry-timeout': [
      'r.lan/a: received unexpected HTTP status: 504 Gateway Timeout',
      'r.lan/a: Get "http://r.lan/v2/": net/http: request canceled (Client.Timeout exceeded while awaiting headers)',
    ],
    'registry-rate-limited': [
      'r.lan/a: error parsing HTTP 429 response body: unexpected end of JSON input: ""',
      'busybox: toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit',
    ],
    'registry-credentials-refused': [
      'r.lan/a: Get "https://r.lan/v2/": unauthorized: incorrect username or password',
      'r.lan/a: Head "https://r.lan/v2/a/manifests/latest": no basic auth credentials',
    ],
    'platform-not-found': [
      'r.lan/a: no matching manifest for linux/s390x in the manifest list entries',
      `r.lan/a: image with reference r.lan/a was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64`,
    ],
    'layer-unavailable': [
      'r.lan/a: error pulling image configuration: download failed after attempts=1: unknown blob',
      'r.lan/a: unknown blob',
    ],
    'content-mismatch': [
      `r.lan/a: error pulling image configuration: image config verification failed for digest ${DIGEST}`,
      `r.lan/a: filesystem layer verification failed for digest ${DIGEST}`,
      `r.lan/a@${DIGEST}: manifest verification failed for digest ${DIGEST}`,
    ],
    'not-an-image': ['r.lan/a: unsupported media type application/vnd.cncf.helm.config.v1+json'],
    'manifest-outdated': ['r.lan/a: missing signature key'],
    'too-many-layers': ['r.lan/a: failed to register layer: max depth exceeded'],
    'engine-failed': [
      'r.lan/a: failed to register layer: Error processing tar file(exit status 1): write /x: no space left on device',
      'r.lan/a: something new',
    ],
  },
  'podman 4.3': {
    'image-not-found': [
      'r.lan/a:none: initializing source docker://r.lan/a:none: reading manifest none in r.lan/a: manifest unknown: manifest unknown',
    ],
    'registry-credentials-refused': [
      'r.lan/a: initializing source docker://r.lan/a:latest: reading manifest latest in r.lan/a: unauthorized: authentication required',
    ],
    'registry-unavailable': [
      'r.lan/a: initializing source docker://r.lan/a:latest: reading manifest latest in r.lan/a: received unexpected HTTP status: 503 Service Unavailable',
    ],
    'layer-unavailable': [
      'r.lan/a: parsing image configuration: Error fetching blob: invalid status code from registry 404 (Not Found)',
      `r.lan/a: reading blob ${DIGEST}: Error fetching blob: invalid status code from registry 404 (Not Found)`,
    ],
    'content-mismatch': [
      `r.lan/a: parsing image configuration: Download config.json digest ${OTHER} does not match expected ${DIGEST}`,
      `r.lan/a: writing blob: setting up to decompress blob: happened during read: Digest did not match, expected ${DIGEST}, got ${OTHER}`,
      `r.lan/a@${DIGEST}: determining manifest MIME type for docker://r.lan/a@${DIGEST}: Manifest does not match provided manifest digest ${DIGEST}`,
    ],
    'platform-not-found': [
      'r.lan/a: choosing an image from manifest list docker://r.lan/a:latest: no image found in manifest list for architecture s390x, variant "", OS linux',
    ],
    'not-an-image': [
      'r.lan/a: parsing image configuration: unsupported image-specific operation on artifact with type "application/vnd.cncf.helm.config.v1+json"',
    ],
    'manifest-outdated': [
      'r.lan/a: initializing image from source docker://r.lan/a:latest: no FSLayers in manifest',
    ],
    'registry-failed': [
      "r.lan/a: initializing image from source docker://r.lan/a:latest: invalid character '<' looking for beginning of value",
      `r.lan/a: parsing image configuration: Get "http://r.lan/v2/a/blobs/${DIGEST}": EOF`,
      'r.lan/a: initializing source docker://r.lan/a:latest: pinging container registry r.lan: Get "https://r.lan/v2/": dial tcp: lookup r.lan: no such host',
    ],
  },
  'the containerd store': {
    'image-not-found': [
      'alpine:x: failed to resolve reference "docker.io/library/alpine:x": docker.io/library/alpine:x: not found',
      'r.lan/a/b: failed to resolve reference "r.lan/a/b:latest": unexpected status from HEAD request to https://r.lan/v2/a/b/manifests/latest: 403 Forbidden',
    ],
    'registry-failed': [
      'alpine: failed to resolve reference "docker.io/library/alpine:latest": failed to do request: Head "https://registry-1.docker.io/v2/library/alpine/manifests/latest": dial tcp: lookup registry-1.docker.io: no such host',
      'r.lan/a/b: failed to resolve reference "r.lan/a/b:latest": unexpected status from HEAD request to https://r.lan/v2/a/b/manifests/latest: 500 Internal Server Error',
    ],
    'registry-credentials-refused': [
      'ghcr.io/a/b: failed to resolve reference "ghcr.io/a/b:latest": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token?scope=repository%3Aa%2Fb%3Apull&service=ghcr.io: 403 Forbidden',
    ],
    'registry-unavailable': [
      'ghcr.io/a/b: failed to resolve reference "ghcr.io/a/b:latest": failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://ghcr.io/token?service=ghcr.io: 503 Service Unavailable',
      'r.lan/a/b: failed to resolve reference "r.lan/a/b:latest": unexpected status from HEAD request to https://r.lan/v2/a/b/manifests/latest: 503 Service Unavailable',
    ],
    'registry-refused': [
      'r.lan/a/b: failed to resolve reference "r.lan/a/b:latest": unexpected status from HEAD request to https://r.lan/v2/a/b/manifests/latest: 400 Bad Request',
    ],
    'registry-rate-limited': [
      'r.lan/a/b: failed to resolve reference "r.lan/a/b:latest": unexpected status from HEAD request to https://r.lan/v2/a/b/manifests/latest: 429 Too Many Requests',
    ],
    'layer-unavailable': [
      `r.lan/a/b: failed to copy: httpReadSeeker: failed open: content at https://r.lan/v2/a/b/blobs/${DIGEST} not found: not found`,
    ],
    'content-mismatch': [
      `r.lan/a/b: failed commit on ref "layer-${DIGEST}": unexpected commit digest ${OTHER}, expected ${DIGEST}: failed precondition`,
    ],
    'manifest-outdated': [
      'r.lan/a/b: media type "application/vnd.docker.distribution.manifest.v1+prettyjws" is no longer supported since containerd v2.1, please rebuild the image as "application/vnd.docker.distribution.manifest.v2+json" or "application/vnd.oci.image.manifest.v1+json"',
    ],
    'platform-not-found': [
      'r.lan/a/b: no matching manifest for linux/s390x in the manifest list entries: no match for platform in manifest: not found',
    ],
    'engine-failed': [
      'r.lan/a/b: failed to extract layer: write /x: no space left on device',
      'r.lan/a/b: no unpack platforms defined: invalid argument',
    ],
  },
  'names that look like words': {
    'image-not-found': [
      'r.lan/schema1/app: manifest for r.lan/schema1/app:latest not found: manifest unknown',
      'schema1/app:none: manifest for schema1/app:none not found: manifest unknown: manifest unknown',
      'unauthorized: manifest for unauthorized:latest not found: manifest unknown',
      'a:unauthorized: manifest for a:unauthorized not found: manifest unknown',
      // Many words contain a short name.
      'a: manifest for a:latest not found: manifest unknown',
    ],
    'engine-failed': [
      'timeout/app: failed to do timeout/app: something new',
      'app:503: failed to do docker.io/library/app:503: something new',
    ],
    'registry-failed': ['r.lan:5000/a: dial tcp r.lan:5000: connect: connection refused'],
    'too-many-layers': ['e: failed to register layer: max depth exceeded'],
  },
};

/** Splits a line of the tables above and below into the reference and the message. */
function partsOf(line: string): [name: string, message: string] {
  const end = line.indexOf(': ');
  return [line.slice(0, end), line.slice(end + 2)];
}

suite('messages of engines that cannot pull', () => {
  for (const [engine, byCode] of Object.entries(messages)) {
    const rows = Object.entries(byCode).flatMap(([code, lines]) => lines.map((line) => ({ code, line })));
    for (const { code, line } of rows) {
      const [name, message] = partsOf(line);
      test(`${engine}: ${message}`, () => {
        const order = { reference: parseReference(name), platform: parsePlatform('linux/amd64') };
        const error = pullError(message, { ...order, withCredentials: true });
        assert.equal(error.code, code);
        assert.equal((error.cause as Error).message, message, 'the log has the words');
        assert.ok(
          !error.message.includes(message),
          'the client has not: they may tell of the network inside',
        );
        if (code !== 'registry-credentials-refused') return;
        const { code: anonymously } = pullError(message, { ...order, withCredentials: false });
        assert.equal(anonymously, 'image-not-found', 'without credentials it is missing or private');
      });
    }
  }

  const aboutTags = [
    'busybox:none: manifest for busybox:none not found: manifest unknown: manifest unknown',
    'alpine:x: failed to resolve reference "docker.io/library/alpine:x": docker.io/library/alpine:x: not found',
    'r.lan/a:none: initializing source docker://r.lan/a:none: reading manifest none in r.lan/a: manifest unknown: manifest unknown',
  ];
  const notAboutTags = [
    `busybox@${DIGEST}: manifest unknown`,
    'r.lan/none:1: reading manifest 1 in r.lan/none: name unknown: repository name not known to registry',
    'nothing: pull access denied for nothing, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed',
  ];
  for (const line of [...aboutTags, ...notAboutTags]) {
    const [name, message] = partsOf(line);
    const isUnknownTag = aboutTags.includes(line);
    test(`${message} is${isUnknownTag ? '' : ' not'} about a tag of ${name}`, () => {
      const reference = parseReference(name);
      const error = pullError(message, { reference, platform: undefined, withCredentials: false });
      assert.equal(error instanceof UnknownTagError, isUnknownTag);
    });
  }
});
