import { UsageError } from '../config/loader.ts';
import { quote, ServiceError } from '../errors.ts';
import { formatPlatform, type Platform, parsePlatform } from '../oci/platform.ts';
import { formatReference, parseReference } from '../oci/reference.ts';
import type { ListedImage } from './image-list.ts';

/**
 * Returns the platforms that lists name for single images, by the full names of the images.
 *
 * @throws UsageError if a platform is invalid or unknown, or if an image has several
 */
export function listedPlatforms(listed: readonly ListedImage[]): ReadonlyMap<string, Platform> {
  const chosen = new Map<string, Platform>();
  for (const { name, platforms = [] } of listed) {
    const image = formatReference(parseReference(name));
    for (const text of platforms) {
      const platform = platformOf(name, text);
      const [one, other] = [chosen.get(image) ?? platform, platform].map(formatPlatform);
      if (one !== other)
        throw new UsageError([
          `The list names ${name} for ${one} and for ${other}, but an archive can contain only one of them. Choose one with --platform.`,
        ]);
      chosen.set(image, platform);
    }
  }
  return chosen;
}

function platformOf(name: string, text: string): Platform {
  try {
    return parsePlatform(text);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    // The reader of lists writes `<>` for a variable without a value.
    const why = text.includes('<>') ? 'depends on a variable' : `is ${quote(text)}, which is not a platform`;
    throw new UsageError([
      `The platform of ${name} ${why}. Name a platform such as linux/arm64, or choose one for all images with --platform.`,
    ]);
  }
}
