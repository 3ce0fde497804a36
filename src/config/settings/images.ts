import type { Setting } from '../setting.ts';
import { bytes, listOf, oneOf, pattern, platform, registry, registryName, text } from '../types.ts';

/** The images that the service sends, and their sizes. */
export const IMAGES = {
  allow: {
    reloads: true,
    type: listOf(pattern),
    doc: 'Images that may be fetched, as globs over registry/repository. Default: the well-known public registries and INSECURE_REGISTRIES.',
    example: 'docker.io/library/*,ghcr.io/my-organization/**',
  },
  deny: {
    reloads: true,
    type: listOf(pattern),
    default: '',
    doc: 'Images that may not be fetched, as globs over registry/repository. Overrides ALLOW.',
    example: 'docker.io/library/wordpress',
  },
  allowFile: {
    reloads: true,
    type: text,
    doc: 'File with more patterns for ALLOW, one per line. # starts a comment.',
    example: '/etc/dockerproxy/allow',
  },
  denyFile: {
    reloads: true,
    type: text,
    doc: 'File with more patterns for DENY, one per line. # starts a comment.',
    example: '/etc/dockerproxy/deny',
  },
  policy: {
    reloads: true,
    type: text,
    doc: 'TOML file that lists the images that must be signed and the public keys that verify them. Only with --source registry.',
    example: '/etc/dockerproxy/policy.toml',
  },
  insecureRegistries: {
    type: listOf(registry),
    default: '',
    doc: 'Registries to contact over plain HTTP, even at private addresses. List their token servers, too.',
    example: 'registry.lan:5000',
  },
  clientCredentials: {
    type: oneOf('on', 'off'),
    default: 'off',
    doc: 'Acceptance of credentials in requests, for private images: on or off. Requires HTTPS or a client on this machine, and --source registry. Credentials go to one registry only.',
  },
  registryApi: {
    type: oneOf('on', 'off'),
    default: 'on',
    doc: 'Registry API at /v2/, through which docker pull and similar commands pull from all registries: on or off. Only with --source registry.',
  },
  registryNames: {
    type: listOf(registryName),
    default: '',
    doc: 'Names for registries with a port, because repository names in the registry API cannot contain one: NAME=HOST:PORT.',
    example: 'lab=registry.lan:5000',
  },
  defaultPlatform: {
    type: platform,
    default: 'linux/amd64',
    doc: 'Platform of an image if the request doesn’t name one.',
  },
  maxImageSize: {
    type: bytes,
    default: '0',
    doc: 'Maximum size of an archive. 0 sets no limit.',
  },
  maxUnpackedSize: {
    type: bytes,
    default: '64GiB',
    doc: 'Maximum size of the unpacked layers of an image whose files are requested. Larger images are only available with compressed layers. 0 sets no limit.',
  },
  contentsOnDemand: {
    type: bytes,
    default: '64MiB',
    doc: 'Maximum number of bytes of layers that a HEAD or API request reads to list the files of an image. Above it, the response is 202 until a download has read the layers.',
  },
} as const satisfies Record<string, Setting<unknown>>;
