import { type Detail, detail, inEnglish } from '../../errors/details.ts';
import { ServiceError } from '../../errors.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatReference, type Reference } from '../../oci/reference.ts';
import type { RegistryClient } from '../../registry/client.ts';
import { isRefusedSpending, isSlotRefusal } from '../../registry/upstream-budget.ts';
import { signersOf } from '../../trust/signature-claim.ts';
import type { SigningKey } from '../../trust/signing-key.ts';
import type { TrustPolicy, TrustRule } from '../../trust/trust-policy.ts';
import { createMemoryCaches, type MemoryCaches } from '../../util/memory-caches.ts';
import { createSingleFlight } from '../../util/single-flight.ts';
import { type Documents, parsing } from '../documents.ts';
import { findSignatures } from './signature-finder.ts';

/** The signature state of an image, for people. */
export interface SignatureDetails {
  /** `not-checked` if no rule has keys for it, or if its registry could not be asked. */
  readonly state: 'signed' | 'unsigned' | 'not-checked';
  /** The names of the keys that have signed it. */
  readonly keys: readonly string[];
  /** True if an unsigned image is refused. */
  readonly isRequired: boolean;
  /** The reason why it counts as unsigned, or could not be checked, in one sentence. */
  readonly reason: string | undefined;
}

/** Enforces the signature policy. */
export interface ImageSignatures {
  /**
   * Allows an image that is signed as its rule requires, or that needs no signature.
   *
   * @param digests the digests that a signature may sign: the index of a reference, and the selected manifest in it
   * @returns the signed one of these digests; undefined if no signature is required
   * @throws ServiceError `signature-required`, `signature-invalid`, or the error of the upstream, because an image that
   *   cannot be checked is refused
   */
  require(reference: Reference, digests: readonly Digest[], signal: AbortSignal): Promise<Digest | undefined>;
  /**
   * Describes the signatures that {@link ImageSignatures.require} would check.
   *
   * @throws the reason of the signal, or the error if the client gets no download slot
   */
  describe(reference: Reference, digests: readonly Digest[], signal: AbortSignal): Promise<SignatureDetails>;
}

export interface ImageSignaturesOptions {
  readonly client: RegistryClient;
  readonly policy: TrustPolicy;
  /** The list to which its cache is added. */
  readonly caches?: MemoryCaches;
  /** Parses manifests. */
  readonly documents?: Documents;
  /** Runs a check with its own budget, because several requests share it. */
  readonly budgeted?: <T>(check: () => Promise<T>) => Promise<T>;
}

type Verdict =
  | { readonly state: 'signed'; readonly digest: Digest; readonly keys: readonly SigningKey[] }
  /** The number of signatures that were found; all are invalid. */
  | { readonly state: 'unsigned'; readonly found: number };

export const NOT_CHECKED: SignatureDetails = {
  state: 'not-checked',
  keys: [],
  isRequired: false,
  reason: undefined,
};

/** Bytes, enough for about ten thousand images. */
const SIGNED_LIMIT = 4 * 2 ** 20;
/** Maximum milliseconds for the check of one image. */
const CHECK_TIMEOUT_MS = 60_000;

/**
 * Checks signatures from the repository of an image. A valid signature stays valid and is cached; a missing one may
 * appear at any moment and is requested each time.
 */
export function createImageSignatures({
  client,
  policy,
  caches = createMemoryCaches(() => performance.now()),
  documents = parsing,
  budgeted = (check) => check(),
}: ImageSignaturesOptions): ImageSignatures {
  const signed = caches.open<true>({ name: 'signatures', limit: SIGNED_LIMIT });
  const share = createSingleFlight<Verdict>(isRefusedSpending);
  const memoryKey = ({ name }: Reference, digest: Digest, { fingerprint }: SigningKey): string =>
    `${name}@${digest} ${fingerprint}`;

  const recall = (reference: Reference, digests: readonly Digest[], keys: readonly SigningKey[]) => {
    for (const digest of digests) {
      const known = keys.filter((key) => signed.get(memoryKey(reference, digest, key)));
      if (known.length > 0) return { state: 'signed', digest, keys: known } as const;
    }
    return undefined;
  };

  const ask = async (
    reference: Reference,
    digests: readonly Digest[],
    keys: readonly SigningKey[],
    signal: AbortSignal,
  ): Promise<Verdict> => {
    let found = 0;
    for (const digest of digests) {
      for await (const claim of findSignatures(client, documents, reference, digest, signal)) {
        found += 1;
        const signers = signersOf(claim, digest, keys);
        if (signers.length === 0) continue;
        for (const key of signers) signed.set(memoryKey(reference, digest, key), true);
        return { state: 'signed', digest, keys: signers };
      }
    }
    return { state: 'unsigned', found };
  };

  const check = async (
    reference: Reference,
    candidates: readonly Digest[],
    { keys }: TrustRule,
    signal: AbortSignal,
  ): Promise<Verdict> => {
    const digests = [...new Set(candidates)];
    const known = recall(reference, digests, keys);
    if (known !== undefined) return known;
    const flight = [reference.name, ...digests, ...keys.map(({ fingerprint }) => fingerprint)].join(' ');
    const timeout = AbortSignal.timeout(CHECK_TIMEOUT_MS);
    try {
      const both = AbortSignal.any([signal, timeout]);
      return await share(flight, (shared) => budgeted(() => ask(reference, digests, keys, shared)), both);
    } catch (error) {
      signal.throwIfAborted();
      throw uncheckable(reference, timeout.aborted ? undefined : error);
    }
  };

  return {
    async require(reference, digests, signal) {
      const rule = policy.ruleFor(reference);
      if (!rule?.isRequired) return undefined;
      const verdict = await check(reference, digests, rule, signal);
      if (verdict.state === 'signed') return verdict.digest;
      throw refusal(reference, verdict.found, rule, policy.contact());
    },

    async describe(reference, digests, signal) {
      const rule = policy.ruleFor(reference);
      if (rule === undefined || rule.keys.length === 0) return NOT_CHECKED;
      const { isRequired } = rule;
      try {
        const verdict = await check(reference, digests, rule, signal);
        if (verdict.state === 'signed')
          return { state: 'signed', keys: namesOf(verdict.keys), isRequired, reason: undefined };
        return {
          state: 'unsigned',
          keys: [],
          isRequired,
          reason: inEnglish([why(reference, verdict.found, rule)]),
        };
      } catch (error) {
        if (!(error instanceof ServiceError) || isSlotRefusal(error)) throw error;
        return { ...NOT_CHECKED, isRequired, reason: error.message };
      }
    },
  };
}

function namesOf(keys: readonly SigningKey[]): string[] {
  return keys.map(({ name }) => name);
}

function why(reference: Reference, count: number, { keys: trusted }: TrustRule): Detail {
  const [image, keys] = [formatReference(reference), namesOf(trusted).join(', ')];
  if (count === 0) return detail('signature-missing', { image, keys });
  return detail('signature-invalid', { image, count, keys });
}

function refusal(
  reference: Reference,
  found: number,
  rule: TrustRule,
  contact: string | undefined,
): ServiceError {
  const whom =
    contact === undefined ? [] : [detail('signature-contact', { contact: contact.replace(/^mailto:/, '') })];
  const code = found === 0 ? 'signature-required' : 'signature-invalid';
  const reason = found === 0 ? 'The image is not signed' : 'No signature of the image is valid here';
  return new ServiceError(code, [why(reference, found, rule), ...whom], { reason });
}

/** Converts an error of the registry into that of an incomplete check. */
function uncheckable(reference: Reference, error: unknown): unknown {
  const sentence = detail('signature-unchecked', { image: formatReference(reference) });
  if (error === undefined)
    return new ServiceError('registry-timeout', [sentence, detail('registry-slow', {})]);
  if (!(error instanceof ServiceError) || isSlotRefusal(error)) return error;
  const { code, sentences, reason, retryAfter } = error;
  return new ServiceError(code, [sentence, ...sentences], {
    reason,
    ...(retryAfter !== undefined && { retryAfter }),
    cause: error,
  });
}
