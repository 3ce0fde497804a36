/** The meaning of a referrer for people. */
export type ReferrerKind = 'signature' | 'sbom' | 'provenance' | 'other';

/** The media types and predicate types by which cosign, Notation, BuildKit, and SBOM tools mark their artifacts. */
const PATTERNS: readonly (readonly [ReferrerKind, RegExp])[] = [
  ['signature', /cosign\.artifact\.sig|simplesigning|notary\.signature|sigstore\.dev\/cosign\/sign/i],
  ['sbom', /spdx|cyclonedx|syft/i],
  ['provenance', /slsa|provenance/i],
];

/**
 * Classifies a referrer by the types that its publisher states; `other` if they say nothing known.
 *
 * @param types artifact types, media types, and predicate types
 */
export function referrerKinds(types: readonly string[]): ReferrerKind[] {
  const kinds = PATTERNS.filter(([, pattern]) => types.some((type) => pattern.test(type))).map(
    ([kind]) => kind,
  );
  return kinds.length > 0 ? kinds : ['other'];
}
