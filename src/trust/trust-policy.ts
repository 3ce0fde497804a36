import type { NamePattern } from '../oci/name-pattern.ts';
import { indexPatterns } from '../oci/pattern-index.ts';
import type { Repository } from '../oci/reference.ts';
import type { SigningKey } from './signing-key.ts';

/** The requirements for the images of some repositories. */
export interface TrustRule {
  readonly images: readonly NamePattern[];
  /** True if images without a valid signature are refused; otherwise they are only reported as unsigned. */
  readonly isRequired: boolean;
  /** Any one of them will do; without any, nothing is looked for. */
  readonly keys: readonly SigningKey[];
}

/** Says which images need a signature, and whose. */
export interface TrustPolicy {
  /** The first rule for a repository, in the order of the file; undefined where nothing is asked of its images. */
  ruleFor(repository: Repository): TrustRule | undefined;
  /** The contact of the policy's author: a `mailto:` or `https:` URL. */
  contact(): string | undefined;
}

export function createTrustPolicy(rules: readonly TrustRule[], contact?: string): TrustPolicy {
  const ruleOfEach = rules.flatMap((rule) => rule.images.map(() => rule));
  const find = indexPatterns(rules.flatMap(({ images }) => images));
  return {
    ruleFor(repository) {
      const place = find(repository);
      return place === undefined ? undefined : ruleOfEach[place];
    },
    contact: () => contact,
  };
}
