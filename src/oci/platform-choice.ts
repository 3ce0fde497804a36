import { formatPlatform, type Platform, type Platforms, parsePlatform } from './platform.ts';

/** The platforms of an archive: one, several, or, if undefined, the default of the service. */
export type PlatformChoice = Platform | Platforms | undefined;

/** Tells whether a choice is for several platforms. */
export function isSeveral(choice: PlatformChoice): choice is Platforms {
  return choice === 'all' || Array.isArray(choice);
}

/**
 * Parses one platform, `all`, or a list with commas, in which each platform counts once.
 *
 * @throws ServiceError `platform-invalid`
 */
export function parsePlatformChoice(text: string): Platform | Platforms {
  if (text === 'all') return text;
  if (!text.includes(',')) return parsePlatform(text);
  const listed = text.split(',').map(parsePlatform);
  return [...new Map(listed.map((platform) => [formatPlatform(platform), platform])).values()];
}

/** Writes a choice so that {@link parsePlatformChoice} reads it. */
export function formatPlatformChoice(choice: Platform | Platforms): string {
  return choice === 'all' ? choice : [choice].flat().map(formatPlatform).join();
}
