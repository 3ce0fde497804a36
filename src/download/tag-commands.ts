import { formatPlatform } from '../oci/platform.ts';
import { familiarName, taggedName } from '../oci/reference.ts';
import type { UntaggedImage } from '../sources/image-source.ts';

/** POSIX shell commands that load a delta and tag an image in it. */
export interface TagCommands {
  /**
   * For Docker 28.0 or later, with either kind of store. With `--platform`, the containerd store refuses an image that
   * lacks a layer. The containerd store identifies the image by name and digest, a graph driver by image ID. Loading one
   * of several platforms discards the others, so `docker save` checks each platform.
   */
  readonly docker: string;
  /** For Docker before 28.0, whose graph drivers refuse an image that lacks a layer. */
  readonly dockerBefore28: string;
  readonly podman: string;
  /**
   * Includes a check, because `ctr images import` accepts an image without a layer that the snapshotter has unpacked.
   */
  readonly ctr: string;
}

/**
 * Writes the commands for one image of a delta.
 *
 * @param file the path of the delta
 */
export function tagCommands(image: UntaggedImage, file: string): TagCommands {
  const { reference, digest, config, platforms } = image;
  const [tagged, loaded, input] = [taggedName(reference), loadedName(image), file].map(quoted);
  const [target, full] = [`${reference.name}:${reference.tag}`, `${reference.name}@${digest}`].map(quoted);
  const byName = `docker tag ${loaded} ${tagged}`;
  const byId = config === undefined ? byName : `docker tag ${config} ${tagged}`;
  const options = platforms.map((platform) => `--platform ${quoted(formatPlatform(platform))}`);
  const [load, ...saves] =
    options.length === 1
      ? [`docker load ${options[0]} --input ${input}`]
      : [
          `docker load --input ${input}`,
          ...options.map((option) => `docker save ${option} ${loaded} > /dev/null`),
        ];
  const isComplete = `ctr images check name==${full} | grep -F ' complete ('`;
  return {
    docker: [load, ...saves, `{ ${[...new Set([byName, byId])].join(' || ')}; }`].join(' && '),
    dockerBefore28: `docker load --input ${input} && ${byId}`,
    podman: `podman load --input ${input} && podman tag ${full} ${target}`,
    ctr: `ctr images import ${input} && ${isComplete} && ctr images tag --force ${full} ${target}`,
  };
}

/** Returns the short name of an untagged image after loading: `app@sha256:…`. */
export function loadedName({ reference, digest }: Pick<UntaggedImage, 'reference' | 'digest'>): string {
  return `${familiarName(reference)}@${digest}`;
}

/** Quotes what a shell would expand or split, such as the brackets of an IPv6 address. */
function quoted(text: string): string {
  return /^[\w./:@+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
