import { readFileSync } from 'node:fs';
import type { Blob, Image, Platform } from './images.ts';

/**
 * Builds the expected archive of an image, byte for byte, from the pushed parts and without code of the service. The
 * archive is an OCI layout with Docker's manifest.json, in ustar, with all variable fields set to 0.
 *
 * @param name in full, with the tag
 */
export function expectedArchive(name: string, { descriptor, bytes, config, layers }: Image): Buffer {
  const { mediaType, digest, size } = descriptor;
  const [, tag] = /:([^:/]+)$/.exec(name) ?? [];
  const path = (of: string): string => `blobs/${of.replace(':', '/')}`;
  const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': tag };
  const { os, architecture, variant } = JSON.parse(`${config.content}`) as Platform;
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [{ mediaType, digest, size, platform: { architecture, os, variant }, annotations }],
  };
  const manifest = {
    Config: path(config.descriptor.digest),
    RepoTags: [name],
    Layers: layers.map((layer) => path(layer.descriptor.digest)),
  };
  return Buffer.concat([
    file('oci-layout', json({ imageLayoutVersion: '1.0.0' })),
    file('index.json', json(index)),
    file('manifest.json', json([manifest])),
    header('blobs/', 0, 'folder'),
    header('blobs/sha256/', 0, 'folder'),
    file(path(digest), bytes),
    ...[config, ...layers].map((blob) => file(path(blob.descriptor.digest), bytesOf(blob))),
    Buffer.alloc(1024),
  ]);
}

function bytesOf({ content }: Blob): Uint8Array {
  return 'path' in content ? readFileSync(content.path) : content;
}

function json(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}

/** https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html, table 4-14. */
function header(name: string, size: number, type: 'file' | 'folder'): Buffer {
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  const fields: [at: number, text: string][] = [
    [0, name],
    [100, octal(type === 'file' ? 0o644 : 0o755, 7)],
    [108, octal(0, 7)],
    [116, octal(0, 7)],
    [124, octal(size, 11)],
    [136, octal(0, 11)],
    [148, ' '.repeat(8)],
    [156, type === 'file' ? '0' : '5'],
    [257, 'ustar\x0000'],
  ];
  const block = Buffer.alloc(512);
  for (const [at, text] of fields) block.write(text, at, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 6)} `, 148, 'latin1');
  return block;
}

function file(name: string, content: Uint8Array): Buffer {
  return Buffer.concat([header(name, content.length, 'file'), content, Buffer.alloc(-content.length & 511)]);
}
