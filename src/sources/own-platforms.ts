import { formatPlatform, type Platform } from '../oci/platform.ts';
import { isSeveral, type PlatformChoice } from '../oci/platform-choice.ts';
import { formatReference, type Reference } from '../oci/reference.ts';
import type { ArchiveRequest } from './image-source.ts';

type Chosen = Pick<ArchiveRequest, 'platform' | 'ownPlatforms'>;

/** Returns the platform of an image: its own, or else the common one of the request. */
export function platformFor<Common extends PlatformChoice>(
  { platform, ownPlatforms }: { readonly platform: Common } & Pick<Chosen, 'ownPlatforms'>,
  reference: Reference,
): Common | Platform {
  return ownPlatforms?.get(formatReference(reference)) ?? platform;
}

/** Returns the platforms that the name of an archive states. Undefined for the default platform of the service. */
export function statedPlatforms(
  { references, ...chosen }: Chosen & Pick<ArchiveRequest, 'references'>,
  defaultPlatform: Platform,
): PlatformChoice {
  if (isSeveral(chosen.platform)) return chosen.platform;
  const common = { ...chosen, platform: chosen.platform ?? defaultPlatform };
  const platforms = new Map(
    references.map((reference) => {
      const platform = platformFor(common, reference);
      return [formatPlatform(platform), platform];
    }),
  );
  const [only = defaultPlatform, ...others] = platforms.values();
  if (others.length > 0) return [only, ...others];
  return formatPlatform(only) === formatPlatform(defaultPlatform) ? undefined : only;
}
