import type { SourceTraits } from '../sources/image-source.ts';

/** A service that sends the same bytes for the same URL. */
export interface Replica {
  /** Its public address: `https://dl.example.org`. */
  readonly origin: string;
  /** The ISO 3166-1 code of its country, in lower case. */
  readonly location?: string | undefined;
}

/** Lists the replicas except one. */
export function otherReplicas(replicas: readonly Replica[], own: Replica | undefined): readonly Replica[] {
  return replicas.filter(({ origin }) => origin !== own?.origin);
}

/** Tells whether all replicas send the same bytes. Signatures can be added to a digest later, so they never qualify. */
export function areSameEverywhere(
  { referrers }: { readonly referrers: boolean },
  { isReproducible }: Pick<SourceTraits, 'isReproducible'>,
): boolean {
  return isReproducible && !referrers;
}
