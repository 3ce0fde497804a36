import { type Reference, referenceOrNone } from '../../oci/reference.ts';

/**
 * Returns the name of an image for engine requests. It always has a tag or a digest, because a bare name means every
 * tag of the repository.
 */
export function engineName({ name, tag, digest }: Reference): string {
  return digest === undefined ? `${name}:${tag ?? 'latest'}` : `${name}@${digest}`;
}

/**
 * Expands a name of an engine's list (`busybox:latest`) to the full name of engine requests. Other texts stay
 * unchanged.
 */
export function fullName(listed: string): string {
  const reference = referenceOrNone(listed);
  return reference === undefined ? listed : engineName(reference);
}
