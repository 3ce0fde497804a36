import { posix } from 'node:path';
import { CatalogueError, quote } from '../errors.ts';
import type { Reference } from '../oci/reference.ts';

/** Says which repositories may be fetched. */
export interface Allowlist {
  /** @throws CatalogueError `image-not-allowed` */
  check(reference: Reference): void;
}

/**
 * Matches normalised names (`docker.io/library/busybox`) against globs: `*` stands for a part of a segment, `**` for
 * any number of segments. What `deny` matches is refused, whatever `allow` says.
 */
export function createAllowlist({
  allow,
  deny,
}: {
  allow: readonly string[];
  deny: readonly string[];
}): Allowlist {
  return {
    check({ name, domain }) {
      // One registry under another spelling must not slip past a rule: names have no case, 443 is what goes unsaid.
      const canonical = name.toLowerCase().replace(/^([^/]*):443\//, '$1/');
      const matches = (pattern: string): boolean => posix.matchesGlob(canonical, pattern);
      if (allow.some(matches) && !deny.some(matches)) return;
      throw new CatalogueError(
        'image-not-allowed',
        `${quote(name)} may not be fetched through this service.`,
        {
          reason: `Images from ${domain} are not allowed here`,
        },
      );
    },
  };
}
