import { createHash } from 'node:crypto';
import { splitDigest } from '../oci/digest.ts';
import { entryHeader, type WrittenEntry } from '../tar/entry-header.ts';
import type { Layout, Slice } from './layout.ts';
import type { NamedImage } from './rootfs.ts';
import type { Spliced } from './splice.ts';
import { concat, TAR_END, tarPadding } from './tar.ts';

/** The version of this composition, see LAYOUT_VERSION in layout.ts. */
const CLASSIC_VERSION = 1;

/**
 * Lays out images as `docker save` did before version 25: a folder for each layer with its unpacked tar archive, then
 * the configs, `manifest.json`, and `repositories`. A layer that several images share is there once. A layer that
 * occurs on several others is a symbolic link at each further place.
 *
 * @see https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format
 */
export function* layoutClassic(images: readonly NamedImage[]): Generator<void, Layout> {
  const tar = createTar();
  /** The folder that has the archive of each layer. */
  const folders = new Map<string, string>();
  const written = new Set<string>();
  const manifest: unknown[] = [];
  const repositories: Record<string, Record<string, string>> = {};
  for (const { reference, config, configBytes, layers, diffIds, tree } of images) {
    let parent: string | undefined;
    let chain = '';
    const paths: string[] = [];
    for (const [at, diffId] of diffIds.entries()) {
      chain = at === 0 ? diffId : `sha256:${sha256(`${chain} ${diffId}`)}`;
      const isTop = at === diffIds.length - 1;
      const id = sha256(JSON.stringify([chain, isTop ? config.digest : '']));
      const folder = folders.get(diffId) ?? id;
      paths.push(`${folder}/layer.tar`);
      if (!written.has(id)) {
        const size = tree.layers[at]?.unpackedSize ?? 0;
        tar.folder(id);
        tar.file(`${id}/VERSION`, '1.0');
        tar.file(`${id}/json`, legacyJson(id, parent, isTop ? configBytes : undefined));
        if (folder === id)
          tar.layer(
            `${id}/layer.tar`,
            { blob: layers[at], size, parts: (from) => [{ start: from, end: size }] },
            diffId,
          );
        else tar.link(`${id}/layer.tar`, `../${folder}/layer.tar`);
      }
      written.add(id);
      folders.set(diffId, folder);
      parent = id;
    }
    const { hex } = splitDigest(config.digest);
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
  const {
    rootfs: _,
    history: __,
    ...own
  } = configBytes === undefined
    ? LOWER
    : (JSON.parse(new TextDecoder().decode(configBytes)) as Record<string, unknown>);
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
  const add = (content: Uint8Array | Spliced): void => {
    slices.push({ offset, content });
    offset += content instanceof Uint8Array ? content.length : content.size;
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
    link: (path: string, link: string) => header({ type: 'symlink', path, link, mode: 0o777 }),
    file(path: string, content: string | Uint8Array) {
      const bytes = typeof content === 'string' ? Buffer.from(content) : content;
      header({ type: 'file', path, size: bytes.length });
      inline.push(bytes, tarPadding(bytes.length));
    },
    layer(path: string, content: Spliced, diffId: string) {
      header({ type: 'file', path, size: content.size });
      flush();
      identity.update(diffId);
      if (content.size > 0) add(content);
      inline.push(tarPadding(content.size));
    },
    done(): Layout {
      inline.push(TAR_END);
      flush();
      return { size: offset, etag: `"classic${CLASSIC_VERSION}-${identity.digest('hex')}"`, slices };
    },
  };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
