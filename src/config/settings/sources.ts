import type { Setting } from '../setting.ts';
import { SOURCE_NAMES } from '../sources.ts';
import { bytes, count, oneOf, registryTables, text } from '../types.ts';

/** Registries, their mirrors, and engines. */
export const SOURCES = {
  source: {
    type: oneOf(...SOURCE_NAMES),
    default: 'registry',
    doc: 'Source of images: registry (downloads from the registries directly) or engine (a Docker Engine that pulls and saves images).',
  },
  registries: {
    type: registryTables,
    default: '',
    doc: 'Mirrors of registries, tried in order before the registry itself. In the file, each registry is a table with mirrors and ca, a list of PEM files. These certificate authorities are trusted only for the registry and its mirrors. Only with --source registry.',
    fileExample: { 'docker.io': { mirrors: ['https://mirror.lan:5000'], ca: ['/etc/dockerproxy/ca.pem'] } },
  },
  certsDir: {
    type: text,
    doc: 'Folder with containerd’s hosts.toml files, which list the mirrors, certificate authorities, and client certificates of registries. Read at startup. Only with --source registry.',
    example: '/etc/containerd/certs.d',
  },
  pull: {
    type: oneOf('always', 'missing', 'never'),
    default: 'always',
    doc: 'When the engine pulls an image: always (for each request), missing (only if it doesn’t have the image), or never. Only with --source engine.',
  },
  pulls: {
    type: count,
    default: '2',
    doc: 'Maximum number of images that the engine pulls at once. The same limit applies to the images that it saves at once. Only with --source engine.',
  },
  pullQueue: {
    type: count,
    default: '16',
    doc: 'Maximum number of images that wait to be pulled. The same limit applies to images that wait to be saved. Further requests get 503. Only with --source engine.',
  },
  engineKeep: {
    type: bytes,
    default: '20GiB',
    doc: 'Maximum size of the images that this service pulled and keeps in the engine. Other images are never removed. Only with --source engine.',
  },
} as const satisfies Record<string, Setting<unknown>>;
