import { detail } from '../errors/details.ts';
import { quote, ServiceError } from '../errors.ts';
import type { NamePattern } from '../oci/name-pattern.ts';
import { indexPatterns } from '../oci/pattern-index.ts';
import type { Reference } from '../oci/reference.ts';

/** Decides which repositories may be fetched. */
export interface Allowlist {
  /** @throws ServiceError `image-not-allowed` */
  check(reference: Reference): void;
}

/** Allows repositories that a pattern of `allow` matches. Always refuses those that `deny` matches. */
export function createAllowlist({
  allow,
  deny,
}: {
  allow: readonly NamePattern[];
  deny: readonly NamePattern[];
}): Allowlist {
  const allowed = indexPatterns(allow);
  const denied = indexPatterns(deny);
  return {
    check(reference) {
      if (allowed(reference) !== undefined && denied(reference) === undefined) return;
      throw new ServiceError('image-not-allowed', detail('image-refused', { image: quote(reference.name) }), {
        reason: `Images from ${reference.domain} are not allowed here`,
      });
    },
  };
}
