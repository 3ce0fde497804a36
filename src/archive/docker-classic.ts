import { createHash } from 'node:crypto';
import { type Digest, sha256 as digestOf, splitDigest } from '../oci/digest.ts';
import type { Reference } from '../oci/reference.ts';
import { entryHeader, type WrittenEntry } from '../tar/entry-header.ts';
import { contentSize, type Layout, type Slice } from './layout.ts';
import type { NamedImage } from './rootfs.ts';
import { concat, TAR_END, tarPadding } from './tar.ts';

/** The version of this composition, see LAYOUT_VERSION in layout.ts. */
const CLASSIC_VERSION = 2;

/** An image of unpacked layers. */
export interface ClassicImage {
  readonly reference: Reference;
  readonly configDigest: Digest;
  readonly configBytes: Uint8Array;
  readonly layers: readonly UnpackedLayer[];
}

interface UnpackedLayer {
  readonly diffId: string;
  /** Bytes. */
  readonly size: number;
  /** The tar archive of the layer, in pieces. */
  readonly contents: readonly Slice['content'][];
}

/** Describes an image with its own layers. */
export function withOwnLayers({
  reference,
  config,
  configBytes,
  layers,
  diffIds,
  tree,
}: NamedImage): ClassicImage {
  return {
    ...{ reference, configBytes, configDigest: config.digest },
    layers: diffIds.map((diffId, at) => {
      const size = tree.layers[at]?.unpackedSize ?? 0;
      const content = { blob: layers[at], size, parts: (from: number) => [{ start: from, end: size }] };
      return { diffId, size, contents: [content] };
    }),
  };
}

/**
 * Describes an image whose only layer is its root file system. Its config has this layer in place of all others, and so
 * another digest.
 *
 * @param diffId the digest of the root file system
 */
export function withOneLayer(
  { reference, configBytes }: NamedImage,
  { size, slices }: Layout,
  diffId: Digest,
): ClassicImage {
  const { history: _, ...config } = parsed(configBytes);
  const squashed = Buffer.from(JSON.stringify({ ...config, rootfs: { type: 'layers', diff_ids: [diffId] } }));
  return {
    ...{ reference, configBytes: squashed, configDigest: digestOf(squashed) },
    layers: [{ diffId, size, contents: slices.map(({ content }) => content) }],
  };
}

/**
 * Lays out images as `docker save` did before version 25: a folder for each layer with its unpacked tar archive, then
 * the configs, `manifest.json`, and `repositories`. The archive contains a shared layer once. A layer that occurs on
 * several others is a hard link at each further place. A symbolic link, as Docker wrote it, would break when udocker
 * moves it.
 *
 * @see https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format
 */
export function layoutClassic(images: readonly ClassicImage[]): Layout {
  const tar = createTar();
  /** The folder that has the archive of each layer. */
  const folders = new Map<string, string>();
  const written = new Set<string>();
  const manifest: unknown[] = [];
  const repositories: Record<string, Record<string, string>> = {};
  for (const { reference, configDigest, configBytes, layers } of images) {
    let parent: string | undefined;
    let chain = '';
    const paths: string[] = [];
    for (const [at, layer] of layers.entries()) {
      const { diffId } = layer;
      chain = at === 0 ? diffId : `sha256:${sha256(`${chain} ${diffId}`)}`;
      const isTop = at === layers.length - 1;
      const id = sha256(JSON.stringify([chain, isTop ? configDigest : '']));
      const folder = folders.get(diffId) ?? id;
      paths.push(`${folder}/layer.tar`);
      if (!written.has(id)) {
        tar.folder(id);
        tar.file(`${id}/VERSION`, '1.0');
        tar.file(`${id}/json`, legacyJson(id, parent, isTop ? configBytes : undefined));
        if (folder === id) tar.layer(`${id}/layer.tar`, layer);
        else tar.link(`${id}/layer.tar`, `${folder}/layer.tar`);
      }
      written.add(id);
      folders.set(diffId, folder);
      parent = id;
    }
    const { hex } = splitDigest(configDigest);
    if (!written.has(hex)) tar.file(`${hex}.json`, configBytes);
    written.add(hex);
    const name = reference.tag === undefined ? undefined : `${reference.name}:${reference.tag}`;
    manifest.push({ Config: `${hex}.json`, RepoTags: name === undefined ? null : [name], Layers: paths });
    if (reference.tag !== undefined && parent !== undefined)
      repositories[reference.name] = { ...repositories[reference.name], [reference.tag]: parent };
  }
  tar.file('manifest.json', `${JSON.stringify(manifest)}\n`);
  if (Object.keys(repositories).length > 0) tar.file('repositories', `${JSON.stringify(repositories)}\n`);
  return tar.done();
}

/** The description of a layer in the format of Docker before 1.10. The top layer has the properties of the image. */
function legacyJson(id: string, parent: string | undefined, configBytes: Uint8Array | undefined): string {
  const { rootfs: _, history: __, ...own } = configBytes === undefined ? LOWER : parsed(configBytes);
  return JSON.stringify({ id, ...(parent !== undefined && { parent }), ...own });
}

const LOWER: Record<string, unknown> = { created: '1970-01-01T00:00:00Z', os: 'linux' };
const USUAL = {
  ...{ link: '', mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0, nanoseconds: 0, device: [0, 0], xattrs: [] },
} as const satisfies Omit<WrittenEntry, 'type' | 'path'>;

function createTar() {
  const identity = createHash('sha256');
  const slices: Slice[] = [];
  let offset = 0;
  let inline: Uint8Array[] = [];
  const add = (content: Slice['content']): void => {
    slices.push({ offset, content });
    offset += contentSize(content);
  };
  const flush = (): void => {
    const bytes = concat(inline);
    inline = [];
    identity.update(bytes);
    if (bytes.length > 0) add(bytes);
  };
  const header = (entry: Pick<WrittenEntry, 'type' | 'path'> & Partial<WrittenEntry>): void => {
    inline.push(entryHeader({ ...USUAL, ...entry }));
  };
  return {
    folder: (path: string) => header({ type: 'directory', path, mode: 0o755 }),
    link: (path: string, link: string) => header({ type: 'hardlink', path, link }),
    file(path: string, content: string | Uint8Array) {
      const bytes = typeof content === 'string' ? Buffer.from(content) : content;
      header({ type: 'file', path, size: bytes.length });
      inline.push(bytes, tarPadding(bytes.length));
    },
    layer(path: string, { diffId, size, contents }: UnpackedLayer) {
      header({ type: 'file', path, size });
      flush();
      identity.update(diffId);
      for (const content of contents) if (contentSize(content) > 0) add(content);
      inline.push(tarPadding(size));
    },
    done(): Layout {
      inline.push(TAR_END);
      flush();
      return { size: offset, etag: `"classic${CLASSIC_VERSION}-${identity.digest('hex')}"`, slices };
    },
  };
}

function parsed(configBytes: Uint8Array): Record<string, unknown> {
  return JSON.parse(new TextDecoder().decode(configBytes)) as Record<string, unknown>;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
