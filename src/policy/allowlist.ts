import { CatalogueError, quote } from '../errors.ts';
import { matchesPattern, type NamePattern } from '../oci/name-pattern.ts';
import type { Reference } from '../oci/reference.ts';

/** Says which repositories may be fetched. */
export interface Allowlist {
  /** @throws CatalogueError `image-not-allowed` */
  check(reference: Reference): void;
}

/** Lets in what a pattern of `allow` matches; what `deny` matches is refused, whatever `allow` says. */
export function createAllowlist({
  allow,
  deny,
}: {
  allow: readonly NamePattern[];
  deny: readonly NamePattern[];
}): Allowlist {
  return {
    check(reference) {
      const matches = (pattern: NamePattern): boolean => matchesPattern(pattern, reference);
      if (allow.some(matches) && !deny.some(matches)) return;
      throw new CatalogueError(
        'image-not-allowed',
        `${quote(reference.name)} may not be fetched through this service.`,
        { reason: `Images from ${reference.domain} are not allowed here` },
      );
    },
  };
}
