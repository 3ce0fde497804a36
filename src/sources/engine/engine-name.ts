import { type Reference, referenceOrNone } from '../../oci/reference.ts';

/** How an engine is told of an image: always with a tag or a digest, as a bare name would mean every tag of the repository. */
export function engineName({ name, tag, digest }: Reference): string {
  return digest === undefined ? `${name}:${tag ?? 'latest'}` : `${name}@${digest}`;
}

/** Writes a name that an engine lists (`busybox:latest`) in full, as it is told to engines; what is none stays as it is. */
export function fullName(listed: string): string {
  const reference = referenceOrNone(listed);
  return reference === undefined ? listed : engineName(reference);
}
