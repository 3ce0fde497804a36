import type { NamePattern } from '../oci/name-pattern.ts';
import { indexPatterns } from '../oci/pattern-index.ts';
import type { Repository } from '../oci/reference.ts';
import type { SigningKey } from './signing-key.ts';

/** The requirements for the images of some repositories. */
export interface TrustRule {
  readonly images: readonly NamePattern[];
  /** True if images without a valid signature are refused; otherwise they are only reported as unsigned. */
  readonly isRequired: boolean;
  /** The keys, of which one suffices; if empty, no signature is searched. */
  readonly keys: readonly SigningKey[];
}

/** The rules that state which images need a signature, and by which keys. */
export interface TrustPolicy {
  /** The first rule for a repository, in the order of the file; undefined if its images need no signature. */
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
