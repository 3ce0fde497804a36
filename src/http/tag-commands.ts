import { formatPlatform } from '../oci/platform.ts';
import { familiarName, taggedName } from '../oci/reference.ts';
import type { UntaggedImage } from '../sources/image-source.ts';

/** The commands that load a delta and give an image in it its tag, in the words of a POSIX shell. */
export interface TagCommands {
  /**
   * For Docker from 28.0 on, with both kinds of stores: with `--platform`, the containerd store refuses an image that lacks
   * a layer. It knows the image by its name and digest, a graph driver by its ID. A load for one platform of several
   * discards the others, so `docker save` checks each of several.
   */
  readonly docker: string;
  /** For Docker before 28.0, whose graph drivers refuse an image that lacks a layer. */
  readonly dockerBefore28: string;
  readonly podman: string;
  /** `ctr images import` takes an image that lacks a layer which the snapshotter has unpacked. */
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

/** The name of an untagged image once it is loaded, as people write it: `app@sha256:…`. */
export function loadedName({ reference, digest }: Pick<UntaggedImage, 'reference' | 'digest'>): string {
  return `${familiarName(reference)}@${digest}`;
}

/** Quotes what a shell would expand or split, such as the brackets of an IPv6 address. */
function quoted(text: string): string {
  return /^[\w./:@+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
