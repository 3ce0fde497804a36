import { layoutFile, layoutRootfs } from '../archive/rootfs.ts';
import { detail } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';
import type { ImageFiles, ListedFiles, OpenedFiles } from '../sources/contents/image-files.ts';
import type { Archive } from '../sources/image-source.ts';
import { inSlices } from '../util/in-slices.ts';

/** @throws ServiceError `format-unavailable` if the source cannot read layers */
export function requireFiles(files: ImageFiles | undefined): ImageFiles {
  if (files !== undefined) return files;
  throw new ServiceError('format-unavailable', detail('engine-without-files', {}));
}

/**
 * Finds a node, with links followed.
 *
 * @param path bytes as Latin-1
 * @throws ServiceError `file-not-found`
 */
export function nodeAt({ image: { tree } }: ListedFiles | OpenedFiles, path: string): number {
  const node = tree.find(path, true);
  if (node !== undefined) return node;
  throw new ServiceError('file-not-found', detail('file-missing', { path: quote(decodePath(path)) }));
}

/** Decodes bytes as Latin-1 to text. Replacement characters stand for bytes that are not UTF-8. */
export function decodePath(path: string): string {
  return Buffer.from(path, 'latin1').toString();
}

/**
 * Opens one file of an image, or a tar archive of a directory.
 *
 * @param path bytes as Latin-1
 * @throws ServiceError `file-not-found`, also for a device or a FIFO
 */
export async function openImageFile(
  opened: OpenedFiles,
  path: string,
  signal: AbortSignal,
): Promise<Archive & { readonly contentType?: string | undefined }> {
  const { image } = opened;
  const node = nodeAt(opened, path);
  const { type } = image.tree.file(node);
  const name =
    image.tree
      .path(node)
      .split('/')
      .at(-1)
      ?.replace(/[^\w.+-]/g, '_') || 'rootfs';
  if (type === 'directory')
    return opened.archiveOf(await inSlices(layoutRootfs(image, node), signal), `${name}.tar`);
  if (type !== 'file')
    throw new ServiceError(
      'file-not-found',
      detail('file-without-content', { path: quote(decodePath(path)) }),
    );
  return {
    ...opened.archiveOf(layoutFile(image, node), name),
    contentType: 'application/octet-stream',
  };
}
